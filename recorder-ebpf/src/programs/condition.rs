//! Whose packets are wanted.
//!
//! Each process has an entry that says which rules hold for it, kept up to date where what they ask for changes: at clone,
//! exec, rename, when it enters a cgroup, and when a socket program finds another user. A packet asks its socket's
//! storage, which remembers the verdict of the socket's owner; a word that counts changes says whether that still
//! counts. So nearly all packets cost one look into the storage.
//!
//! Verdicts on cgroups are user space's, which knows containers. A cgroup that is made while rules ask for containers is
//! undecided until then: its packets are handed over with a mark, and user space keeps or drops them.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_socket_cookie, bpf_sk_storage_get,
        generated::bpf_probe_read_kernel_str,
    },
    macros::{btf_map, map, raw_tracepoint},
    maps::{Array, HashMap, LruHashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use core::{ffi::c_void, ptr};
use kcap_recorder_ebpf::{
    CGROUP_COUNT_MAX, FileKey, ProcessKey, Program, RULE_RECORD, Rules, TASK_COUNT_MAX, Task,
    UNDECIDED_COUNT_MAX, Undecided, Verdict, WANTED_COUNT_MAX, WANTED_PATH_LEN,
};

use super::{
    count::{Fate, add, counted},
    dormancy::{call, is_awake, wake},
    owner::owner_of,
    settings::setting,
    task::{cgroup_id_of, current_process, process_of, read_field},
};

#[map]
static WANTED_PIDS: HashMap<u32, u32> = HashMap::with_max_entries(WANTED_COUNT_MAX, 0);
#[map]
static WANTED_NAMES: HashMap<[u8; 16], u32> = HashMap::with_max_entries(WANTED_COUNT_MAX, 0);
#[map]
static WANTED_PATHS: HashMap<[u8; WANTED_PATH_LEN], u32> = HashMap::with_max_entries(WANTED_COUNT_MAX, 0);
#[map]
static WANTED_FILES: HashMap<FileKey, u32> = HashMap::with_max_entries(WANTED_COUNT_MAX, 0);
#[map]
static WANTED_USERS: HashMap<u32, u32> = HashMap::with_max_entries(WANTED_COUNT_MAX, 0);

/// The loader makes these small when nothing is asked for.
#[map]
static TASKS: LruHashMap<u32, Task> = LruHashMap::with_max_entries(TASK_COUNT_MAX, 0);
#[map]
static CGROUPS: HashMap<u64, Verdict> = HashMap::with_max_entries(CGROUP_COUNT_MAX, BPF_F_NO_PREALLOC);
#[map]
static UNDECIDED: LruHashMap<u64, Undecided> = LruHashMap::with_max_entries(UNDECIDED_COUNT_MAX, 0);

/// Counts the changes after which verdicts of sockets are found anew: the programs' and user space's, apart from each
/// other, since only the programs can add in one step.
#[map]
static EPOCH: Array<u64> = Array::with_max_entries(2, 0);

/// Too large for the stack.
#[map]
static PATH: PerCpuArray<[u8; WANTED_PATH_LEN]> = PerCpuArray::with_max_entries(1, 0);

/// What a socket's storage remembers.
#[repr(C)]
#[derive(Clone, Copy)]
struct SocketVerdict {
    /// Who made the socket, or used it with an address; of an accepted one, who did so with its listener.
    start_time_ns: u64,
    /// The socket that this was noted of: an accepted one has its listener's.
    cookie: u64,
    pid: u32,
    /// Value of `EPOCH` plus one when the verdict was found; 0 for never.
    epoch: u32,
    verdict: Verdict,
}

/// Definition of a socket storage whose values a listener's accepted sockets are given.
#[repr(C)]
struct VerdictStorage {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const SocketVerdict,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: pointers that only describe types, and are never followed.
unsafe impl Sync for VerdictStorage {}

#[btf_map]
static VERDICTS: VerdictStorage = VerdictStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// `TP_PROTO(struct task_struct *task, const char *comm)`: before the name is changed.
#[raw_tracepoint(tracepoint = "task_rename")]
fn task_rename(context: RawTracePointContext) -> i32 {
    counted(Program::TaskRename, || {
        let task = process_of(context.arg(0));
        // The name of a process is that of its first thread.
        if task.pid == task.tid && rules_name() != 0 {
            renamed(&task, context.arg(1));
        }
        Fate::Filtered
    });
    0
}

/// Whether anything is asked for. The verifier knows, and drops what depends on it.
#[inline(always)]
pub(super) fn are_there() -> bool {
    setting!(rules.all) != 0
}

#[inline(always)]
fn rules_name() -> u32 {
    setting!(rules.name)
}

#[inline(always)]
fn rules() -> Rules {
    Rules {
        all: setting!(rules.all),
        pid: setting!(rules.pid),
        name: setting!(rules.name),
        executable: setting!(rules.executable),
        user: setting!(rules.user),
        container: setting!(rules.container),
        children: setting!(rules.children),
    }
}

/// A process was cloned. `child_task` is its `task_struct`.
#[inline(always)]
pub(super) fn cloned(parent: &ProcessKey, child: &ProcessKey, child_task: u64) {
    let mut task = Task { start_time_ns: child.start_time_ns, ..Task::default() };
    if let Some(known) = task_of(parent) {
        task.executable = known.executable;
        task.user = known.user;
        task.uid = known.uid;
        task.inherited = known.holds(&rules()) & setting!(rules.children);
    }
    task.cgroup_id = cgroup_id_of(child_task);
    if setting!(rules.pid) != 0 {
        task.pid = wanted(&WANTED_PIDS, &child.pid);
    }
    if setting!(rules.name) != 0 {
        // A clone has the name of the thread that made it.
        let name = read_field::<[u8; 16]>(child_task, setting!(offsets.task_comm));
        task.name = wanted(&WANTED_NAMES, &name_key(name));
    }
    note(child, &task);
    tell_parent(parent, &task);
}

/// A process executed a file. `binary` is the `linux_binprm`.
#[inline(always)]
pub(super) fn executed(process: &ProcessKey, parent: &ProcessKey, task: u64, binary: u64) {
    let before = task_of(process).copied().unwrap_or_default();
    let mut after = Task { start_time_ns: process.start_time_ns, ..before };
    after.cgroup_id = cgroup_id_of(task);
    after.uid = bpf_get_current_uid_gid() as u32;
    if setting!(rules.user) != 0 {
        after.user = wanted(&WANTED_USERS, &after.uid);
    }
    if setting!(rules.pid) != 0 {
        after.pid = wanted(&WANTED_PIDS, &process.pid);
    }
    if setting!(rules.name) != 0 {
        let name = read_field::<[u8; 16]>(task, setting!(offsets.task_comm));
        after.name = wanted(&WANTED_NAMES, &name_key(name));
    }
    if setting!(rules.executable) != 0 {
        after.executable = wanted_executable(binary);
    }
    note(process, &after);
    tell_parent(parent, &after);
    if before.holds(&rules()) != after.holds(&rules()) || before.cgroup_id != after.cgroup_id {
        changed();
    }
}

/// A process entered a cgroup.
#[inline(always)]
pub(super) fn entered_cgroup(process: &ProcessKey, cgroup_id: u64) {
    if setting!(rules.container) == 0 {
        return;
    }
    if let Some(task) = TASKS.get_ptr_mut(process.pid) {
        // SAFETY: map values outlive the program; a word is written at once.
        unsafe { ptr::write_volatile(&raw mut (*task).cgroup_id, cgroup_id) };
        changed();
    }
    // Whoever attaches takes the lock on cgroups that is held here: the process can't wait for that.
    if !is_awake() && verdict_of_process(process).maybe != 0 {
        call(process);
    }
}

/// A cgroup was made below another one.
#[inline(always)]
pub(super) fn made_cgroup(cgroup_id: u64, parent_id: u64) {
    let container = setting!(rules.container);
    if container == 0 {
        return;
    }
    // SAFETY: a word is read at once; user space may replace it meanwhile, and then decides about the child too.
    let parent = unsafe { CGROUPS.get(parent_id) }.copied().unwrap_or_default();
    let verdict = Verdict { yes: parent.yes, maybe: container };
    let _ = CGROUPS.insert(cgroup_id, verdict, 0);
}

/// The current process is about to use a socket: its user may have changed.
#[inline(always)]
pub(super) fn refresh_user(process: &ProcessKey) {
    if setting!(rules.user) == 0 {
        return;
    }
    let uid = bpf_get_current_uid_gid() as u32;
    let Some(task) = TASKS.get_ptr_mut(process.pid) else { return };
    // SAFETY: map values outlive the program; words are read and written at once.
    unsafe {
        if ptr::read_volatile(&raw const (*task).uid) != uid {
            ptr::write_volatile(&raw mut (*task).uid, uid);
            ptr::write_volatile(&raw mut (*task).user, wanted(&WANTED_USERS, &uid));
            changed();
        }
    }
}

/// What distinguishes uses of a socket between which a verdict may change: for the fast check of who used it last.
#[inline(always)]
pub(super) fn use_salt() -> u64 {
    if !are_there() {
        return 0;
    }
    let uid = if setting!(rules.user) != 0 { bpf_get_current_uid_gid() << 32 } else { 0 };
    (uid | u64::from(epoch())).wrapping_mul(0x9e37_79b9_7f4a_7c15) << 22
}

/// Whether a process may be one whose packets are recorded: by any rule, since tasks record what they ask for.
#[inline(always)]
pub(super) fn may_want(process: &ProcessKey) -> bool {
    setting!(rules.all) & RULE_RECORD == 0 || verdict_of_process(process).maybe != 0
}

/// The same of the owner of a socket that nobody has used yet: whose children may accept it.
#[inline(always)]
pub(super) fn may_want_accepted(process: &ProcessKey) -> bool {
    setting!(rules.all) & RULE_RECORD == 0 || verdict_of_accepted(process).maybe != 0
}

/// The current process, if its packets aren't wanted: found without reading more of it than its number.
#[inline(always)]
pub(super) fn unwanted_process() -> Option<ProcessKey> {
    if setting!(rules.all) & RULE_RECORD == 0 {
        return None;
    }
    let ids = bpf_get_current_pid_tgid();
    let mut process = ProcessKey { start_time_ns: 0, pid: (ids >> 32) as u32, tid: ids as u32 };
    refresh_user(&process);
    let task = task_of(&process)?;
    if verdict_of_task(task).maybe != 0 {
        return None;
    }
    // It is 0 for processes that are older than the programs.
    process.start_time_ns = task.start_time_ns;
    if process.start_time_ns == 0 { Some(current_process()) } else { Some(process) }
}

/// A process uses a socket of which no user was known: what was decided by the listener's owner, or by nobody's, may
/// have to be decided anew.
#[inline(always)]
pub(super) fn owner_found(process: &ProcessKey) {
    if are_there() && verdict_of_process(process).maybe != 0 {
        changed();
    }
}

/// Another process uses a socket now; `was_inherited` if it is the first.
#[inline(always)]
pub(super) fn owner_changed(before: &ProcessKey, was_inherited: bool, after: &ProcessKey) {
    if !are_there() {
        return;
    }
    let verdict = if was_inherited { verdict_of_accepted(before) } else { verdict_of_process(before) };
    if verdict != verdict_of_process(after) {
        changed();
    }
}

/// Leaves the owner with a socket, and those accepted from it. `socket` is the context of a `cgroup/sock` program.
#[inline(always)]
pub(super) fn note_owner(socket: *mut c_void, cookie: u64, process: &ProcessKey) {
    if let Some(stored) = storage_of(socket) {
        // SAFETY: the storage's value lives as long as its socket, which lives while the program runs.
        unsafe {
            (*stored).start_time_ns = process.start_time_ns;
            (*stored).cookie = cookie;
            (*stored).pid = process.pid;
            (*stored).epoch = 0;
        }
    }
}

/// Who was noted of a socket, or of the listener that it was accepted from.
#[inline(always)]
pub(super) fn noted_owner(socket: *mut c_void) -> ProcessKey {
    let Some(known) = known_of(socket) else { return ProcessKey::default() };
    // SAFETY: as in `note_owner`.
    unsafe { ProcessKey { start_time_ns: (*known).start_time_ns, pid: (*known).pid, tid: (*known).pid } }
}

/// For which rules a packet's owner holds. Nothing is known of packets without a socket, and nothing asks for them.
#[inline(always)]
pub(super) fn verdict_of_packet(packet: *mut __sk_buff) -> Verdict {
    // SAFETY: the context is valid while the program runs, and the verifier checks each access.
    let socket = unsafe { (*packet).__bindgen_anon_2.sk };
    if socket.is_null() {
        return Verdict::default();
    }
    let now = epoch().wrapping_add(1);
    // SAFETY: as in `note_owner`. Two processors may find a verdict at the same time: they find the same.
    unsafe {
        if let Some(known) = known_of(socket.cast())
            && (*known).epoch == now
        {
            return (*known).verdict;
        }
        let Some(stored) = storage_of(socket.cast()) else { return Verdict::default() };
        let cookie = bpf_get_socket_cookie(packet.cast());
        let noted = ProcessKey { start_time_ns: (*stored).start_time_ns, pid: (*stored).pid, tid: 0 };
        let (owner, is_inherited) = owner_of(cookie).unwrap_or((noted, (*stored).cookie != cookie));
        if noted.pid == 0 && !is_inherited {
            // A listener that is older than the programs: what it accepts is to know whose it is.
            (*stored).start_time_ns = owner.start_time_ns;
            (*stored).cookie = cookie;
            (*stored).pid = owner.pid;
        }
        let verdict = match task_of(&owner) {
            Some(task) => {
                let mut verdict = verdict_of_task(task);
                if is_inherited {
                    verdict = with_children(verdict, task);
                }
                if verdict.maybe != verdict.yes {
                    let _ = UNDECIDED.insert(cookie, Undecided { cgroup_id: task.cgroup_id }, 0);
                }
                verdict
            }
            // Its owner ended: what was last known counts.
            None => (*stored).verdict,
        };
        (*stored).verdict = verdict;
        (*stored).epoch = now;
        verdict
    }
}

/// The storage of a socket that has one.
#[inline(always)]
fn known_of(socket: *mut c_void) -> Option<*const SocketVerdict> {
    let storage = ptr::from_ref(&VERDICTS).cast_mut().cast();
    // SAFETY: the storage's value is a `SocketVerdict`; without the flag to create, the helper only looks.
    let stored = unsafe { bpf_sk_storage_get(storage, socket, ptr::null_mut(), 0) };
    if stored.is_null() { None } else { Some(stored.cast_const().cast()) }
}

/// The storage of a socket, made where there is none.
#[inline(always)]
fn storage_of(socket: *mut c_void) -> Option<*mut SocketVerdict> {
    let mut nothing = SocketVerdict {
        start_time_ns: 0,
        cookie: 0,
        pid: 0,
        epoch: 0,
        verdict: Verdict { yes: 0, maybe: 0 },
    };
    let storage = ptr::from_ref(&VERDICTS).cast_mut().cast();
    let flags = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: the storage's value is a `SocketVerdict`.
    let stored = unsafe { bpf_sk_storage_get(storage, socket, (&raw mut nothing).cast(), flags) };
    if stored.is_null() { None } else { Some(stored.cast()) }
}

#[inline(always)]
fn verdict_of_process(process: &ProcessKey) -> Verdict {
    match task_of(process) {
        Some(task) => verdict_of_task(task),
        // Never heard of: it can't be ruled out.
        None => Verdict { yes: 0, maybe: setting!(rules.all) },
    }
}

#[inline(always)]
fn verdict_of_accepted(process: &ProcessKey) -> Verdict {
    match task_of(process) {
        Some(task) => with_children(verdict_of_task(task), task),
        None => Verdict { yes: 0, maybe: setting!(rules.all) },
    }
}

/// Whoever may accept a socket counts until somebody has.
#[inline(always)]
fn with_children(verdict: Verdict, task: &Task) -> Verdict {
    Verdict { yes: verdict.yes | task.children, maybe: verdict.maybe | task.children }
}

#[inline(always)]
fn verdict_of_task(task: &Task) -> Verdict {
    let holds = task.holds(&rules());
    let container = setting!(rules.container);
    if container == 0 {
        return Verdict { yes: holds, maybe: holds };
    }
    // SAFETY: both words are read by themselves; when user space replaces them, it changes the epoch after that.
    let cgroup = unsafe { CGROUPS.get(task.cgroup_id) }.copied().unwrap_or_default();
    Verdict {
        yes: holds & (cgroup.yes | !container),
        maybe: holds & (cgroup.yes | cgroup.maybe | !container),
    }
}

#[inline(always)]
fn task_of(process: &ProcessKey) -> Option<&'static Task> {
    // SAFETY: the value outlives the program; its words are read by themselves.
    let task = unsafe { TASKS.get(process.pid) }?;
    let is_same =
        task.start_time_ns == process.start_time_ns || task.start_time_ns == 0 || process.start_time_ns == 0;
    if is_same { Some(task) } else { None }
}

#[inline(always)]
fn tell_parent(parent: &ProcessKey, child: &Task) {
    let held = child.holds(&rules());
    if held == 0 {
        return;
    }
    if let Some(task) = TASKS.get_ptr_mut(parent.pid) {
        // SAFETY: as above.
        unsafe {
            let children = ptr::read_volatile(&raw const (*task).children);
            if children | held != children {
                ptr::write_volatile(&raw mut (*task).children, children | held);
                changed();
            }
        }
    }
}

#[inline(always)]
fn renamed(process: &ProcessKey, name: u64) {
    let mut key = [0u8; 16];
    // SAFETY: the helper checks the address itself, and writes no more than the length.
    let read = unsafe { bpf_probe_read_kernel_str(key.as_mut_ptr().cast(), 16, name as *const _) };
    if read <= 0 {
        return;
    }
    let now = wanted(&WANTED_NAMES, &key);
    let Some(task) = TASKS.get_ptr_mut(process.pid) else {
        if now != 0 {
            wake_for(process);
        }
        return;
    };
    // SAFETY: as above.
    unsafe {
        if ptr::read_volatile(&raw const (*task).name) != now {
            ptr::write_volatile(&raw mut (*task).name, now);
            changed();
            wake_for(process);
        }
    }
}

/// Remembers what is known of a process.
#[inline(always)]
fn note(process: &ProcessKey, task: &Task) {
    let failed = TASKS.insert(process.pid, task, 0).is_err();
    if !is_awake() && (failed || verdict_of_task(task).maybe != 0) {
        wake(process);
    }
}

/// What is known of a process has changed.
#[inline(always)]
fn wake_for(process: &ProcessKey) {
    if !is_awake() && verdict_of_process(process).maybe != 0 {
        wake(process);
    }
}

/// By the path that was given to the kernel, and by the file itself.
#[inline(always)]
fn wanted_executable(binary: u64) -> u32 {
    let file = read_field::<u64>(binary, setting!(offsets.binprm_file));
    let inode = read_field::<u64>(file, setting!(offsets.file_inode));
    let super_block = read_field::<u64>(inode, setting!(offsets.inode_sb));
    let key = FileKey {
        inode: read_field::<u64>(inode, setting!(offsets.inode_ino)),
        device: u64::from(read_field::<u32>(super_block, setting!(offsets.super_block_dev))),
    };
    let by_file = wanted(&WANTED_FILES, &key);
    let Some(path) = PATH.get_ptr_mut(0) else { return by_file };
    let given = read_field::<u64>(binary, setting!(offsets.binprm_filename));
    // SAFETY: the value is this processor's, and a task that is cloned or executes isn't interrupted by another one here.
    unsafe {
        path.write([0; WANTED_PATH_LEN]);
        if bpf_probe_read_kernel_str(path.cast(), WANTED_PATH_LEN as u32, given as *const _) <= 0 {
            return by_file;
        }
        by_file | wanted(&WANTED_PATHS, &*path)
    }
}

/// A name as keys have it: nothing but zeroes after its end.
#[inline(always)]
fn name_key(mut name: [u8; 16]) -> [u8; 16] {
    let mut ended = false;
    for byte in &mut name {
        ended |= *byte == 0;
        if ended {
            *byte = 0;
        }
    }
    name
}

#[inline(always)]
fn wanted<K>(map: &HashMap<K, u32>, key: &K) -> u32 {
    // SAFETY: a word is read at once, and no entry is changed while programs run.
    unsafe { map.get(key) }.copied().unwrap_or(0)
}

#[inline(always)]
fn epoch() -> u32 {
    // SAFETY: the map's value outlives the program; a word is read at once. It can't be missing.
    let word = |index| EPOCH.get_ptr(index).map_or(0, |word| unsafe { ptr::read_volatile(word) });
    word(0).wrapping_add(word(1)) as u32
}

/// Verdicts that were found before don't count any more.
#[inline(always)]
fn changed() {
    let Some(word) = EPOCH.get_ptr_mut(0) else { return };
    // SAFETY: as above.
    unsafe { add(word, 1) };
}
