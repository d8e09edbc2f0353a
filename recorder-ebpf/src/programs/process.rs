//! Processes: forked, executed, ended.

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use kcap_recorder_ebpf::{
    ARGUMENTS_LEN_MAX, EventKind, ExecEvent, ExitEvent, ForkEvent, PATH_LEN_MAX, Program,
    SHORT_ARGUMENTS_LEN_MAX, SHORT_PATH_LEN_MAX,
};

use super::{
    bound::masked,
    condition,
    count::{Fate, counted},
    ring::{EVENTS, discard, reserve, submit_event},
    settings::setting,
    task::{current_process, fill_head, process_of, read_field},
};

/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn process_fork(context: RawTracePointContext) -> i32 {
    counted(Program::ProcessFork, || fork(context.arg(1)));
    0
}

/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(context: RawTracePointContext) -> i32 {
    counted(Program::ProcessExec, || exec(context.arg(0), context.arg(2)));
    0
}

/// `TP_PROTO(struct task_struct *p)`, since 6.16 `TP_PROTO(struct task_struct *p, bool group_dead)`
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn process_exit(context: RawTracePointContext) -> i32 {
    counted(Program::ProcessExit, || exit(&context));
    0
}

#[inline(always)]
fn fork(child_task: u64) -> Fate {
    let child = process_of(child_task);
    if child.pid != child.tid {
        return Fate::Filtered;
    }
    if condition::are_there() {
        condition::cloned(&current_process(), &child, child_task);
    }
    let Some(record) = reserve::<{ size_of::<ForkEvent>() as u64 }>(&EVENTS) else { return Fate::RingFull };
    let event = record.cast::<ForkEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        fill_head(&raw mut (*event).head, EventKind::Fork, Program::ProcessFork, current_process());
        (*event).child = child;
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
    if !group_dead {
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

#[inline(always)]
fn exec(task: u64, binary: u64) -> Fate {
    if condition::are_there() {
        let parent = process_of(read_field(task, setting!(offsets.task_real_parent)));
        condition::executed(&current_process(), &parent, task, binary);
    }
    let mm = read_field::<u64>(task, setting!(offsets.task_mm));
    let arguments = read_field::<u64>(mm, setting!(offsets.mm_arg_start));
    let arguments_len = read_field::<u64>(mm, setting!(offsets.mm_arg_end)).wrapping_sub(arguments);
    let exec = Exec { task, binary, arguments, arguments_len };
    if arguments_len <= u64::from(SHORT_ARGUMENTS_LEN_MAX)
        && let Some(fate) =
            exec.store::<{ SHORT_PATH_LEN_MAX }, { SHORT_ARGUMENTS_LEN_MAX }, { SHORT_RECORD_LEN }>()
    {
        return fate;
    }
    // A path that fills even the longer record is stored as far as it goes.
    exec.store::<{ PATH_LEN_MAX }, { ARGUMENTS_LEN_MAX }, { LONG_RECORD_LEN }>().unwrap_or(Fate::CopyFailed)
}

const EXEC_LEN: u64 = size_of::<ExecEvent>() as u64;
/// The smallest page of any architecture; where pages are larger, only less is tried.
const PAGE_LEN: u32 = 4096;
const SHORT_RECORD_LEN: u64 = EXEC_LEN + (SHORT_PATH_LEN_MAX + SHORT_ARGUMENTS_LEN_MAX) as u64;
const LONG_RECORD_LEN: u64 = EXEC_LEN + (PATH_LEN_MAX + ARGUMENTS_LEN_MAX) as u64;

struct Exec {
    task: u64,
    binary: u64,
    arguments: u64,
    arguments_len: u64,
}

impl Exec {
    /// `None`: the path doesn't fit into the short record.
    #[inline(always)]
    fn store<const PATH_LEN: u32, const ARGUMENTS_LEN: u32, const RECORD_LEN: u64>(&self) -> Option<Fate> {
        let Some(record) = reserve::<RECORD_LEN>(&EVENTS) else { return Some(Fate::RingFull) };
        let event = record.cast::<ExecEvent>();
        let path_pointer = read_field::<u64>(self.binary, setting!(offsets.binprm_filename));
        // SAFETY: the record has room for the event, the path and the arguments, in this order; both lengths are
        // masked below their size.
        unsafe {
            let path = record.add(EXEC_LEN as usize);
            let read = bpf_probe_read_kernel_str(path.cast(), PATH_LEN, path_pointer as *const _);
            if read == i64::from(PATH_LEN) && PATH_LEN < PATH_LEN_MAX {
                discard(record);
                return None;
            }
            // The helper counts the NUL that it writes.
            let path_len = if read > 0 { masked(read as u32 - 1, PATH_LEN - 1) } else { 0 };
            let arguments_len = self.read_arguments::<ARGUMENTS_LEN>(path.add(path_len as usize));

            let parent = read_field::<u64>(self.task, setting!(offsets.task_real_parent));
            fill_head(&raw mut (*event).head, EventKind::Exec, Program::ProcessExec, current_process());
            (*event).parent = process_of(parent);
            (*event).path_len = path_len;
            (*event).arguments_len = arguments_len;
            (*event).arguments_len_total = u32::try_from(self.arguments_len).unwrap_or(u32::MAX);
            (*event).reserved = 0;
        }
        submit_event(record);
        Some(Fate::Stored)
    }

    /// Bytes copied to `target`; 0 when the memory isn't there.
    #[inline(always)]
    unsafe fn read_arguments<const LEN: u32>(&self, target: *mut u8) -> u32 {
        if self.arguments_len == 0 {
            return 0;
        }
        let len = self.arguments_len.min(u64::from(LEN)) as u32;
        // Only what is resident can be read here: all of it, or else what the first page has.
        let page_rest_len = PAGE_LEN - (self.arguments as u32 & (PAGE_LEN - 1));
        for len in [len, len.min(page_rest_len)] {
            let len = masked(len - 1, LEN - 1) + 1;
            // SAFETY: the caller has room for `LEN` bytes, and the helper checks the address itself.
            if unsafe { bpf_probe_read_user(target.cast(), len, self.arguments as *const _) } == 0 {
                return len;
            }
        }
        0
    }
}
