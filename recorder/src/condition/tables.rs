//! The tables of the kernel programs.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use kcap_recorder_ebpf::{FileKey, SocketOwner, Task, Undecided, Verdict, WANTED_PATH_LEN};

use super::{Key, RuleSet, name_key};
use crate::dormancy::Bell;
use crate::probe::Error;

/// `BPF_NOEXIST`: what the programs put there is newer.
const NOT_EXISTING: u64 = 1;
/// The word of the map `EPOCH` that user space counts in; the programs count in the other.
const OWN_EPOCH: u32 = 1;

/// A value as aya wants those of maps.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T>(T);

// SAFETY: transparent, and of a type without padding or forbidden values.
unsafe impl<T: bytemuck::Pod> aya::Pod for Plain<T> {}

/// All tables, for any thread.
#[derive(Clone)]
pub(crate) struct Tables(Arc<Mutex<Inner>>);

struct Inner {
    pids: HashMap<MapData, u32, u32>,
    names: HashMap<MapData, [u8; 16], u32>,
    paths: HashMap<MapData, [u8; WANTED_PATH_LEN], u32>,
    files: HashMap<MapData, Plain<FileKey>, u32>,
    users: HashMap<MapData, u32, u32>,
    tasks: HashMap<MapData, u32, Plain<Task>>,
    owners: HashMap<MapData, u64, Plain<SocketOwner>>,
    cgroups: HashMap<MapData, u64, Plain<Verdict>>,
    undecided: HashMap<MapData, u64, Plain<Undecided>>,
    alertness: Array<MapData, u32>,
    early: Array<MapData, u64>,
    epoch: Array<MapData, u64>,
    epoch_count: u64,
    bell: Option<Bell>,
}

impl Tables {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self(Arc::new(Mutex::new(Inner {
            pids: open(ebpf, "WANTED_PIDS")?,
            names: open(ebpf, "WANTED_NAMES")?,
            paths: open(ebpf, "WANTED_PATHS")?,
            files: open(ebpf, "WANTED_FILES")?,
            users: open(ebpf, "WANTED_USERS")?,
            tasks: open(ebpf, "TASKS")?,
            owners: open(ebpf, "OWNERS")?,
            cgroups: open(ebpf, "CGROUPS")?,
            undecided: open(ebpf, "UNDECIDED")?,
            alertness: open(ebpf, "ALERTNESS")?,
            early: open(ebpf, "EARLY")?,
            epoch: open(ebpf, "EPOCH")?,
            epoch_count: 0,
            bell: None,
        }))))
    }

    /// Fills in what is asked for. Before the programs run.
    pub(super) fn set_wanted(&self, rules: &RuleSet) -> Result<(), Error> {
        let mut inner = self.inner();
        for (value, bits) in rules.wanted(Key::ProcessPid) {
            let pid: u32 = value.parse().unwrap_or(0);
            inner.pids.insert(pid, bits, 0).map_err(|error| failed("WANTED_PIDS", error))?;
        }
        for (value, _) in rules.wanted(Key::ProcessName) {
            let key = name_key(value.as_bytes());
            let bits = rules.wanting(Key::ProcessName, |other| name_key(other.as_bytes()) == key);
            inner.names.insert(key, bits, 0).map_err(|error| failed("WANTED_NAMES", error))?;
        }
        for (value, bits) in rules.wanted(Key::ProcessExe) {
            let mut path = [0; WANTED_PATH_LEN];
            path[..value.len()].copy_from_slice(value.as_bytes());
            inner.paths.insert(path, bits, 0).map_err(|error| failed("WANTED_PATHS", error))?;
        }
        for (value, bits) in rules.wanted(Key::UserId) {
            let uid: u32 = value.parse().unwrap_or(0);
            inner.users.insert(uid, bits, 0).map_err(|error| failed("WANTED_USERS", error))?;
        }
        Ok(())
    }

    /// An executable that rules ask for, as a file.
    pub(super) fn set_file(&self, file: FileKey, bits: u32) -> Result<(), Error> {
        self.inner().files.insert(Plain(file), bits, 0).map_err(|error| failed("WANTED_FILES", error))
    }

    /// A process that is older than the programs. Those that these know better stay: to be refused is right.
    pub(super) fn add_task(&self, pid: u32, task: Task) {
        let _ = self.inner().tasks.insert(pid, Plain(task), NOT_EXISTING);
    }

    /// The owner of a socket that is older than the programs, likewise.
    pub(super) fn add_owner(&self, cookie: u64, owner: SocketOwner) {
        let _ = self.inner().owners.insert(cookie, Plain(owner), NOT_EXISTING);
    }

    /// Forgets a process that ended.
    pub(crate) fn remove_task(&self, pid: u32, start_time_ns: u64) {
        let mut inner = self.inner();
        let is_same = |task: &Task| task.start_time_ns == start_time_ns || task.start_time_ns == 0;
        if inner.tasks.get(&pid, 0).is_ok_and(|task| is_same(&task.0)) {
            let _ = inner.tasks.remove(&pid);
        }
    }

    /// Decides about a cgroup.
    pub(super) fn set_cgroup(&self, id: u64, verdict: Verdict) {
        let mut inner = self.inner();
        if inner.cgroups.get(&id, 0).is_ok_and(|known| known.0 == verdict) {
            return;
        }
        // Without room, its packets are taken for those of no container.
        let _ = inner.cgroups.insert(id, Plain(verdict), 0);
        inner.changed();
        if let Some(bell) = inner.bell.as_ref().filter(|_| verdict.maybe != 0) {
            bell.ring();
        }
    }

    /// Tells the programs whether those that see packets are attached (`ALERTNESS_*`). Verdicts on sockets that were found
    /// before count no longer.
    pub(crate) fn set_alertness(&self, alertness: u32) -> Result<(), Error> {
        let mut inner = self.inner();
        inner.alertness.set(0, alertness, 0).map_err(|error| failed("ALERTNESS", error))?;
        inner.changed();
        Ok(())
    }

    /// Begins to count [`Self::early_sockets`] anew.
    pub(crate) fn forget_early(&self) -> Result<(), Error> {
        self.inner().early.set(0, 0, 0).map_err(|error| failed("EARLY", error))
    }

    /// How often processes that may be wanted made, bound or connected a socket before its packets were seen.
    pub(crate) fn early_sockets(&self) -> u64 {
        self.inner().early.get(&0, 0).unwrap_or(0)
    }

    /// Rings from now on when a cgroup may be wanted.
    pub(crate) fn ring(&self, bell: Bell) {
        self.inner().bell = Some(bell);
    }

    /// Forgets a cgroup.
    pub(super) fn remove_cgroup(&self, id: u64) {
        let _ = self.inner().cgroups.remove(&id);
    }

    /// What is decided of the cgroup that a socket waits for; `None` when nothing is known of it.
    pub(super) fn verdict_of(&self, cookie: u64) -> Option<Verdict> {
        let inner = self.inner();
        let Plain(Undecided { cgroup_id }) = inner.undecided.get(&cookie, 0).ok()?;
        inner.cgroups.get(&cgroup_id, 0).ok().map(|verdict| verdict.0)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Verdicts that the programs remember don't count any more.
    fn changed(&mut self) {
        self.epoch_count = self.epoch_count.wrapping_add(1);
        let _ = self.epoch.set(OWN_EPOCH, self.epoch_count, 0);
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tables")
    }
}

fn open<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, Error> {
    let map = ebpf.take_map(name).ok_or_else(|| failed(name, "not in the object"))?;
    M::try_from(map).map_err(|error| failed(name, error))
}

fn failed(what: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Map { what, source: io::Error::other(error.to_string()) }
}
