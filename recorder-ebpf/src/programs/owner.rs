//! Who used a socket last, so that only changes are told.

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::{bpf_get_current_pid_tgid, bpf_sk_storage_get},
    macros::{btf_map, map},
    maps::{Array, LruHashMap},
};
use core::{ffi::c_void, ptr};
use kcap_recorder_ebpf::ProcessKey;

/// Sockets whose last user is known exactly; the least recently used make room.
const OWNER_COUNT_MAX: u32 = 1 << 16;
/// Slots of the fast check; a power of two. Cookies are handed out in sequence, so they spread evenly.
const RECENT_COUNT: u32 = 1 << 12;
/// `PID_MAX_LIMIT` is 2^22: cookie and process fit into one word, which is read and written at once.
const PID_BITS: u32 = 22;

#[map]
static OWNERS: LruHashMap<u64, Owner> = LruHashMap::with_max_entries(OWNER_COUNT_MAX, 0);
#[map]
static RECENT: Array<u64> = Array::with_max_entries(RECENT_COUNT, 0);

/// A process without the thread: a change of thread is no change of owner.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    start_time_ns: u64,
    pid: u64,
}

/// What [`note_use`] found.
pub(super) enum Use {
    /// The same process as the last time.
    Same,
    /// Another one, now remembered.
    Changed(ProcessKey),
    /// Another one that the map couldn't take.
    Forgotten,
}

/// Whether the current process was the last to use the socket, by the fast check alone: it may say no where
/// [`note_use`] finds the same.
#[inline(always)]
pub(super) fn is_recent(cookie: u64) -> bool {
    let Some(tag) = tag(cookie) else { return false };
    let Some(recent) = RECENT.get_ptr(cookie as u32 & (RECENT_COUNT - 1)) else { return false };
    // SAFETY: map values outlive the program; a word is read and written at once.
    unsafe { ptr::read_volatile(recent) == tag }
}

/// Socket and current process in one word; `None` when the cookie is too large for that.
#[inline(always)]
fn tag(cookie: u64) -> Option<u64> {
    let fits = cookie >> (u64::BITS - PID_BITS) == 0;
    fits.then(|| cookie << PID_BITS | bpf_get_current_pid_tgid() >> 32)
}

/// The current process uses the socket.
#[inline(always)]
pub(super) fn note_use(cookie: u64, current_process: impl FnOnce() -> ProcessKey) -> Use {
    if is_recent(cookie) {
        return Use::Same;
    }
    let process = current_process();
    let owner = Owner { start_time_ns: process.start_time_ns, pid: u64::from(process.pid) };
    // SAFETY: the value may be replaced while it is read; it is then taken for a change, which is told once more.
    let known = unsafe { OWNERS.get(cookie) }.is_some_and(|known| *known == owner);
    if !known && OWNERS.insert(cookie, owner, 0).is_err() {
        return Use::Forgotten;
    }
    if let Some(tag) = tag(cookie)
        && let Some(recent) = RECENT.get_ptr_mut(cookie as u32 & (RECENT_COUNT - 1))
    {
        // SAFETY: as in `is_recent`.
        unsafe { ptr::write_volatile(recent, tag) };
    }
    if known { Use::Same } else { Use::Changed(process) }
}

/// What [`note_use`] found could not be told: the next use is a change again.
#[inline(always)]
pub(super) fn take_back_use(cookie: u64) {
    if let Some(recent) = RECENT.get_ptr_mut(cookie as u32 & (RECENT_COUNT - 1)) {
        // SAFETY: as in `is_recent`. Another socket's word in this slot only costs it the fast check.
        unsafe { ptr::write_volatile(recent, 0) };
    }
    forget(cookie);
}

/// The socket is gone.
#[inline(always)]
pub(super) fn forget(cookie: u64) {
    // The socket may never have been used: that it isn't there is no error.
    let _ = OWNERS.remove(cookie);
}

/// Definition of a socket storage whose values a listener's accepted sockets are given (`BPF_F_CLONE`).
#[repr(C)]
struct ClonedStorage {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const ProcessKey,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: pointers that only describe types, and are never followed.
unsafe impl Sync for ClonedStorage {}

#[btf_map]
static INHERITED: ClonedStorage = ClonedStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// Leaves `process` with the socket, for those that will be accepted from it.
///
/// `socket` is the context of a `cgroup/sock` program, or a socket that the verifier knows.
#[inline(always)]
pub(super) fn bequeath(socket: *mut c_void, process: &ProcessKey) {
    let mut value = *process;
    let storage = ptr::from_ref(&INHERITED).cast_mut().cast();
    let flags = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: the storage's value is a `ProcessKey`.
    unsafe {
        let stored = bpf_sk_storage_get(storage, socket, (&raw mut value).cast(), flags).cast::<ProcessKey>();
        if !stored.is_null() {
            *stored = *process;
        }
    }
}

/// Who was left with the listener that this socket was accepted from.
#[inline(always)]
pub(super) fn inherited(socket: *mut c_void) -> ProcessKey {
    let storage = ptr::from_ref(&INHERITED).cast_mut().cast();
    // SAFETY: as above; without the flag to create, it only looks.
    unsafe {
        let stored = bpf_sk_storage_get(storage, socket, ptr::null_mut(), 0).cast::<ProcessKey>();
        if stored.is_null() { ProcessKey::default() } else { *stored }
    }
}
