//! Tasks and processes, read from kernel memory at offsets that user space took from BTF.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task,
    bpf_get_current_uid_gid, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
    generated::bpf_probe_read_kernel,
};
use core::mem::MaybeUninit;

use kcap_recorder_ebpf::{EventHead, EventKind, OFFSET_NONE, ProcessKey, Program};

use super::settings::setting;

/// Reads a field of a kernel structure; all zeroes when the address can't be read, or this kernel has no such field.
/// `T` must be an integer or an array of them.
#[inline(always)]
pub(super) fn read_field<T: Copy + Default>(structure: u64, offset: u32) -> T {
    if offset == OFFSET_NONE {
        return T::default();
    }
    let mut value = MaybeUninit::<T>::uninit();
    // The result isn't looked at: a branch at each read would multiply what the verifier has to follow.
    // SAFETY: the helper checks the address itself, and fills the value with zeroes if it can't be read.
    unsafe {
        let address = (structure + u64::from(offset)) as *const _;
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
        value.assume_init()
    }
}

/// The process that `task` (a `task_struct`) is a thread of.
#[inline(always)]
pub(super) fn process_of(task: u64) -> ProcessKey {
    let pid = read_field::<u32>(task, setting!(offsets.task_tgid));
    let tid = read_field::<u32>(task, setting!(offsets.task_pid));
    ProcessKey { start_time_ns: start_time_of(task), pid, tid }
}

/// Number of the cgroup of version 2 that `task` is in.
#[inline(always)]
pub(super) fn cgroup_id_of(task: u64) -> u64 {
    let set = read_field::<u64>(task, setting!(offsets.task_cgroups));
    let cgroup = read_field::<u64>(set, setting!(offsets.css_set_dfl_cgrp));
    let node = read_field::<u64>(cgroup, setting!(offsets.cgroup_kn));
    read_field(node, setting!(offsets.kernfs_node_id))
}

/// The current process. Only for programs that run in process context.
#[inline(always)]
pub(super) fn current_process() -> ProcessKey {
    let ids = bpf_get_current_pid_tgid();
    ProcessKey { start_time_ns: start_time_of(current_task()), pid: (ids >> 32) as u32, tid: ids as u32 }
}

/// Number of the current process.
#[inline(always)]
pub(super) fn current_pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// True when the current process is the recorder: what it does must not feed back into the recording. Only for
/// programs that run in process context.
#[inline(always)]
pub(super) fn is_recorder() -> bool {
    setting!(recorder_pid) != 0 && current_pid() == setting!(recorder_pid)
}

/// The current `task_struct`.
#[inline(always)]
pub(super) fn current_task() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_task() }
}

/// Start of the thread group's leader, which is the start of the process.
#[inline(always)]
fn start_time_of(task: u64) -> u64 {
    let leader = read_field::<u64>(task, setting!(offsets.task_group_leader));
    read_field(leader, setting!(offsets.task_start_boottime))
}

/// Fills a head with the current task as the one that acted.
#[inline(always)]
pub(super) fn fill_head(head: *mut EventHead, kind: EventKind, program: Program, process: ProcessKey) {
    let ids = bpf_get_current_uid_gid();
    fill_anonymous_head(head, kind, program);
    // SAFETY: `head` is in a ring record that is large enough.
    unsafe {
        (*head).process = process;
        (*head).cgroup_id = bpf_get_current_cgroup_id();
        (*head).uid = ids as u32;
        (*head).gid = (ids >> 32) as u32;
        if let Ok(name) = bpf_get_current_comm() {
            (*head).name = name;
        }
    }
}

/// Fills a head without a task: in softirq, `current` is whoever was interrupted.
#[inline(always)]
pub(super) fn fill_anonymous_head(head: *mut EventHead, kind: EventKind, program: Program) {
    // SAFETY: as above.
    unsafe {
        *head = EventHead {
            time_ns: bpf_ktime_get_boot_ns(),
            kind: kind as u16,
            cpu: bpf_get_smp_processor_id() as u16,
            program: program as u8,
            ..EventHead::default()
        };
    }
}
