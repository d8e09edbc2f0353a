//! Who used a socket last, so that only changes are told.

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::bpf_sk_storage_get,
    macros::{btf_map, map},
    maps::{Array, LruHashMap},
};
use core::{ffi::c_void, ptr};
use kcap_recorder_ebpf::{ProcessKey, SOCKET_OWNER_INHERITED, SOCKET_OWNER_TOLD, SocketOwner};

use super::{condition, task::current_pid};

/// Sockets whose last user is known exactly; the least recently used make room.
const OWNER_COUNT_MAX: u32 = 1 << 16;
/// Slots of the fast check; a power of two. Cookies are handed out in sequence, so they spread evenly.
const RECENT_COUNT: u32 = 1 << 12;
/// `PID_MAX_LIMIT` is 2^22: cookie and process fit into one word, which is read and written at once.
const PID_BITS: u32 = 22;

#[map]
static OWNERS: LruHashMap<u64, SocketOwner> = LruHashMap::with_max_entries(OWNER_COUNT_MAX, 0);
#[map]
static RECENT: Array<u64> = Array::with_max_entries(RECENT_COUNT, 0);

#[inline(always)]
fn process_of(owner: &SocketOwner) -> ProcessKey {
    ProcessKey { start_time_ns: owner.start_time_ns, pid: owner.pid, tid: 0 }
}

/// What [`note_use`] found.
pub(super) enum Use {
    /// The same process as the last time, or one that isn't wanted.
    Same,
    /// Another one, now remembered.
    Changed(ProcessKey),
    /// Another one that the map couldn't take.
    Forgotten,
}

/// Whether the current process was the last to use the socket, by the fast check alone: it may say no where [`note_use`] finds
/// the same. Callers have the process's number already, or a cheap way to it.
#[inline(always)]
pub(super) fn is_recent(cookie: u64, current_pid: u32) -> bool {
    let Some(tag) = tag(cookie, current_pid) else { return false };
    let Some(recent) = RECENT.get_ptr(cookie as u32 & (RECENT_COUNT - 1)) else { return false };
    // SAFETY: map values outlive the program; a word is read and written at once.
    unsafe { ptr::read_volatile(recent) == tag }
}

/// Socket and current process in one word; `None` when the cookie is too large for that.
#[inline(always)]
fn tag(cookie: u64, current_pid: u32) -> Option<u64> {
    let fits = cookie >> (u64::BITS - PID_BITS) == 0;
    fits.then(|| (cookie << PID_BITS | u64::from(current_pid)) ^ condition::use_salt())
}

/// The current process was the last to use the socket, for the fast check alone.
#[inline(always)]
fn note_recent(cookie: u64) {
    if let Some(tag) = tag(cookie, current_pid())
        && let Some(recent) = RECENT.get_ptr_mut(cookie as u32 & (RECENT_COUNT - 1))
    {
        // SAFETY: as in `is_recent`.
        unsafe { ptr::write_volatile(recent, tag) };
    }
}

/// The current process, whose packets aren't wanted, makes or uses a socket of which the storage says so. The exact table
/// has sockets for which somebody else stands, or stood.
#[inline(always)]
pub(super) fn note_unwanted<const IS_NEW: bool>(cookie: u64, process: &ProcessKey) {
    // SAFETY: as in `note_use`.
    if !IS_NEW && unsafe { OWNERS.get(cookie) }.is_some() {
        let _ = note_use::<false>(cookie, || *process);
    } else {
        note_recent(cookie);
    }
}

/// The current process uses the socket, of which nothing was decided yet if it `IS_NEW`.
#[inline(always)]
pub(super) fn note_use<const IS_NEW: bool>(cookie: u64, current_process: impl FnOnce() -> ProcessKey) -> Use {
    if is_recent(cookie, current_pid()) {
        return Use::Same;
    }
    let process = current_process();
    condition::refresh_user(&process);
    let wanted = condition::may_want(&process);
    let owner = SocketOwner {
        start_time_ns: process.start_time_ns,
        pid: process.pid,
        flags: if wanted { SOCKET_OWNER_TOLD } else { 0 },
    };
    // SAFETY: the value may be replaced while it is read; it is then taken for a change, which is told once more.
    // Nobody is process 0: an optional owner would have bytes that the verifier doesn't let be moved.
    let before = unsafe { OWNERS.get(cookie) }.copied().unwrap_or_default();
    let known = before.pid == owner.pid
        && before.start_time_ns == owner.start_time_ns
        && before.flags & SOCKET_OWNER_INHERITED == 0
        && before.flags >= owner.flags;
    if !known && OWNERS.insert(cookie, owner, 0).is_err() {
        return Use::Forgotten;
    }
    if !known && before.pid != 0 {
        let was_inherited = before.flags & SOCKET_OWNER_INHERITED != 0;
        condition::owner_changed(&process_of(&before), was_inherited, &process);
    } else if !known && !IS_NEW {
        condition::owner_found(&process);
    }
    note_recent(cookie);
    if known || !wanted { Use::Same } else { Use::Changed(process) }
}

/// Who used the socket last, or will use what it accepted: then the second is true.
#[inline(always)]
pub(super) fn owner_of(cookie: u64) -> Option<(ProcessKey, bool)> {
    // SAFETY: as in `note_use`.
    unsafe { OWNERS.get(cookie) }.map(|owner| (process_of(owner), owner.flags & SOCKET_OWNER_INHERITED != 0))
}

/// An accepted socket is its listener's until someone uses it.
#[inline(always)]
pub(super) fn note_inherited(cookie: u64, process: &ProcessKey) {
    if process.pid != 0 {
        let owner = SocketOwner {
            start_time_ns: process.start_time_ns,
            pid: process.pid,
            flags: SOCKET_OWNER_INHERITED,
        };
        // When there is no room, the first use is a change.
        let _ = OWNERS.insert(cookie, owner, 0);
    }
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
