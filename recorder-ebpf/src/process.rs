//! Records of processes: cloned, executed, ended.

use crate::{EventHead, FileFacts, ProcessKey, StreamFacts};

/// How a process is numbered in the namespaces that it is in. All 0 when it could not be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct NamespaceFacts {
    /// Inode of its pid namespace, as `/proc/PID/ns/pid` shows it.
    pub pid_namespace: u32,
    /// Inode of its mount namespace.
    pub mount_namespace: u32,
    /// Its thread group id in its pid namespace.
    pub pid: u32,
    /// Thread group id there of its parent (`real_parent`); 0 when that one is outside.
    pub parent_pid: u32,
    /// Inode of the parent's pid namespace.
    pub parent_pid_namespace: u32,
    /// Zero.
    pub reserved: u32,
}

/// A process cloned another one (threads are filtered). `head.process` is the parent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ForkEvent {
    /// What all events have.
    pub head: EventHead,
    /// The new process.
    pub child: ProcessKey,
    /// cgroup v2 of the new process.
    pub cgroup_id: u64,
    /// Of the new process.
    pub namespaces: NamespaceFacts,
}

/// A process executed a file; `head` is the process after it.
///
/// Bytes follow, in this order: the file name given to the kernel, the paths of the binary and of the three streams (as
/// [`FileFacts`] describes them), the arguments and the environment as they lie in memory, each entry ended by NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ExecEvent {
    /// What all events have.
    pub head: EventHead,
    /// Parent of the process (`real_parent`'s thread group).
    pub parent: ProcessKey,
    /// Of the process.
    pub namespaces: NamespaceFacts,
    /// First address of the binary's code (`mm->start_code`).
    pub code_start: u64,
    /// First address after it (`mm->end_code`).
    pub code_end: u64,
    /// The file that was executed; of a script its interpreter's.
    pub binary: FileFacts,
    /// Standard input, output and error.
    pub streams: [StreamFacts; 3],
    /// Bytes of file name that follow, without its NUL.
    pub filename_len: u32,
    /// Bytes of arguments that follow.
    pub arguments_len: u32,
    /// `mm->arg_end - mm->arg_start`: bytes that the arguments take in all.
    pub arguments_len_total: u32,
    /// Bytes of environment that follow.
    pub environment_len: u32,
    /// `mm->env_end - mm->env_start`: bytes that the environment takes in all.
    pub environment_len_total: u32,
    /// Zero.
    pub reserved: u32,
}

/// A process ended: the last of its threads exited.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ExitEvent {
    /// What all events have.
    pub head: EventHead,
    /// `task_struct.exit_code`: status << 8 | signal.
    pub exit_code: u32,
    /// Zero.
    pub reserved: u32,
}

/// Most bytes of a file name in an [`ExecEvent`]: `PATH_MAX` of Linux, with its NUL.
pub const FILENAME_LEN_MAX: u32 = 4096;
/// Most bytes of arguments in an [`ExecEvent`], whatever the options say; what is more is counted in
/// `arguments_len_total`.
pub const ARGUMENTS_LEN_MAX: u32 = (32 << 10) - 1;
/// The same for the environment.
pub const ENVIRONMENT_LEN_MAX: u32 = (16 << 10) - 1;
