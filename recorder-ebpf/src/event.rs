//! Records of the event ring: what they have in common, and what sockets did. See also `process.rs` and `mapping.rs`.

/// Kinds of event records, in [`EventHead::kind`].
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`ForkEvent`](crate::ForkEvent).
    Fork = 1,
    /// [`ExecEvent`](crate::ExecEvent).
    Exec = 2,
    /// [`ExitEvent`](crate::ExitEvent).
    Exit = 3,
    /// [`SocketEvent`].
    Socket = 4,
    /// [`CgroupEvent`].
    Cgroup = 5,
    /// [`MappingEvent`](crate::MappingEvent).
    Mapping = 6,
}

/// What a cgroup event tells.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CgroupEventKind {
    Create = 1,
    Remove = 2,
    /// A process was moved into it.
    Attach = 3,
}

/// What a socket event tells; the numbers are those of `SocketEvent.Kind` in `spec/events.proto`.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SocketEventKind {
    Create = 1,
    Bind = 2,
    Connect = 3,
    Established = 4,
    Accepted = 5,
    Send = 6,
    Receive = 7,
    Release = 8,
}

/// A process: thread group id in the initial pid namespace, and `start_boottime` of its leader. `pid` 0: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ProcessKey {
    /// Nanoseconds since boot.
    pub start_time_ns: u64,
    /// Thread group id.
    pub pid: u32,
    /// Thread id of the task that acted.
    pub tid: u32,
}

/// Head of every event record. `process` is the current task in process context, and empty in softirq.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct EventHead {
    /// `bpf_ktime_get_boot_ns`.
    pub time_ns: u64,
    /// The current process.
    pub process: ProcessKey,
    /// `bpf_get_current_cgroup_id` (cgroup v2).
    pub cgroup_id: u64,
    /// User id of the current task, in the initial user namespace.
    pub uid: u32,
    /// Group id of the current task.
    pub gid: u32,
    /// `task_struct.comm`, NUL-padded.
    pub name: [u8; 16],
    /// [`EventKind`].
    pub kind: u16,
    /// Processor that ran the program.
    pub cpu: u16,
    /// [`Program`](crate::Program).
    pub program: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// A socket got an owner, an address, a peer, or was released.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct SocketEvent {
    /// What all events have.
    pub head: EventHead,
    /// For accepted sockets: owner of the listener, through cloned socket storage; `pid` 0 when unknown.
    pub inherited_owner: ProcessKey,
    /// `sock_gen_cookie`.
    pub cookie: u64,
    /// Network namespace cookie, 0 when the hook doesn't tell.
    pub netns_cookie: u64,
    /// Address bytes in network order; IPv4 in the first four. Zero when unknown.
    pub local_address: [u8; 16],
    /// As `local_address`.
    pub remote_address: [u8; 16],
    /// Host order, 0 when unknown.
    pub local_port: u16,
    /// Host order, 0 when unknown.
    pub remote_port: u16,
    /// [`SocketEventKind`].
    pub socket_kind: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// `SOCK_*`, 0 when the hook doesn't tell.
    pub socket_type: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Zero.
    pub reserved: u32,
}

/// A cgroup of the version 2 hierarchy was made or removed, or a process was moved into it. `path_len` bytes follow: its
/// path below the root of the hierarchy.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct CgroupEvent {
    /// What all events have; the process is the one that acted.
    pub head: EventHead,
    /// For [`CgroupEventKind::Attach`]: the process that was moved.
    pub moved: ProcessKey,
    /// `kernfs_node.id`: what `bpf_get_current_cgroup_id` gives to the processes in it, and the inode of its folder.
    pub cgroup_id: u64,
    /// Bytes of path that follow, without its NUL.
    pub path_len: u32,
    /// [`CgroupEventKind`].
    pub cgroup_kind: u16,
    /// Zero.
    pub reserved: u16,
}

/// Most bytes of a path in a [`CgroupEvent`]: the kernel's tracepoints have no more (`TRACE_CGROUP_PATH_LEN`).
pub const CGROUP_PATH_LEN_MAX: u32 = 1024;
