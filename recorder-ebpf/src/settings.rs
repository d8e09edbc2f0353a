//! What user space tells the programs before they are loaded: options, and where kernel structures keep their fields.

use crate::Rules;

/// Read-only global `SETTINGS` of the programs. The verifier takes its values for constants and drops the branches
/// that they rule out, helpers unknown to the kernel among them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Settings {
    /// Most bytes captured of a packet, 1 to [`SNAPLEN_MAX`](crate::SNAPLEN_MAX).
    pub snaplen: u32,
    /// 1: capture the headers of a packet and nothing of its payload.
    pub headers_only: u32,
    /// Most payload bytes captured of a packet; `u32::MAX`: all that `snaplen` leaves.
    pub payload_len: u32,
    /// Most payload bytes captured of each direction of a flow, its first ones; `u32::MAX`: all.
    pub payload_per_flow_len: u32,
    /// 1: store the arriving copy of a loopback packet as headers when its leaving copy was stored.
    pub elide_local_copies: u32,
    /// `ifindex` of `lo`, the same in every network namespace.
    pub loopback_index: u32,
    /// Bytes in the packet ring at which the drainer is woken.
    pub packet_wakeup_len: u32,
    /// Bytes in the ring of short packets at which the drainer is woken.
    pub short_packet_wakeup_len: u32,
    /// Bytes in the event ring at which the drainer is woken.
    pub event_wakeup_len: u32,
    /// 1: the verifier tells the types of what a packet's context stands for, and the loader has put the number of
    /// `bpf_cast_to_kern_ctx` in place of [`CAST_TO_KERNEL_CONTEXT`].
    pub typed_packets: u32,
    /// 1: `bpf_get_netns_cookie` may be called for packets.
    pub packet_netns_cookie: u32,
    /// Cookie of the network namespace whose interfaces are recorded, lower half; 0 when the kernel doesn't tell.
    pub interface_netns_cookie_low: u32,
    /// Its upper half.
    pub interface_netns_cookie_high: u32,
    /// 1: `bpf_get_netns_cookie` may be called in `sock_ops`.
    pub sock_ops_netns_cookie: u32,
    /// 1: the verifier allows reads of packets at any address (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).
    pub unaligned_reads: u32,
    /// 1: the tracepoint `sched_process_exit` has a second argument, `group_dead`.
    pub exit_has_group_dead: u32,
    /// Which rules there are on whose packets are wanted.
    pub rules: Rules,
    /// Most bytes of arguments in an exec record, up to [`ARGUMENTS_LEN_MAX`](crate::ARGUMENTS_LEN_MAX).
    pub arguments_len_max: u32,
    /// Most bytes of environment in an exec record, up to [`ENVIRONMENT_LEN_MAX`](crate::ENVIRONMENT_LEN_MAX).
    pub environment_len_max: u32,
    /// Thread group id of the recorder, what it does is not recorded; 0 when it doesn't know its own.
    pub recorder_pid: u32,
    /// 1: `bpf_find_vma` may be called.
    pub find_vma: u32,
    /// Numbers of system calls, and where `pt_regs` keeps their arguments.
    pub syscalls: Syscalls,
    /// 1: packets are only recorded when the functions for `--filter` say so.
    pub filter_packets: u32,
    /// Rules of tasks whose filters the function for them knows.
    pub filtered_tasks: u32,
    /// Rules of tasks for whose packets the limits on payload don't count, other than `snaplen`.
    pub payload_tasks: u32,
    /// Where the fields are.
    pub offsets: Offsets,
}

/// System calls of the running architecture.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[allow(missing_docs)] // each is named as the call or the register
pub struct Syscalls {
    pub mmap: u32,
    pub mprotect: u32,
    pub pkey_mprotect: u32,
    /// Offset of the call's number in `pt_regs`.
    pub number: u32,
    /// Offset of the first argument, as it was on entry.
    pub argument_1: u32,
    pub argument_2: u32,
    pub argument_3: u32,
    pub argument_4: u32,
    /// Offset in `task_struct` of the word that tells programs of the narrower architecture, whose calls have other
    /// numbers.
    pub task_compat: u32,
    /// The bits of that word that are set for them.
    pub compat_bits: u32,
}

/// What is captured of packets, in the lowest bits of the one word of the map `CAPTURE`, which user space may change at
/// any time. The bits above count its changes: what was remembered of packets before a change is not used after it.
pub const CAPTURE_MODE_MASK: u32 = 3;
/// Packets as the settings ask.
pub const CAPTURE_FULL: u32 = 0;
/// Headers, and nothing of the payload.
pub const CAPTURE_HEADERS: u32 = 1;
/// Nothing: packets are counted as lost.
pub const CAPTURE_COUNTS: u32 = 2;

/// Number of no helper, in calls of the kernel function `bpf_cast_to_kern_ctx` (Linux 6.2), whose number differs from kernel
/// to kernel.
pub const CAST_TO_KERNEL_CONTEXT: i32 = 0x7cca_0001;

/// An offset that the running kernel doesn't have.
pub const OFFSET_NONE: u32 = u32::MAX;

/// Byte offsets of fields in kernel structures, from the kernel's BTF.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[allow(missing_docs)] // each field is named as the structure and its field
pub struct Offsets {
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_group_leader: u32,
    pub task_start_boottime: u32,
    pub task_real_parent: u32,
    pub task_mm: u32,
    pub task_signal: u32,
    pub task_exit_code: u32,
    pub signal_live: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub mm_env_start: u32,
    pub mm_env_end: u32,
    pub mm_start_code: u32,
    pub mm_end_code: u32,
    pub binprm_filename: u32,
    pub binprm_file: u32,
    pub task_thread_pid: u32,
    pub task_nsproxy: u32,
    pub task_cgroups: u32,
    pub task_files: u32,
    pub pid_level: u32,
    pub pid_numbers: u32,
    pub upid_ns: u32,
    pub pid_namespace_inum: u32,
    pub nsproxy_mnt_ns: u32,
    pub mnt_namespace_inum: u32,
    pub css_set_dfl_cgrp: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_inode: u32,
    pub file_path_mnt: u32,
    pub file_path_dentry: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub inode_nlink: u32,
    pub inode_sb: u32,
    pub inode_ctime_sec: u32,
    pub inode_ctime_nsec: u32,
    pub super_block_dev: u32,
    pub super_block_magic: u32,
    pub dentry_parent: u32,
    pub dentry_name: u32,
    pub dentry_inode: u32,
    pub mount_parent: u32,
    pub mount_mountpoint: u32,
    pub mount_mnt: u32,
    pub vfsmount_root: u32,
    /// `vfs_inode` in `ovl_inode`; [`OFFSET_NONE`] where overlays are a module or absent.
    pub ovl_inode_vfs_inode: u32,
    pub ovl_inode_upper: u32,
    /// `vfs_inode` in `socket_alloc`.
    pub socket_alloc_vfs_inode: u32,
    pub socket_alloc_sk: u32,
    pub sock_local_v4: u32,
    pub sock_remote_v4: u32,
    pub sock_local_v6: u32,
    pub sock_remote_v6: u32,
    pub sock_local_port: u32,
    pub sock_remote_port: u32,
    pub vma_flags: u32,
    pub vma_file: u32,
    pub sk_buff_sk: u32,
    pub sock_family: u32,
    pub sock_cookie: u32,
    pub sock_net: u32,
    pub sock_type: u32,
    pub sock_protocol: u32,
    /// [`OFFSET_NONE`] where namespaces have no cookie.
    pub net_cookie: u32,
    pub cgroup_kn: u32,
    pub cgroup_root: u32,
    pub cgroup_root_hierarchy_id: u32,
    pub kernfs_node_id: u32,
    pub cgroup_self: u32,
    pub cgroup_self_parent: u32,
    pub task_comm: u32,
}
