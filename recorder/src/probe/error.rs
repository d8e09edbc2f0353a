//! What can keep the programs from running, and what to do about it.

use std::{io, path::PathBuf};

/// Errors of probing, loading and attaching. Each names what failed, where, and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process may not load programs.
    #[error(
        "not allowed to load eBPF programs ({missing} missing): run as root, or give kcap-record CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; frames alone, with --interface, take CAP_NET_RAW"
    )]
    NotPermitted {
        /// Capabilities that are missing.
        missing: String,
    },
    /// The kernel has no `bpf(2)`, or something such as a container's seccomp profile forbids it.
    #[error(
        "bpf(2) is refused although the capabilities are there ({source}): a seccomp profile, lockdown or a kernel without CONFIG_BPF_SYSCALL forbids it; record on the host itself"
    )]
    SyscallRefused {
        /// What bpf(2) returned.
        source: io::Error,
    },
    /// The kernel is too old.
    #[error("Linux {found} is too old: kcap-record needs {required} or later")]
    KernelTooOld {
        /// Version found.
        found: String,
        /// Version needed.
        required: &'static str,
    },
    /// The kernel doesn't describe its types.
    #[error("{path}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF")]
    NoTypes {
        /// Where they were expected.
        path: PathBuf,
        /// Why they can't be read.
        source: io::Error,
    },
    /// The type information can't be understood.
    #[error("{path}: damaged or unknown type information at byte {offset}: {problem}")]
    BadTypes {
        /// Where it was read.
        path: PathBuf,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A field that the programs need isn't there.
    #[error(
        "this kernel has no field {field}, which kcap-record reads: report it with the output of `uname -r`"
    )]
    NoField {
        /// `structure.field`
        field: String,
    },
    /// No cgroup v2 hierarchy is mounted.
    #[error("no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")]
    NoCgroup2,
    /// A file of the system can't be read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The object with the programs is refused as a whole: a map, or its types.
    #[error("the kernel refuses the maps of the programs: {source}")]
    Maps {
        /// What it said.
        source: Box<aya::EbpfError>,
    },
    /// A program without which there is nothing to record.
    #[error("the kernel refuses program {program} ({hook}): {reason}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it would hang on.
        hook: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A ring can't be mapped, or a map can't be read.
    #[error("{what}: {source}")]
    Map {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What was asked for with `--interface` is not there, or nothing that can be recorded.
    #[error("--interface {name}: {reason}")]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An interface can't be recorded.
    #[error("interface {name}: the kernel refuses the programs ({hook}): {reason}")]
    Interface {
        /// Its name.
        name: String,
        /// What they would hang on.
        hook: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A filter can't run in the kernel.
    #[error("{source}")]
    Filter {
        /// Why not.
        source: kcap_filter::CompileError,
    },
    /// The object with the programs isn't what this build expects.
    #[error(
        "the embedded kernel programs have no function {function} of {len_min} bytes or more: build kcap-record again"
    )]
    Object {
        /// The function.
        function: &'static str,
        /// Bytes that it must have.
        len_min: usize,
    },
    /// An option has a value that the kernel can't take.
    #[error("{option}: {value} is not {wanted}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Error {
    /// True when it is the programs that can't be had, so that something else may do; false for what was asked of them.
    pub(crate) fn is_of_programs(&self) -> bool {
        !matches!(
            self,
            Self::Option { .. } | Self::Filter { .. } | Self::NoInterface { .. } | Self::Interface { .. }
        )
    }
}
