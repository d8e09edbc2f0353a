//! Memory that becomes executable: mmap(2) and mprotect(2) with `PROT_EXEC`.
//!
//! The only hooks there are see every system call, so what isn't one of these leaves at once, and isn't counted.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_probe_read_kernel, generated::bpf_find_vma,
    },
    macros::{map, raw_tracepoint},
    maps::LruHashMap,
    programs::RawTracePointContext,
};
use core::ffi::c_void;
use kcap_recorder_ebpf::{EventKind, MAPPING_ACTION_MMAP, MAPPING_ACTION_MPROTECT, MappingEvent, Program};

use super::{
    count::{Fate, counted},
    file::describe,
    scratch::{output, scratch},
    settings::setting,
    task::{current_process, current_task, fill_head, is_recorder, read_field},
};

const PROT_EXEC: u64 = 4;
/// Threads inside mprotect(2).
const CALL_COUNT_MAX: u32 = 1 << 12;
const EVENT_LEN: usize = size_of::<MappingEvent>();

/// `VM_*` of the memory that a thread is changing, by thread.
#[map]
static CALLS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(CALL_COUNT_MAX, 0);

/// `TP_PROTO(struct pt_regs *regs, long id)`
#[raw_tracepoint(tracepoint = "sys_enter")]
fn syscall_enter(context: RawTracePointContext) -> i32 {
    let number = context.arg::<u64>(1) as u32;
    if is_mprotect(number) {
        counted(Program::SyscallEnter, || {
            note_flags(context.arg(0));
            Fate::Filtered
        });
    }
    0
}

/// `TP_PROTO(struct pt_regs *regs, long ret)`
#[raw_tracepoint(tracepoint = "sys_exit")]
fn syscall_exit(context: RawTracePointContext) -> i32 {
    let registers = context.arg::<u64>(0);
    let number = read_field::<u32>(registers, setting!(syscalls.number));
    if number == setting!(syscalls.mmap) {
        counted(Program::SyscallExit, || tell(registers, MAPPING_ACTION_MMAP, context.arg(1)));
    } else if is_mprotect(number) {
        counted(Program::SyscallExit, || tell(registers, MAPPING_ACTION_MPROTECT, context.arg(1)));
    }
    0
}

#[inline(always)]
fn is_mprotect(number: u32) -> bool {
    number == setting!(syscalls.mprotect) || number == setting!(syscalls.pkey_mprotect)
}

/// Whether the call is one to tell of.
#[inline(always)]
fn is_wanted(registers: u64) -> bool {
    let protection = read_field::<u64>(registers, setting!(syscalls.argument_3));
    if protection & PROT_EXEC == 0 || is_recorder() {
        return false;
    }
    // Programs of the narrower architecture mean other calls by these numbers.
    read_field::<u32>(current_task(), setting!(syscalls.task_compat)) & setting!(syscalls.compat_bits) == 0
}

#[inline(always)]
fn note_flags(registers: u64) {
    if is_wanted(registers) {
        let area = area_at(read_field(registers, setting!(syscalls.argument_1)));
        // A table full of newer calls costs the flags, which are then told as unknown.
        let _ = CALLS.insert(bpf_get_current_pid_tgid(), area.flags, 0);
    }
}

#[inline(always)]
fn tell(registers: u64, action: u32, result: i64) -> Fate {
    if !is_wanted(registers) {
        return Fate::Filtered;
    }
    let thread = bpf_get_current_pid_tgid();
    let mut old_vm_flags = 0;
    if action == MAPPING_ACTION_MPROTECT {
        // SAFETY: only this thread writes its entry.
        old_vm_flags = unsafe { CALLS.get(thread) }.copied().unwrap_or(0);
        let _ = CALLS.remove(thread);
    }
    // Errors are the last page of addresses (`IS_ERR_VALUE`).
    if (-4095..0).contains(&result) {
        return Fate::Filtered;
    }
    let Some(scratch) = scratch() else { return Fate::CopyFailed };
    let start = match action {
        MAPPING_ACTION_MMAP => result as u64,
        _ => read_field(registers, setting!(syscalls.argument_1)),
    };
    let area = area_at(start);
    let event = scratch.cast::<MappingEvent>();
    // SAFETY: nobody else writes to this processor's scratch now, and it has room for the event and a path.
    let path_len = unsafe {
        let path_len = describe(area.file, &raw mut (*event).file, scratch.cast::<u8>().add(EVENT_LEN));
        fill_head(&raw mut (*event).head, EventKind::Mapping, Program::SyscallExit, current_process());
        (*event).start = start;
        (*event).end = start.wrapping_add(read_field(registers, setting!(syscalls.argument_2)));
        (*event).requested_protection = read_field(registers, setting!(syscalls.argument_3));
        (*event).mmap_flags = if action == MAPPING_ACTION_MMAP {
            read_field(registers, setting!(syscalls.argument_4))
        } else {
            0
        };
        (*event).new_vm_flags = area.flags;
        (*event).old_vm_flags = old_vm_flags;
        (*event).action = action;
        (*event).reserved = 0;
        path_len
    };
    if output(scratch.cast(), EVENT_LEN as u64 + u64::from(path_len)) { Fate::Stored } else { Fate::RingFull }
}

/// A memory area of the current process.
#[repr(C)]
struct Area {
    flags: u64,
    /// `struct file`, or 0.
    file: u64,
}

/// The area that an address lies in; all 0 when the kernel doesn't tell (before Linux 5.17).
#[inline(always)]
fn area_at(address: u64) -> Area {
    let mut area = Area { flags: 0, file: 0 };
    if setting!(find_vma) != 0 {
        // SAFETY: the callback has the kernel's signature, and the area outlives the call.
        unsafe {
            let callback: unsafe extern "C" fn(*const c_void, *const c_void, *mut Area) -> i64 = read_area;
            bpf_find_vma(
                bpf_get_current_task_btf(),
                address,
                callback as *mut c_void,
                (&raw mut area).cast(),
                0,
            );
        }
    }
    area
}

/// Called by the kernel with the area found.
unsafe extern "C" fn read_area(_task: *const c_void, vma: *const c_void, area: *mut Area) -> i64 {
    // SAFETY: the kernel's area, at offsets of its types; and the caller's own.
    unsafe {
        let field = |offset: u32| bpf_probe_read_kernel(vma.byte_add(offset as usize).cast::<u64>());
        (*area).flags = field(setting!(offsets.vma_flags)).unwrap_or_default();
        (*area).file = field(setting!(offsets.vma_file)).unwrap_or_default();
    }
    0
}
