//! Programs, and the counters that say what became of each of their runs.

/// The kernel programs. The numbers are those of `LossProgram` in `spec/events.proto` and never change.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Program {
    PacketIngress = 1,
    PacketEgress = 2,
    SocketCreate = 3,
    SocketRelease = 4,
    SocketConnect4 = 5,
    SocketConnect6 = 6,
    SocketBind4 = 7,
    SocketBind6 = 8,
    SocketSendmsg4 = 9,
    SocketSendmsg6 = 10,
    SocketRecvmsg4 = 11,
    SocketRecvmsg6 = 12,
    SocketOperations = 13,
    SocketSend = 14,
    SocketReceive = 15,
    ProcessFork = 16,
    ProcessExec = 17,
    ProcessExit = 18,
    CgroupMkdir = 19,
    CgroupRmdir = 20,
    CgroupAttachTask = 21,
    TaskRename = 22,
    FileChange = 23,
    SyscallEnter = 24,
    SyscallExit = 25,
    InterfaceIngress = 26,
    InterfaceEgress = 27,
}

impl Counters {
    /// Runs whose record was given up, whatever the cause.
    pub const fn lost(&self) -> u64 {
        self.lost_ring_full + self.lost_copy_failed + self.lost_state_full + self.lost_overload
    }

    /// The same with all runs among the seen. The programs count those apart of which there are most, since an addition is
    /// a good part of what such a run costs.
    #[must_use]
    pub const fn whole(self) -> Self {
        Self {
            seen: self.seen + self.unwanted + self.kept,
            filtered: self.filtered + self.unwanted,
            stored: self.stored + self.kept,
            unwanted: 0,
            kept: 0,
            ..self
        }
    }

    /// Runs whose fate isn't known yet; 0 when no run is under way. Those for packets are only counted when it is known.
    pub const fn undecided(&self) -> u64 {
        self.seen.saturating_sub(self.filtered + self.stored + self.lost())
    }
}

impl Program {
    /// All programs, in the order of their numbers.
    pub const ALL: [Program; 27] = [
        Program::PacketIngress,
        Program::PacketEgress,
        Program::SocketCreate,
        Program::SocketRelease,
        Program::SocketConnect4,
        Program::SocketConnect6,
        Program::SocketBind4,
        Program::SocketBind6,
        Program::SocketSendmsg4,
        Program::SocketSendmsg6,
        Program::SocketRecvmsg4,
        Program::SocketRecvmsg6,
        Program::SocketOperations,
        Program::SocketSend,
        Program::SocketReceive,
        Program::ProcessFork,
        Program::ProcessExec,
        Program::ProcessExit,
        Program::CgroupMkdir,
        Program::CgroupRmdir,
        Program::CgroupAttachTask,
        Program::TaskRename,
        Program::FileChange,
        Program::SyscallEnter,
        Program::SyscallExit,
        Program::InterfaceIngress,
        Program::InterfaceEgress,
    ];

    /// The program with this number in records and messages.
    pub const fn from_number(number: u8) -> Option<Program> {
        if number == 0 || number as usize > Program::ALL.len() {
            return None;
        }
        Some(Program::ALL[number as usize - 1])
    }

    /// Name of the program's function in the object, and of its row in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Program::PacketIngress => "packet_ingress",
            Program::PacketEgress => "packet_egress",
            Program::SocketCreate => "socket_create",
            Program::SocketRelease => "socket_release",
            Program::SocketConnect4 => "socket_connect4",
            Program::SocketConnect6 => "socket_connect6",
            Program::SocketBind4 => "socket_bind4",
            Program::SocketBind6 => "socket_bind6",
            Program::SocketSendmsg4 => "socket_sendmsg4",
            Program::SocketSendmsg6 => "socket_sendmsg6",
            Program::SocketRecvmsg4 => "socket_recvmsg4",
            Program::SocketRecvmsg6 => "socket_recvmsg6",
            Program::SocketOperations => "socket_operations",
            Program::SocketSend => "socket_send",
            Program::SocketReceive => "socket_receive",
            Program::ProcessFork => "process_fork",
            Program::ProcessExec => "process_exec",
            Program::ProcessExit => "process_exit",
            Program::CgroupMkdir => "cgroup_mkdir",
            Program::CgroupRmdir => "cgroup_rmdir",
            Program::CgroupAttachTask => "cgroup_attach_task",
            Program::TaskRename => "task_rename",
            Program::FileChange => "file_change",
            Program::SyscallEnter => "syscall_enter",
            Program::SyscallExit => "syscall_exit",
            Program::InterfaceIngress => "interface_ingress",
            Program::InterfaceEgress => "interface_egress",
        }
    }
}

// `from_number` reads the list by number.
const _: () = {
    let mut index = 0;
    while index < Program::ALL.len() {
        assert!(Program::ALL[index] as usize == index + 1);
        index += 1;
    }
};

/// Entries of the per-CPU counter map, indexed by [`Program`]; room for programs to come.
pub const PROGRAM_COUNT_MAX: u32 = 32;

/// Fates of one program's runs on one CPU: `seen = filtered + stored + lost_*` whenever no run is under way.
///
/// Counted with atomic additions, since a program in process context may be interrupted by itself in softirq.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Counters {
    /// Runs.
    pub seen: u64,
    /// Runs that the tables from user space, or an unchanged owner, left without a record.
    pub filtered: u64,
    /// Records submitted to a ring.
    pub stored: u64,
    /// Records for which the ring had no room.
    pub lost_ring_full: u64,
    /// Records whose bytes could not be copied.
    pub lost_copy_failed: u64,
    /// Owners that a full map could not take.
    pub lost_state_full: u64,
    /// Packets that were only counted, because user space said so ([`CAPTURE_COUNTS`](crate::CAPTURE_COUNTS)).
    pub lost_overload: u64,
    /// Runs that are neither in `seen` nor in `filtered` yet, and belong to both: see [`Counters::whole`].
    pub unwanted: u64,
    /// The same of `seen` and `stored`.
    pub kept: u64,
}
