//! How processes are numbered in their namespaces, and in which cgroup they are.

use kcap_recorder_ebpf::NamespaceFacts;

use super::{settings::setting, task::read_field};

/// Pid namespaces can't be nested deeper (`MAX_PID_NS_LEVEL`).
const LEVEL_MAX: u32 = 32;

/// A number in one pid namespace (`struct upid`).
struct Number {
    number: u32,
    namespace: u64,
}

/// Fills in the numbers of `task` (a `task_struct`), whose parent is `parent`.
#[inline(always)]
pub(super) unsafe fn describe(task: u64, parent: u64, facts: *mut NamespaceFacts) {
    let (own, level) = own_number(leader_pid(task));
    let parent_pid = leader_pid(parent);
    let (parent_own, parent_level) = own_number(parent_pid);
    // A parent has a number in this namespace if it is in the namespace or in one below.
    let seen =
        if level <= parent_level { number_at(parent_pid, level) } else { Number { number: 0, namespace: 0 } };
    let nsproxy = read_field::<u64>(task, setting!(offsets.task_nsproxy));
    let mounts = read_field::<u64>(nsproxy, setting!(offsets.nsproxy_mnt_ns));
    // SAFETY: the caller's facts are in its record.
    unsafe {
        *facts = NamespaceFacts {
            pid_namespace: read_field(own.namespace, setting!(offsets.pid_namespace_inum)),
            mount_namespace: read_field(mounts, setting!(offsets.mnt_namespace_inum)),
            pid: own.number,
            parent_pid: if seen.namespace == own.namespace { seen.number } else { 0 },
            parent_pid_namespace: read_field(parent_own.namespace, setting!(offsets.pid_namespace_inum)),
            reserved: 0,
        };
    }
}

/// cgroup v2 id of a task that isn't the current one.
#[inline(always)]
pub(super) fn cgroup_of(task: u64) -> u64 {
    let set = read_field::<u64>(task, setting!(offsets.task_cgroups));
    let cgroup = read_field::<u64>(set, setting!(offsets.css_set_dfl_cgrp));
    let node = read_field::<u64>(cgroup, setting!(offsets.cgroup_kn));
    read_field(node, setting!(offsets.kernfs_node_id))
}

/// `struct pid` of the thread group's leader.
#[inline(always)]
fn leader_pid(task: u64) -> u64 {
    let leader = read_field::<u64>(task, setting!(offsets.task_group_leader));
    read_field(leader, setting!(offsets.task_thread_pid))
}

/// The number in the innermost namespace, and how deep that one is.
#[inline(always)]
fn own_number(pid: u64) -> (Number, u32) {
    let level = read_field::<u32>(pid, setting!(offsets.pid_level));
    (number_at(pid, level), level)
}

#[inline(always)]
fn number_at(pid: u64, level: u32) -> Number {
    let level = if level > LEVEL_MAX { 0 } else { level };
    // `struct upid` ends with the pointer to its namespace.
    let upid_len = setting!(offsets.upid_ns) + size_of::<u64>() as u32;
    let upid = setting!(offsets.pid_numbers) + level * upid_len;
    Number { number: read_field(pid, upid), namespace: read_field(pid, upid + setting!(offsets.upid_ns)) }
}
