//! Conditions: whose packets are wanted. User space fills tables with what is wanted, the programs evaluate them.
//!
//! A rule is a set of conditions, and has a bit in all words here. Bit 0 is what is recorded at all, the others are of
//! tasks that want more than that. A word says for which rules something holds.

/// The bit of the rule that decides whether a packet is recorded at all.
pub const RULE_RECORD: u32 = 1 << 0;
/// Rules, at most.
pub const RULE_COUNT_MAX: u32 = 32;

/// Which rules there are, and which of them ask for what. Part of [`Settings`](crate::Settings).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Rules {
    /// All of them; 0 when nothing is asked for.
    pub all: u32,
    /// Those with conditions on process ids.
    pub pid: u32,
    /// On process names.
    pub name: u32,
    /// On executables.
    pub executable: u32,
    /// On users.
    pub user: u32,
    /// On containers or pods.
    pub container: u32,
    /// Those that hold for the children of a process for which they hold.
    pub children: u32,
}

/// What is known of a process: value of the map `TASKS`, by thread group id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Task {
    /// Start of the process; 0 when only known to a clock tick, which then matches any.
    pub start_time_ns: u64,
    /// Its cgroup of version 2.
    pub cgroup_id: u64,
    /// Rules that want its id, its name, its executable, its user.
    pub pid: u32,
    /// As above.
    pub name: u32,
    /// As above.
    pub executable: u32,
    /// As above.
    pub user: u32,
    /// Rules that hold because they did for its parent when it was cloned.
    pub inherited: u32,
    /// Rules that held for any of its children: they may accept from its sockets.
    pub children: u32,
    /// The user for whom `user` was found.
    pub uid: u32,
    /// Zero.
    pub reserved: u32,
}

impl Task {
    /// Rules of which all that concerns the process itself holds: what is asked of its container comes beside it.
    #[inline(always)]
    pub fn holds(&self, rules: &Rules) -> u32 {
        let own = (self.pid | !rules.pid)
            & (self.name | !rules.name)
            & (self.executable | !rules.executable)
            & (self.user | !rules.user);
        (own | self.inherited) & rules.all
    }
}

/// For which rules something holds. Value of the map `CGROUPS`, by cgroup id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Verdict {
    /// For these it does.
    pub yes: u32,
    /// For these it may, or does: user space has not decided about all of them.
    pub maybe: u32,
}

/// What a packet waits for whose verdict is not known: value of the map `UNDECIDED`, by socket cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Undecided {
    /// The cgroup about which user space has to decide.
    pub cgroup_id: u64,
}

/// Who used a socket last: value of the map `OWNERS`, by socket cookie. Without the thread: a change of thread is no change
/// of owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct SocketOwner {
    /// Start of the process; 0 when only known to a clock tick.
    pub start_time_ns: u64,
    /// Its thread group id.
    pub pid: u32,
    /// `SOCKET_OWNER_*`
    pub flags: u32,
}

/// An event told of this owner. What isn't wanted is noted all the same.
pub const SOCKET_OWNER_TOLD: u32 = 1 << 0;
/// It is the listener's owner: nobody has used the accepted socket yet.
pub const SOCKET_OWNER_INHERITED: u32 = 1 << 1;

/// An executable by what it is, and not by what it is called: key of the map `WANTED_FILES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct FileKey {
    /// `inode.i_ino`
    pub inode: u64,
    /// `super_block.s_dev`: major << 20 | minor.
    pub device: u64,
}

/// The programs that see packets aren't attached yet, and it isn't known whether anybody is wanted: word of the map `ALERTNESS`.
pub const ALERTNESS_STARTING: u32 = 0;
/// They aren't attached, since nobody is wanted.
pub const ALERTNESS_ASLEEP: u32 = 1;
/// The same, and who is wanted waits for them.
pub const ALERTNESS_WAITED_FOR: u32 = 2;
/// They are attached.
pub const ALERTNESS_AWAKE: u32 = 3;
/// How long it waits at most. Attaching takes about 0.2 ms.
pub const WAIT_NS_MAX: u64 = 1_000_000;

/// A process may be wanted, and the programs that see packets aren't attached: record of the ring `WAKE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct WakeCall {
    /// `bpf_ktime_get_boot_ns` when that was found.
    pub time_ns: u64,
    /// The process's thread group id.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bytes of a path in the key of the map `WANTED_PATHS`, NUL-padded; longer ones can't be asked for.
pub const WANTED_PATH_LEN: usize = 256;
/// Values that can be asked for of each kind.
pub const WANTED_COUNT_MAX: u32 = 1024;
/// Processes of which conditions know.
pub const TASK_COUNT_MAX: u32 = 1 << 17;
/// Cgroups of which conditions know.
pub const CGROUP_COUNT_MAX: u32 = 1 << 16;
/// Sockets that may wait for a decision; the longest silent make room.
pub const UNDECIDED_COUNT_MAX: u32 = 1 << 14;
