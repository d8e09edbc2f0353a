//! Cgroups: made, removed, and joined. Their paths name containers.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::raw_tracepoint, programs::RawTracePointContext,
};
use kcap_recorder_ebpf::{CGROUP_PATH_LEN_MAX, CgroupEvent, CgroupEventKind, EventKind, ProcessKey, Program};

use super::{
    bound::masked,
    condition,
    count::{Fate, counted},
    ring::{EVENTS, reserve, submit_event},
    settings::setting,
    task::{current_process, fill_head, process_of, read_field},
};

/// `TP_PROTO(struct cgroup *cgrp, const char *path)`
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
fn cgroup_mkdir(context: RawTracePointContext) -> i32 {
    counted(Program::CgroupMkdir, || {
        let cgroup = context.arg::<u64>(0);
        if is_of_version_2(cgroup) {
            condition::made_cgroup(id_of(cgroup), id_of(parent_of(cgroup)));
        }
        tell(&context, Program::CgroupMkdir, CgroupEventKind::Create, ProcessKey::default())
    });
    0
}

/// `TP_PROTO(struct cgroup *cgrp, const char *path)`
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
fn cgroup_rmdir(context: RawTracePointContext) -> i32 {
    counted(Program::CgroupRmdir, || {
        tell(&context, Program::CgroupRmdir, CgroupEventKind::Remove, ProcessKey::default())
    });
    0
}

/// `TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
fn cgroup_attach_task(context: RawTracePointContext) -> i32 {
    counted(Program::CgroupAttachTask, || {
        let moved = process_of(context.arg(2));
        let cgroup = context.arg::<u64>(0);
        if is_of_version_2(cgroup) {
            condition::entered_cgroup(&moved, id_of(cgroup));
        }
        tell(&context, Program::CgroupAttachTask, CgroupEventKind::Attach, moved)
    });
    0
}

const EVENT_LEN: u64 = size_of::<CgroupEvent>() as u64;
const RECORD_LEN: u64 = EVENT_LEN + CGROUP_PATH_LEN_MAX as u64;

#[inline(always)]
fn tell(context: &RawTracePointContext, program: Program, kind: CgroupEventKind, moved: ProcessKey) -> Fate {
    let cgroup = context.arg::<u64>(0);
    if !is_of_version_2(cgroup) {
        return Fate::Filtered;
    }
    let path = context.arg::<u64>(1);
    let Some(record) = reserve::<RECORD_LEN>(&EVENTS) else { return Fate::RingFull };
    let event = record.cast::<CgroupEvent>();
    // SAFETY: the record has room for the event and, after it, for the longest path.
    unsafe {
        let target = record.add(EVENT_LEN as usize);
        let read = bpf_probe_read_kernel_str(target.cast(), CGROUP_PATH_LEN_MAX, path as *const _);
        fill_head(&raw mut (*event).head, EventKind::Cgroup, program, current_process());
        (*event).moved = moved;
        (*event).cgroup_id = id_of(cgroup);
        // The helper counts the NUL that it writes.
        (*event).path_len = if read > 0 { masked(read as u32 - 1, CGROUP_PATH_LEN_MAX - 1) } else { 0 };
        (*event).cgroup_kind = kind as u16;
        (*event).reserved = 0;
    }
    submit_event(record);
    Fate::Stored
}

/// The hierarchy of version 2 is the first that there is, and has the number 0 (cgroups(7)).
#[inline(always)]
fn is_of_version_2(cgroup: u64) -> bool {
    let root = read_field::<u64>(cgroup, setting!(offsets.cgroup_root));
    root != 0 && read_field::<u32>(root, setting!(offsets.cgroup_root_hierarchy_id)) == 0
}

/// Number of a `struct cgroup`.
#[inline(always)]
fn id_of(cgroup: u64) -> u64 {
    let node = read_field::<u64>(cgroup, setting!(offsets.cgroup_kn));
    read_field(node, setting!(offsets.kernfs_node_id))
}

/// The cgroup above, by way of the `cgroup_subsys_state` that each has in itself.
#[inline(always)]
fn parent_of(cgroup: u64) -> u64 {
    let state = read_field::<u64>(cgroup, setting!(offsets.cgroup_self_parent));
    state.wrapping_sub(u64::from(setting!(offsets.cgroup_self)))
}
