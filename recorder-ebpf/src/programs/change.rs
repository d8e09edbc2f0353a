//! Who changed a file first.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{map, raw_tracepoint},
    maps::LruHashMap,
    programs::RawTracePointContext,
};
use kcap_recorder_ebpf::{ProcessKey, Program};

use super::{
    count::{Fate, counted},
    file::{FileKey, key_of},
    task::{current_process, is_recorder},
};

/// Changed files that are remembered; those that were changed or executed least recently make room.
const CHANGE_COUNT_MAX: u32 = 1 << 16;

#[map]
static CHANGES: LruHashMap<FileKey, ProcessKey> = LruHashMap::with_max_entries(CHANGE_COUNT_MAX, 0);

/// `TP_PROTO(struct inode *inode, u32 old, u32 new, u32 cur)` (Linux 6.13): the change time of an inode becomes another
/// one, in the process that changes its data or attributes. At most once a clock tick and file.
#[raw_tracepoint(tracepoint = "ctime_ns_xchg")]
fn file_change(context: RawTracePointContext) -> i32 {
    counted(Program::FileChange, || {
        if !is_recorder() {
            let process = current_process();
            // Only the first stays. A full table is none of the host's concern: what it can't take is not told.
            let _ = CHANGES.insert(key_of(context.arg(0)), process, u64::from(BPF_NOEXIST));
        }
        Fate::Filtered
    });
    0
}

/// Who changed the file of a `struct inode` first, if anybody did since the programs were attached.
#[inline(always)]
pub(super) fn first_change(inode: u64) -> ProcessKey {
    // SAFETY: the value may be given to another file while it is read, when the table is full of newer ones.
    unsafe { CHANGES.get(key_of(inode)) }.copied().unwrap_or_default()
}
