//! Which program hangs on what, and what it is needed for.

use kcap_recorder_ebpf::Program;

use super::LoadOptions;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The cgroup2 root.
    Cgroup,
    /// The tracepoint of this name, raw or typed.
    Tracepoint(&'static str),
    /// Each interface that was asked for.
    Interface,
}

/// What happens without the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is nothing to record.
    Mandatory,
    /// It is only loaded when interfaces are to be recorded, and then there is nothing to record without.
    Asked,
    /// Recordings know less, and say so.
    Wanted,
    /// Only conditions on names ask for it.
    ForConditions,
    /// Somebody asked for it: it costs the host something with every system call.
    OnRequest,
    /// It only stands in for this other one, which tells more.
    InsteadOf(Program),
}

/// A program and its hook.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    pub(super) program: Program,
    pub(super) place: Place,
    pub(super) need: Need,
    /// As the kernel's documentation calls it.
    pub(super) name: &'static str,
    /// What a recording lacks without it.
    pub(super) purpose: &'static str,
}

impl Hook {
    /// Whether the program is needed, but for what others tell: packets are seen either at their sockets or at interfaces.
    pub(super) fn is_wanted(&self, options: &LoadOptions) -> bool {
        match self.need {
            Need::Asked => options.interfaces,
            Need::Mandatory => !options.interfaces,
            Need::ForConditions => options.rules.name != 0,
            Need::OnRequest => options.executable_mappings,
            Need::Wanted | Need::InsteadOf(_) => true,
        }
    }

    /// Whether the program sees packets of sockets.
    pub(super) fn sees_packets(&self) -> bool {
        matches!(self.program, Program::PacketIngress | Program::PacketEgress)
    }

    /// Whether the program runs for each packet or use of a socket, and not once in the life of a socket or process.
    pub(super) fn is_frequent(&self) -> bool {
        self.sees_packets()
            || matches!(
                self.program,
                Program::SocketOperations
                    | Program::SocketSend
                    | Program::SocketReceive
                    | Program::SocketSendmsg4
                    | Program::SocketSendmsg6
                    | Program::SocketRecvmsg4
                    | Program::SocketRecvmsg6
            )
    }
}

const fn cgroup(program: Program, need: Need, name: &'static str, purpose: &'static str) -> Hook {
    Hook { program, place: Place::Cgroup, need, name, purpose }
}

const fn tracepoint(
    program: Program,
    point: &'static str,
    name: &'static str,
    purpose: &'static str,
) -> Hook {
    Hook { program, place: Place::Tracepoint(point), need: Need::Wanted, name, purpose }
}

const fn interface(program: Program, name: &'static str, purpose: &'static str) -> Hook {
    Hook { program, place: Place::Interface, need: Need::Asked, name, purpose }
}

/// All hooks, in the order in which they are attached: owners are known before their packets come.
pub(super) const HOOKS: [Hook; Program::ALL.len()] = [
    tracepoint(Program::ProcessFork, "sched_process_fork", "raw_tp/sched_process_fork", "new processes"),
    tracepoint(Program::ProcessExec, "sched_process_exec", "raw_tp/sched_process_exec", "executed files"),
    tracepoint(Program::ProcessExit, "sched_process_exit", "raw_tp/sched_process_exit", "ended processes"),
    tracepoint(Program::CgroupMkdir, "cgroup_mkdir", "raw_tp/cgroup_mkdir", "containers that start"),
    tracepoint(Program::CgroupRmdir, "cgroup_rmdir", "raw_tp/cgroup_rmdir", "containers that are gone"),
    tracepoint(
        Program::CgroupAttachTask,
        "cgroup_attach_task",
        "raw_tp/cgroup_attach_task",
        "processes that enter containers",
    ),
    Hook {
        need: Need::ForConditions,
        ..tracepoint(
            Program::TaskRename,
            "task_rename",
            "raw_tp/task_rename",
            "--where process.name, on renaming",
        )
    },
    cgroup(Program::SocketCreate, Need::Wanted, "cgroup/sock_create", "creators of sockets"),
    cgroup(Program::SocketRelease, Need::Wanted, "cgroup/sock_release", "ends of sockets"),
    cgroup(Program::SocketBind4, Need::Wanted, "cgroup/post_bind4", "addresses that are bound"),
    cgroup(Program::SocketBind6, Need::Wanted, "cgroup/post_bind6", "addresses that are bound"),
    cgroup(Program::SocketConnect4, Need::Wanted, "cgroup/connect4", "who connects"),
    cgroup(Program::SocketConnect6, Need::Wanted, "cgroup/connect6", "who connects"),
    cgroup(Program::SocketOperations, Need::Wanted, "sock_ops", "owners of accepted sockets"),
    tracepoint(
        Program::SocketSend,
        "sock_send_length",
        "tp_btf/sock_send_length",
        "who sends on inherited sockets",
    ),
    tracepoint(
        Program::SocketReceive,
        "sock_recv_length",
        "tp_btf/sock_recv_length",
        "who receives on inherited sockets",
    ),
    cgroup(
        Program::SocketSendmsg4,
        Need::InsteadOf(Program::SocketSend),
        "cgroup/sendmsg4",
        "who sends datagrams",
    ),
    cgroup(
        Program::SocketSendmsg6,
        Need::InsteadOf(Program::SocketSend),
        "cgroup/sendmsg6",
        "who sends datagrams",
    ),
    cgroup(
        Program::SocketRecvmsg4,
        Need::InsteadOf(Program::SocketReceive),
        "cgroup/recvmsg4",
        "who receives datagrams",
    ),
    cgroup(
        Program::SocketRecvmsg6,
        Need::InsteadOf(Program::SocketReceive),
        "cgroup/recvmsg6",
        "who receives datagrams",
    ),
    tracepoint(Program::FileChange, "ctime_ns_xchg", "raw_tp/ctime_ns_xchg", "who changed an executed file"),
    Hook {
        need: Need::OnRequest,
        ..tracepoint(Program::SyscallEnter, "sys_enter", "raw_tp/sys_enter", "protection before mprotect(2)")
    },
    Hook {
        need: Need::OnRequest,
        ..tracepoint(Program::SyscallExit, "sys_exit", "raw_tp/sys_exit", "executable mappings")
    },
    cgroup(Program::PacketIngress, Need::Mandatory, "cgroup_skb/ingress", "arriving packets"),
    cgroup(Program::PacketEgress, Need::Mandatory, "cgroup_skb/egress", "leaving packets"),
    interface(Program::InterfaceIngress, "tcx/ingress", "--interface: arriving frames"),
    interface(Program::InterfaceEgress, "tcx/egress", "--interface: leaving frames"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_one_hook() {
        for program in Program::ALL {
            assert_eq!(HOOKS.iter().filter(|hook| hook.program == program).count(), 1, "{}", program.name());
        }
    }
}
