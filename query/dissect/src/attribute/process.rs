//! Lives of processes.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// How far a start time from `/proc/PID/stat` may be from the kernel's: it is rounded down to a clock tick (10 ms,
/// `USER_HZ` is 100 everywhere), and the boot clocks of both readings may differ by rounding.
pub const COARSE_START_TOLERANCE_NS: u64 = 11_000_000;

/// Names a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProcessRef {
    /// Thread group id in the initial pid namespace; 0 names no process.
    pub pid: u32,
    /// Start since boot.
    pub start_time_ns: u64,
    /// The start is exact to a clock tick only: it was read from `/proc`.
    pub coarse: bool,
}

/// What a [`ProcessFact`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessFactKind {
    /// It is there: read from `/proc`, or alive at a segment's start.
    #[default]
    Enumerate,
    /// It was cloned.
    Fork,
    /// It executed a file.
    Exec,
    /// It was moved to another cgroup.
    CgroupAttach,
    /// It ended.
    Exit,
    /// An event about something else named it.
    Mention,
}

/// What a process looks like from some time on. Its texts are shared with those that it cloned: arguments may be long, and
/// clones many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// `task_struct.comm`.
    pub name: Arc<[u8]>,
    /// File that it runs.
    pub executable: Arc<[u8]>,
    /// Its arguments, the first being its own name.
    pub arguments: Arc<[Vec<u8>]>,
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// cgroup v2 id, 0 when unknown.
    pub cgroup_id: u64,
    /// Path below the cgroup2 root; empty when unknown.
    pub cgroup_path: Arc<[u8]>,
}

/// A fact about a process.
#[derive(Clone, Debug, Default)]
pub struct ProcessFact {
    /// When it was so.
    pub time_ns: u64,
    /// What happened.
    pub kind: ProcessFactKind,
    /// To whom.
    pub process: ProcessRef,
    /// Who cloned it, or its parent.
    pub parent: Option<ProcessRef>,
    /// What it looks like; for an exit only the name is read, for a move only the cgroup.
    pub description: Description,
    /// As wait(2) reports it; for an exit.
    pub exit_code: Option<u32>,
    /// Inode of its pid namespace, which it never leaves; 0 when this doesn't tell.
    pub pid_namespace: u32,
}

/// Place of a process in its [`ProcessTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessIndex(u32);

impl ProcessIndex {
    /// The number: counts up from 0 in the order in which processes became known.
    #[must_use]
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// All that is known of one process.
#[derive(Clone, Debug)]
pub struct ProcessLife {
    /// Its name; exact as soon as one fact had the exact start.
    pub process: ProcessRef,
    /// Its parent at first sight.
    pub parent: Option<ProcessRef>,
    /// How it became known.
    pub first_seen: ProcessFactKind,
    /// When it ended.
    pub exited_ns: Option<u64>,
    /// How it ended.
    pub exit_code: Option<u32>,
    /// Inode of its pid namespace, 0 when unknown.
    pub pid_namespace: u32,
    /// What it looked like, from when on; the times rise.
    descriptions: Vec<(u64, Description)>,
}

impl ProcessLife {
    /// What it looked like at a time; before the first that is known, as that one says. `None` when nothing is known but
    /// its id.
    #[must_use]
    pub fn description(&self, time_ns: u64) -> Option<&Description> {
        let after = self.descriptions.partition_point(|(from_ns, _)| *from_ns <= time_ns);
        self.descriptions.get(after.saturating_sub(1)).map(|(_, description)| description)
    }

    /// What it looked like last.
    #[must_use]
    pub fn last_description(&self) -> Option<&Description> {
        self.descriptions.last().map(|(_, description)| description)
    }

    /// Descriptions with the times from which on they hold.
    #[must_use]
    pub fn descriptions(&self) -> &[(u64, Description)] {
        &self.descriptions
    }

    /// Adds a description unless it is the one in force. Times must not fall.
    fn describe(&mut self, time_ns: u64, description: Description) {
        if self.last_description() != Some(&description) {
            self.descriptions.push((time_ns, description));
        }
    }
}

/// Processes by pid and start.
#[derive(Clone, Debug, Default)]
pub struct ProcessTable {
    lives: Vec<ProcessLife>,
    by_pid: FxHashMap<u32, Vec<ProcessIndex>>,
}

impl ProcessTable {
    /// All processes, in the order in which they became known.
    #[must_use]
    pub fn lives(&self) -> &[ProcessLife] {
        &self.lives
    }

    pub(super) fn get(&self, index: ProcessIndex) -> &ProcessLife {
        &self.lives[index.as_usize()]
    }

    /// The process with this pid and start. If either start is coarse, the one that is nearest within
    /// [`COARSE_START_TOLERANCE_NS`].
    #[must_use]
    pub fn find(&self, process: ProcessRef) -> Option<ProcessIndex> {
        let candidates = self.by_pid.get(&process.pid)?;
        let distance = |index: &ProcessIndex| {
            let known = self.get(*index).process;
            let distance_ns = known.start_time_ns.abs_diff(process.start_time_ns);
            let tolerance_ns = if known.coarse || process.coarse { COARSE_START_TOLERANCE_NS } else { 0 };
            (distance_ns <= tolerance_ns).then_some((distance_ns, *index))
        };
        candidates.iter().filter_map(distance).min().map(|(_, index)| index)
    }

    /// Adds a fact; those of one process must come in the order of time.
    pub(super) fn add(&mut self, fact: ProcessFact) {
        let ProcessFact { time_ns, kind, process, parent, mut description, exit_code, pid_namespace } = fact;
        let Some(index) = self.find_or_add(process, kind) else { return };
        if kind == ProcessFactKind::Fork
            && let Some(parent) = parent.and_then(|parent| self.find(parent))
            && let Some(inherited) = self.get(parent).description(time_ns)
        {
            // Until it executes something, it runs what its parent runs.
            if description.executable.is_empty() && description.arguments.is_empty() {
                description.executable.clone_from(&inherited.executable);
                description.arguments.clone_from(&inherited.arguments);
            }
            if description.name.is_empty() {
                description.name.clone_from(&inherited.name);
            }
            if description.cgroup_path.is_empty() && description.cgroup_id == inherited.cgroup_id {
                description.cgroup_path.clone_from(&inherited.cgroup_path);
            }
        }
        let life = &mut self.lives[index.as_usize()];
        life.parent = life.parent.or(parent.filter(|parent| parent.pid != 0));
        if pid_namespace != 0 {
            life.pid_namespace = pid_namespace;
        }
        if kind == ProcessFactKind::Exit {
            life.exited_ns = Some(time_ns);
            life.exit_code = exit_code;
            if life.descriptions.is_empty() && !description.name.is_empty() {
                life.describe(time_ns, Description { name: description.name, ..Description::default() });
            }
            return;
        }
        if kind == ProcessFactKind::CgroupAttach {
            let last = life.last_description().cloned().unwrap_or_default();
            let Description { cgroup_id, cgroup_path, .. } = description;
            life.describe(time_ns, Description { cgroup_id, cgroup_path, ..last });
            return;
        }
        if description.cgroup_path.is_empty()
            && let Some(last) = life.last_description()
            && last.cgroup_id == description.cgroup_id
        {
            description.cgroup_path.clone_from(&last.cgroup_path);
        }
        life.describe(time_ns, description);
    }

    /// The process that an event about something else named, with the name it had.
    pub(super) fn mention(&mut self, process: ProcessRef, time_ns: u64, name: &[u8]) -> Option<ProcessIndex> {
        let index = self.find_or_add(process, ProcessFactKind::Mention)?;
        let life = &mut self.lives[index.as_usize()];
        if life.descriptions.is_empty() && !name.is_empty() {
            life.describe(time_ns, Description { name: name.into(), ..Description::default() });
        }
        Some(index)
    }

    fn find_or_add(&mut self, process: ProcessRef, kind: ProcessFactKind) -> Option<ProcessIndex> {
        if process.pid == 0 {
            return None;
        }
        if let Some(index) = self.find(process) {
            let known = &mut self.lives[index.as_usize()].process;
            if known.coarse && !process.coarse {
                *known = process;
            }
            return Some(index);
        }
        let index = ProcessIndex(u32::try_from(self.lives.len()).ok()?);
        self.lives.push(ProcessLife {
            process,
            parent: None,
            first_seen: kind,
            exited_ns: None,
            exit_code: None,
            pid_namespace: 0,
            descriptions: Vec::new(),
        });
        self.by_pid.entry(process.pid).or_default().push(index);
        Some(index)
    }
}
