//! One program: loaded, attached, and taken off again.

use std::fs::File;

use aya::{
    Btf, BtfError, Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkbAttachType, Program as AyaProgram, ProgramError,
        cgroup_sock_addr::CgroupSockAddrLinkId, raw_trace_point::RawTracePointLinkId,
        sock_ops::SockOpsLinkId, tp_btf::BtfTracePointLinkId,
    },
};
use kcap_recorder_ebpf::Program;

use super::hooks::{Hook, Place};

/// Lines with which the verifier ends its log, after the one that says what is wrong.
const VERIFIER_STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];

/// Has the verifier check the program. `types` are the kernel's. The error is a line that says why it can't be.
pub(super) fn load(ebpf: &mut Ebpf, hook: &Hook, types: &Result<Btf, BtfError>) -> Result<(), String> {
    let result = match (ebpf.program_mut(hook.program.name()), hook.place) {
        (Some(AyaProgram::CgroupSkb(program)), _) => program.load(),
        (Some(AyaProgram::CgroupSock(program)), _) => program.load(),
        (Some(AyaProgram::CgroupSockAddr(program)), _) => program.load(),
        (Some(AyaProgram::SockOps(program)), _) => program.load(),
        (Some(AyaProgram::RawTracePoint(program)), _) => program.load(),
        (Some(AyaProgram::BtfTracePoint(program)), Place::Tracepoint(name)) => match types {
            Ok(types) => program.load(name, types),
            Err(error) => return Err(error.to_string()),
        },
        (Some(AyaProgram::SchedClassifier(program)), _) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    result.map_err(|error| reason(&error))
}

/// The link of a program that runs so often that it is taken off while nobody is wanted.
#[derive(Debug)]
pub(super) enum FrequentLink {
    Operations(SockOpsLinkId),
    Address(CgroupSockAddrLinkId),
    Tracepoint(RawTracePointLinkId),
    TypedTracepoint(BtfTracePointLinkId),
}

impl FrequentLink {
    pub(super) fn detach(self, ebpf: &mut Ebpf, program: Program) -> Result<(), ProgramError> {
        match (ebpf.program_mut(program.name()), self) {
            (Some(AyaProgram::SockOps(program)), Self::Operations(link)) => program.detach(link),
            (Some(AyaProgram::CgroupSockAddr(program)), Self::Address(link)) => program.detach(link),
            (Some(AyaProgram::RawTracePoint(program)), Self::Tracepoint(link)) => program.detach(link),
            (Some(AyaProgram::BtfTracePoint(program)), Self::TypedTracepoint(link)) => program.detach(link),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
    }
}

/// Gives the link, where one can be taken off.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    hook: &Hook,
    cgroup: &File,
    mode: CgroupAttachMode,
) -> Result<Option<FrequentLink>, ProgramError> {
    let direction = match hook.program {
        Program::PacketIngress => CgroupSkbAttachType::Ingress,
        _ => CgroupSkbAttachType::Egress,
    };
    match (ebpf.program_mut(hook.program.name()), hook.place) {
        (Some(AyaProgram::CgroupSkb(program)), _) => {
            program.attach(cgroup, direction, mode)?;
            Ok(None)
        }
        (Some(AyaProgram::CgroupSock(program)), _) => {
            program.attach(cgroup, mode)?;
            Ok(None)
        }
        (Some(AyaProgram::CgroupSockAddr(program)), _) => {
            Ok(Some(FrequentLink::Address(program.attach(cgroup, mode)?)))
        }
        (Some(AyaProgram::SockOps(program)), _) => {
            Ok(Some(FrequentLink::Operations(program.attach(cgroup, mode)?)))
        }
        (Some(AyaProgram::RawTracePoint(program)), Place::Tracepoint(name)) => {
            Ok(Some(FrequentLink::Tracepoint(program.attach(name)?)))
        }
        (Some(AyaProgram::BtfTracePoint(program)), _) => {
            Ok(Some(FrequentLink::TypedTracepoint(program.attach()?)))
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// One line: what the system call returned, and the verifier's last word if it had one.
pub(super) fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            tracing::debug!("{log}");
            let statistic = |line: &str| VERIFIER_STATISTICS.iter().any(|start| line.starts_with(start));
            let last = log.lines().rev().find(|line| !line.trim().is_empty() && !statistic(line));
            format!(
                "{io_error}{}",
                last.map(|line| format!("; verifier: {}", line.trim())).unwrap_or_default()
            )
        }
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        error => error.to_string(),
    }
}
