//! Processes that are older than the recorder, read from `/proc`.

use std::fs;
use std::io::Read;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use kcap_format::proto::{Credentials, Event, Process, ProcessEnumerate, ProcessId, event};
use rustc_hash::FxHashMap;
use tracing::warn;

use super::Enumerated;
use super::proc_files::{self, Ids, IdsOfAll};
use super::session::Sessions;
use crate::clock;

/// Generations that are followed to find the session of a process.
const ANCESTORS_MAX: usize = 256;

/// Threads that read processes, at most: the host has other work.
const READERS_MAX: usize = 4;

/// Reads processes out of a `/proc`.
pub(crate) struct Enumeration<'a> {
    pub(crate) proc_root: &'a Path,
    pub(crate) cgroup2_root: Option<&'a Path>,
    pub(crate) arguments_len_max: usize,
    /// Most processes that are read.
    pub(crate) processes_max: usize,
}

impl Enumeration<'_> {
    /// All processes, as events, up to the limit. One that ends while it is read is not there any more.
    pub(crate) fn run(&self, sessions: &Mutex<Sessions>) -> Enumerated {
        let pids = pids(self.proc_root);
        let (read, beyond) = pids.split_at(pids.len().min(self.processes_max));
        // Those that end meanwhile don't count here either.
        let is_there = |pid: &&u32| identity(self.proc_root, **pid).is_some();
        let processes_left_out = beyond.iter().filter(is_there).count() as u64;
        let (mut events, mut ids) = (Vec::with_capacity(read.len()), IdsOfAll::default());
        for (event, pid, own) in self.read_all(read) {
            events.push(event);
            ids.insert(pid, own);
        }
        if processes_left_out > 0 {
            warn!(limit = self.processes_max, processes_left_out, "more processes than are kept");
        }
        set_parent_starts(&mut events);
        self.set_namespaces(&mut events, &ids);
        set_sessions(&mut events, &ids, &mut sessions.lock().unwrap_or_else(PoisonError::into_inner));
        Enumerated { events, processes_left_out }
    }

    /// Reads some tens of files of each process: on several threads, since recording with conditions begins after it.
    fn read_all(&self, pids: &[u32]) -> Vec<(Event, u32, Ids)> {
        let ticks = ticks_per_second();
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(READERS_MAX);
        let part_len = pids.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let read =
                |part: &[u32]| part.iter().filter_map(|pid| self.read(*pid, ticks)).collect::<Vec<_>>();
            let readers: Vec<_> = pids.chunks(part_len).map(|part| scope.spawn(move || read(part))).collect();
            // A panic has ended the process before.
            readers.into_iter().flat_map(|reader| reader.join().unwrap_or_default()).collect()
        })
    }

    fn read(&self, pid: u32, ticks: u64) -> Option<(Event, u32, Ids)> {
        let folder = &self.proc_root.join(pid.to_string());
        let stat = Stat::parse(&fs::read(folder.join("stat")).ok()?)?;
        let (kept, truncated) = read_start(&folder.join("cmdline"), self.arguments_len_max);
        let cgroup_path =
            fs::read(folder.join("cgroup")).ok().and_then(|text| cgroup2_path(&text)).unwrap_or_default();
        let status = fs::read(folder.join("status")).unwrap_or_default();
        let ids = proc_files::ids(folder, &status);
        // Kernel threads have none; that of others is only told to those who may trace them.
        let binary = proc_files::binary(folder);
        let process = Process {
            id: Some(stat.id(pid, ticks)),
            parent: (stat.parent != 0).then(|| ProcessId {
                pid: stat.parent,
                start_time_coarse: true,
                ..ProcessId::default()
            }),
            name: stat.name,
            executable: binary.as_ref().map(|binary| binary.path.clone()).unwrap_or_default(),
            arguments: split_arguments(&kept),
            arguments_truncated: u32::try_from(truncated).unwrap_or(u32::MAX),
            credentials: credentials(&status),
            cgroup_id: self.cgroup2_root.and_then(|root| cgroup_id(root, &cgroup_path)).unwrap_or(0),
            cgroup_path,
            tid: pid,
            streams: binary.is_some().then(|| Box::new(proc_files::streams(folder))),
            binary: binary.map(Box::new),
            ..Process::default()
        };
        let event = Some(event::Event::Enumerate(ProcessEnumerate { process: Some(process) }));
        Some((Event { time_ns: clock::boot_ns(), snapshot: true, event, ..Event::default() }, pid, ids))
    }

    /// A second pass: a parent may have been read after its child.
    fn set_namespaces(&self, events: &mut [Event], ids: &IdsOfAll) {
        for process in events.iter_mut().filter_map(process_of_mut) {
            let pid = process.id.map_or(0, |id| id.pid);
            let parent = process.parent.map_or(0, |parent| parent.pid);
            let folder = self.proc_root.join(pid.to_string());
            process.namespaces = proc_files::namespaces(&folder, ids, pid, parent);
        }
    }
}

/// Sessions begin with those who entered a container, and are inherited by all that descend from them.
fn set_sessions(events: &mut [Event], ids: &IdsOfAll, sessions: &mut Sessions) {
    let processes =
        events.iter().filter_map(process_of).filter_map(|process| Some((process.id?.pid, process)));
    let processes: FxHashMap<u32, &Process> = processes.collect();
    let begins = |process: &Process| {
        let parent = process.parent.map_or(0, |parent| parent.pid);
        process.namespaces.as_ref().is_some_and(|found| proc_files::entered(found, ids, parent))
    };
    let mut found: FxHashMap<u32, ProcessId> = FxHashMap::default();
    for (pid, process) in &processes {
        let mut ancestor = Some(*process);
        for _ in 0..ANCESTORS_MAX {
            let Some(current) = ancestor else { break };
            if begins(current) {
                found.extend(current.id.map(|session| (*pid, session)));
                break;
            }
            ancestor = current.parent.and_then(|parent| processes.get(&parent.pid).copied());
        }
    }
    for process in events.iter_mut().filter_map(process_of_mut) {
        let Some(id) = process.id else { continue };
        process.exec_session = found.get(&id.pid).copied();
        process.exec_session.into_iter().for_each(|session| sessions.enumerated(id, session));
    }
}

/// Numbers of the processes in a `/proc`.
pub(crate) fn pids(proc_root: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(proc_root) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Identity of a process; `None` when there is none with this number (any more).
pub(crate) fn identity(proc_root: &Path, pid: u32) -> Option<(ProcessId, Vec<u8>)> {
    let stat = Stat::parse(&fs::read(proc_root.join(pid.to_string()).join("stat")).ok()?)?;
    Some((stat.id(pid, ticks_per_second()), stat.name))
}

/// The first bytes of a file, and how many there are more. It is read as it comes: nobody says how long it is.
fn read_start(path: &Path, len_max: usize) -> (Vec<u8>, u64) {
    let mut kept = Vec::new();
    let Ok(mut file) = fs::File::open(path) else { return (kept, 0) };
    // What can't be read (any more) is empty, as for a process that has ended.
    let _ = file.by_ref().take(len_max as u64).read_to_end(&mut kept);
    let truncated = std::io::copy(&mut file, &mut std::io::sink()).unwrap_or(0);
    (kept, truncated)
}

/// Arguments as they lie in memory, each ended by NUL.
pub(crate) fn split_arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// What `/proc/PID/stat` tells (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: Vec<u8>,
    parent: u32,
    start_ticks: u64,
}

impl Stat {
    /// The name stands in parentheses and may hold any byte, parentheses and spaces too: the last one ends
    /// it.
    fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let name = text.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(&text[close + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?; // field 4, ppid: the first after the name is field 3
        let start_ticks = fields.nth(17)?.parse().ok()?; // field 22, starttime
        Some(Self { name, parent, start_ticks })
    }

    fn id(&self, pid: u32, ticks_per_second: u64) -> ProcessId {
        let start_time_ns = self.start_ticks.saturating_mul(1_000_000_000 / ticks_per_second);
        ProcessId { pid, start_time_ns, start_time_coarse: true }
    }
}

/// `/proc/PID/stat` names the parent by number alone: its start is that of the process of this number.
fn set_parent_starts(events: &mut [Event]) {
    let starts: rustc_hash::FxHashMap<u32, u64> = events
        .iter()
        .filter_map(process_of)
        .filter_map(|process| process.id)
        .map(|id| (id.pid, id.start_time_ns))
        .collect();
    for event in events {
        let Some(event::Event::Enumerate(enumerate)) = &mut event.event else { continue };
        if let Some(parent) = enumerate.process.as_mut().and_then(|process| process.parent.as_mut()) {
            parent.start_time_ns = starts.get(&parent.pid).copied().unwrap_or(0);
        }
    }
}

fn process_of_mut(event: &mut Event) -> Option<&mut Process> {
    match &mut event.event {
        Some(event::Event::Enumerate(enumerate)) => enumerate.process.as_mut(),
        _ => None,
    }
}

fn process_of(event: &Event) -> Option<&Process> {
    match &event.event {
        Some(event::Event::Enumerate(enumerate)) => enumerate.process.as_ref(),
        _ => None,
    }
}

/// Effective ids of `/proc/PID/status`: the second number of its `Uid:` and `Gid:` lines.
fn credentials(status: &[u8]) -> Option<Credentials> {
    let text = String::from_utf8_lossy(status);
    let id = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some(Credentials { uid: id("Uid:")?, gid: id("Gid:")? })
}

/// The path in the cgroup2 hierarchy, which has the number 0 in `/proc/PID/cgroup` (cgroups(7)).
fn cgroup2_path(text: &[u8]) -> Option<Vec<u8>> {
    text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::")).map(<[u8]>::to_vec)
}

/// The id of a cgroup is the inode of its folder.
fn cgroup_id(root: &Path, path: &[u8]) -> Option<u64> {
    let below = path.strip_prefix(b"/")?;
    fs::metadata(root.join(std::ffi::OsStr::from_bytes(below))).ok().map(|folder| folder.ino())
}

/// Ticks in which `/proc` counts (`USER_HZ`).
fn ticks_per_second() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::PROCESSES_MAX;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_kept() {
        let text = b"42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 2 3\n";
        assert_eq!(
            Stat::parse(text),
            Some(Stat { name: b"a) b (c)".to_vec(), parent: 7, start_ticks: 123_456 })
        );
        for bad in [&b""[..], b"42 (x", b"42 )x(", b"42 (x) S 1", b"42 (x) S \xff\xfe"] {
            assert_eq!(Stat::parse(bad), None);
        }
    }

    #[test]
    fn arguments_keep_empty_ones_and_lose_the_last_nul() {
        assert_eq!(split_arguments(b"ls\0-l\0"), [b"ls".to_vec(), b"-l".to_vec()]);
        assert_eq!(split_arguments(b"sh\0\0x\0"), [b"sh".to_vec(), Vec::new(), b"x".to_vec()]);
        assert_eq!(split_arguments(b"cut\0of"), [b"cut".to_vec(), b"of".to_vec()]);
        assert!(split_arguments(b"").is_empty());
    }

    #[test]
    fn ids_and_cgroups_are_found_in_their_files() {
        let status = b"Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\n";
        assert_eq!(credentials(status), Some(Credentials { uid: 1001, gid: 6 }));
        assert_eq!(credentials(b"Name:\tx\n"), None);
        assert_eq!(cgroup2_path(b"4:memory:/m\n0::/system.slice/a\n"), Some(b"/system.slice/a".to_vec()));
        assert_eq!(cgroup2_path(b"4:memory:/m\n"), None);
    }

    fn of(proc_root: &Path) -> Enumeration<'_> {
        Enumeration { proc_root, cgroup2_root: None, arguments_len_max: 4096, processes_max: PROCESSES_MAX }
    }

    /// A `/proc` of so many processes, each of them this one.
    fn crowd(count: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let own = Path::new("/proc").join(std::process::id().to_string());
        for pid in 1..=count {
            std::os::unix::fs::symlink(&own, folder.path().join(pid.to_string())).unwrap();
        }
        folder
    }

    #[test]
    fn a_hundred_thousand_processes_are_all_enumerated() {
        const COUNT: u32 = 100_000;
        let crowd = crowd(COUNT);
        let found = of(crowd.path()).run(&Mutex::default());
        let mut pids: Vec<u32> =
            found.events.iter().filter_map(process_of).filter_map(|process| Some(process.id?.pid)).collect();
        pids.sort_unstable();
        assert!(pids.iter().copied().eq(1..=COUNT), "{} of them", pids.len());
        assert_eq!(found.processes_left_out, 0);
        // Each is kept whole: what is kept of all of them stays below 2 KiB each, or a large host would pay for it.
        let kept: usize = found.events.iter().map(prost::Message::encoded_len).sum();
        assert!(kept < COUNT as usize * 2048, "{kept} bytes");
    }

    #[test]
    fn processes_beyond_the_limit_are_counted() {
        let crowd = crowd(50);
        let found = Enumeration { processes_max: 45, ..of(crowd.path()) }.run(&Mutex::default());
        assert_eq!((found.events.len(), found.processes_left_out), (45, 5));
    }

    #[test]
    fn this_process_and_its_parent_are_enumerated() {
        let enumeration = Enumeration { arguments_len_max: 5, ..of(Path::new("/proc")) };
        let events = enumeration.run(&Mutex::default()).events;
        let own = std::process::id();
        let process =
            events.iter().filter_map(process_of).find(|process| process.id.unwrap().pid == own).unwrap();
        assert_eq!(process.executable, std::env::current_exe().unwrap().as_os_str().as_bytes());
        let parent = process.parent.unwrap();
        assert!(parent.start_time_ns > 0 && parent.start_time_ns <= process.id.unwrap().start_time_ns);
        assert!(process.id.unwrap().start_time_ns <= clock::boot_ns());
        let len: usize = std::env::args_os().map(|word| word.len() + 1).sum();
        assert_eq!((process.arguments[0].len(), process.arguments_truncated as usize), (5, len - 5));
        let namespaces = process.namespaces.as_ref().unwrap();
        assert_eq!((namespaces.pid, process.exec_session), (own, None));
        assert_eq!(identity(Path::new("/proc"), own).unwrap().0, process.id.unwrap());
    }
}
