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
}

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
}
