//! Processes: cloned and ended.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use kcap_recorder_ebpf::{EventKind, ExitEvent, ForkEvent, Program};

use super::{
    condition,
    count::{Fate, counted},
    namespace,
    ring::{EVENTS, reserve, submit_event},
    settings::setting,
    task::{current_process, fill_head, is_recorder, process_of, read_field},
};

/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn process_fork(context: RawTracePointContext) -> i32 {
    counted(Program::ProcessFork, || fork(context.arg(1)));
    0
}

/// `TP_PROTO(struct task_struct *p)`, since 6.16 `TP_PROTO(struct task_struct *p, bool group_dead)`
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn process_exit(context: RawTracePointContext) -> i32 {
    counted(Program::ProcessExit, || exit(&context));
    0
}

#[inline(always)]
fn fork(task: u64) -> Fate {
    let child = process_of(task);
    if child.pid != child.tid || is_recorder() {
        return Fate::Filtered;
    }
    let parent = read_field::<u64>(task, setting!(offsets.task_real_parent));
    if condition::are_there() {
        condition::cloned(&current_process(), &child, task);
    }
    let Some(record) = reserve::<{ size_of::<ForkEvent>() as u64 }>(&EVENTS) else { return Fate::RingFull };
    let event = record.cast::<ForkEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        fill_head(&raw mut (*event).head, EventKind::Fork, Program::ProcessFork, current_process());
        (*event).child = child;
        (*event).cgroup_id = namespace::cgroup_of(task);
        namespace::describe(task, parent, &raw mut (*event).namespaces);
    }
    submit_event(record);
    Fate::Stored
}

#[inline(always)]
fn exit(context: &RawTracePointContext) -> Fate {
    let task = context.arg::<u64>(0);
    let group_dead = if setting!(exit_has_group_dead) != 0 {
        context.arg::<u64>(1) as u8 != 0
    } else {
        // The count of living threads has already been lowered. Two threads that end at once may both find it zero:
        // the process then has two exits, which readers take for one.
        let signal = read_field::<u64>(task, setting!(offsets.task_signal));
        read_field::<u32>(signal, setting!(offsets.signal_live)) == 0
    };
    if !group_dead || is_recorder() {
        return Fate::Filtered;
    }
    let Some(record) = reserve::<{ size_of::<ExitEvent>() as u64 }>(&EVENTS) else { return Fate::RingFull };
    let event = record.cast::<ExitEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        fill_head(&raw mut (*event).head, EventKind::Exit, Program::ProcessExit, current_process());
        (*event).exit_code = read_field(task, setting!(offsets.task_exit_code));
        (*event).reserved = 0;
    }
    submit_event(record);
    Fate::Stored
}
