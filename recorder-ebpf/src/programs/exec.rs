//! Executed files, with all that can only be read at that moment.

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use core::ptr;
use kcap_recorder_ebpf::{
    ARGUMENTS_LEN_MAX, ENVIRONMENT_LEN_MAX, EventKind, ExecEvent, FILENAME_LEN_MAX, Program, StreamFacts,
};

use super::{
    bound::masked,
    condition,
    count::{Fate, counted},
    file::describe,
    namespace,
    scratch::{DATA_LEN, NAMES_LEN, Scratch, output, scratch},
    settings::setting,
    stream,
    task::{current_process, fill_head, is_recorder, process_of, read_field},
};

/// The smallest page of any architecture; where pages are larger, only less is tried.
const PAGE_LEN: u32 = 4096;
const EVENT_LEN: usize = size_of::<ExecEvent>();

/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(context: RawTracePointContext) -> i32 {
    counted(Program::ProcessExec, || exec(context.arg(0), context.arg(2)));
    0
}

#[inline(always)]
fn exec(task: u64, binary: u64) -> Fate {
    if is_recorder() {
        return Fate::Filtered;
    }
    if condition::are_there() {
        let parent = process_of(read_field(task, setting!(offsets.task_real_parent)));
        condition::executed(&current_process(), &parent, task, binary);
    }
    let Some(scratch) = scratch() else { return Fate::CopyFailed };
    // SAFETY: nobody else writes to this processor's scratch now, and offsets into it are masked to its size.
    let len = unsafe { compose(task, binary, scratch) };
    if output(scratch.cast(), (EVENT_LEN as u64) + u64::from(len)) { Fate::Stored } else { Fate::RingFull }
}

/// Writes the record, and returns how many bytes follow the event.
#[inline(always)]
unsafe fn compose(task: u64, binary: u64, scratch: *mut Scratch) -> u32 {
    // SAFETY: the caller owns the scratch.
    unsafe {
        let event = &raw mut (*scratch).event;
        let data = (&raw mut (*scratch).data).cast::<u8>();
        let parent = read_field::<u64>(task, setting!(offsets.task_real_parent));
        fill_head(&raw mut (*event).head, EventKind::Exec, Program::ProcessExec, current_process());
        (*event).parent = process_of(parent);
        namespace::describe(task, parent, &raw mut (*event).namespaces);
        (*event).reserved = 0;

        let filename = read_field::<u64>(binary, setting!(offsets.binprm_filename));
        let read = bpf_probe_read_kernel_str(data.cast(), FILENAME_LEN_MAX, filename as *const _);
        // The helper counts the NUL that it writes.
        let filename_len = if read > 0 { masked(read as u32 - 1, FILENAME_LEN_MAX - 1) } else { 0 };
        (*event).filename_len = filename_len;

        // Masked anew each time: what follows then looks the same to the verifier whichever way led to it, and is
        // followed once.
        let after = |at: u32, len: u32| masked(at + len, NAMES_LEN as u32 - 1);
        let file = read_field::<u64>(binary, setting!(offsets.binprm_file));
        let mut at = after(filename_len, 0);
        at = after(at, describe(file, &raw mut (*event).binary, data.add(at as usize)));
        let streams = (&raw mut (*event).streams).cast::<StreamFacts>();
        let files = stream::files_of(task);
        at = after(at, stream::describe(&files, 0, streams, data.add(at as usize)));
        at = after(at, stream::describe(&files, 1, streams.add(1), data.add(at as usize)));
        at = after(at, stream::describe(&files, 2, streams.add(2), data.add(at as usize)));

        let mm = read_field::<u64>(task, setting!(offsets.task_mm));
        (*event).code_start = read_field(mm, setting!(offsets.mm_start_code));
        (*event).code_end = read_field(mm, setting!(offsets.mm_end_code));
        let start = read_field::<u64>(mm, setting!(offsets.mm_arg_start));
        let len = read_field::<u64>(mm, setting!(offsets.mm_arg_end)).wrapping_sub(start);
        let limit = setting!(arguments_len_max);
        let arguments_len = read_user::<ARGUMENTS_LEN_MAX>(start, len, limit, data.add(at as usize));
        (*event).arguments_len = arguments_len;
        (*event).arguments_len_total = u32::try_from(len).unwrap_or(u32::MAX);

        let start = read_field::<u64>(mm, setting!(offsets.mm_env_start));
        let len = read_field::<u64>(mm, setting!(offsets.mm_env_end)).wrapping_sub(start);
        let limit = setting!(environment_len_max);
        let at = at + masked(arguments_len, ARGUMENTS_LEN_MAX);
        let environment_len = read_user::<ENVIRONMENT_LEN_MAX>(start, len, limit, data.add(at as usize));
        (*event).environment_len = environment_len;
        (*event).environment_len_total = u32::try_from(len).unwrap_or(u32::MAX);
        masked(at + environment_len, DATA_LEN as u32 - 1)
    }
}

/// Copies up to `limit` of `len` bytes of the current process, and returns how many; 0 when the memory isn't there.
/// `MASK` is the most that there is room for, one less than a power of two.
#[inline(always)]
unsafe fn read_user<const MASK: u32>(start: u64, len: u64, limit: u32, target: *mut u8) -> u32 {
    let len = len.min(u64::from(limit)).min(u64::from(MASK)) as u32;
    // Only what is resident can be read here: all of it, or else what the first page has.
    let page_rest_len = PAGE_LEN - (start as u32 & (PAGE_LEN - 1));
    for len in [len, len.min(page_rest_len)] {
        let len = masked(len, MASK);
        // SAFETY: the caller has room for `MASK` bytes, and the helper checks the address itself.
        if unsafe { bpf_probe_read_user(target.cast(), len, ptr::without_provenance(start as usize)) } == 0 {
            return len;
        }
    }
    0
}
