//! What is older than the programs: processes, and who owns which socket.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use kcap_format::proto::{Event, Process, event};
use kcap_recorder_ebpf::{FileKey, SocketOwner, Task};
use nix::sys::stat::{major, minor};
use rustc_hash::FxHashMap;

use super::{Decider, Key, RuleSet, Tables, name_key};

/// Generations that are looked through for a process whose children are wanted.
const GENERATIONS_MAX: usize = 1024;

impl Tables {
    /// Fills the tables with what was enumerated. The programs of processes and sockets run already, so that nothing
    /// falls between; those of packets don't yet. Gives whether any process is wanted whatever its
    /// cgroup.
    pub(crate) fn fill(&self, rules: &RuleSet, enumerated: &[Event], decider: &mut Decider) -> Result<bool> {
        let files: Vec<(FileKey, u32)> =
            rules.wanted(Key::ProcessExe).filter_map(|(path, bits)| Some((file_key(path)?, bits))).collect();
        for (file, bits) in &files {
            self.set_file(*file, *bits)?;
        }
        let mut known: FxHashMap<u32, (Task, u32)> = FxHashMap::default();
        for event in enumerated {
            match &event.event {
                Some(event::Event::Enumerate(found)) => {
                    let Some(process) = &found.process else { continue };
                    let Some(id) = &process.id else { continue };
                    let parent = process.parent.map_or(0, |parent| parent.pid);
                    known.insert(id.pid, (task(rules, &files, id.pid, process), parent));
                }
                Some(event::Event::Cgroup(cgroup)) => decider.note_cgroup(cgroup, None),
                _ => {}
            }
        }
        inherit(rules, &mut known);
        // When there is no room, those go that were added first: not the wanted.
        let kernel = rules.for_kernel();
        for wanted in [false, true] {
            for (pid, (task, _)) in &known {
                if (task.holds(&kernel) != 0) == wanted {
                    self.add_task(*pid, *task);
                }
            }
        }
        for event in enumerated {
            let Some(event::Event::Socket(socket)) = &event.event else { continue };
            if let Some(owner) = socket.owner.filter(|owner| known.contains_key(&owner.pid)) {
                // Untold, so that the first use is.
                self.add_owner(
                    socket.cookie,
                    SocketOwner { start_time_ns: 0, pid: owner.pid, ..SocketOwner::default() },
                );
            }
        }
        // Of cgroups that are wanted, the bell tells.
        let outside = kernel.all & !kernel.container;
        Ok(known.values().any(|(task, _)| task.holds(&kernel) & outside != 0))
    }

    /// What is asked for, before anything is attached.
    pub(crate) fn prepare(&self, rules: &RuleSet) -> Result<()> {
        Ok(self.set_wanted(rules)?)
    }
}

fn task(rules: &RuleSet, files: &[(FileKey, u32)], pid: u32, process: &Process) -> Task {
    let uid = process.credentials.map_or(u32::MAX, |credentials| credentials.uid);
    let executable = String::from_utf8_lossy(&process.executable);
    // A package that was upgraded leaves its old file to who runs it.
    let path = executable.strip_suffix(" (deleted)").unwrap_or(&executable);
    let by_path = rules.wanting(Key::ProcessExe, |wanted| wanted == path);
    let by_file = file_key(&format!("/proc/{pid}/exe")).map_or(0, |found| {
        files.iter().filter(|(file, _)| *file == found).fold(0, |bits, (_, more)| bits | more)
    });
    Task {
        // From /proc it is only exact to a clock tick.
        start_time_ns: 0,
        cgroup_id: process.cgroup_id,
        pid: rules.wanting(Key::ProcessPid, |wanted| wanted.parse() == Ok(pid)),
        name: rules
            .wanting(Key::ProcessName, |wanted| name_key(wanted.as_bytes()) == name_key(&process.name)),
        executable: by_path | by_file,
        user: rules.wanting(Key::UserId, |wanted| wanted.parse() == Ok(uid)),
        uid,
        ..Task::default()
    }
}

/// What holds for a process holds for its children, where that is asked for; and each process knows for what its children
/// are wanted.
fn inherit(rules: &RuleSet, known: &mut FxHashMap<u32, (Task, u32)>) {
    let kernel = rules.for_kernel();
    let pids: Vec<u32> = known.keys().copied().collect();
    for pid in &pids {
        let mut inherited = 0;
        let mut at = known[pid].1;
        for _ in 0..GENERATIONS_MAX {
            let Some((parent, above)) = known.get(&at) else { break };
            inherited |= parent.holds(&kernel) & kernel.children;
            at = *above;
        }
        if let Some((task, _)) = known.get_mut(pid) {
            task.inherited |= inherited;
        }
    }
    for pid in &pids {
        let (task, parent) = known[pid];
        if let Some((above, _)) = known.get_mut(&parent) {
            above.children |= task.holds(&kernel);
        }
    }
}

/// The file at a path, as the programs see it.
fn file_key(path: &str) -> Option<FileKey> {
    let found = fs::metadata(path).ok()?;
    // `MKDEV` of the kernel.
    let device = major(found.dev()) << 20 | minor(found.dev());
    Some(FileKey { inode: found.ino(), device })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str, children: bool) -> RuleSet {
        let conditions = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        RuleSet::new(conditions, children).unwrap()
    }

    fn process(name: &str, uid: u32, executable: &str) -> Process {
        let credentials = Some(kcap_format::proto::Credentials { uid, gid: 0 });
        Process { name: name.into(), executable: executable.into(), credentials, ..Process::default() }
    }

    #[test]
    fn each_key_finds_its_processes() {
        let web = process("nginx", 33, "/usr/sbin/nginx");
        for (text, expected) in [
            ("process.name=nginx", 1),
            ("process.name=ngin", 0),
            ("process.pid=4000000", 1),
            ("user.id=33", 1),
            ("user.id=0", 0),
            ("process.exe=/usr/sbin/nginx", 1),
            ("process.exe=/sbin/nginx", 0),
            ("process.name=nginx user.id=0", 0),
            ("process.name=nginx process.name=sh user.id=33", 1),
        ] {
            let rules = rules(text, false);
            let task = task(&rules, &[], 4_000_000, &web);
            assert_eq!(task.holds(&rules.for_kernel()), expected, "{text}");
        }
    }

    #[test]
    fn an_executable_is_known_by_its_file() {
        let own = std::env::current_exe().unwrap();
        let rules = rules(&format!("process.exe={}", own.display()), false);
        let files = [(file_key(own.to_str().unwrap()).unwrap(), 1)];
        let other_name = process("x", 0, "/another/name");
        assert_eq!(task(&rules, &files, std::process::id(), &other_name).executable, 1);
    }

    #[test]
    fn children_inherit_when_asked_and_tell_their_parents() {
        for (children, expected) in [(true, [1, 1, 1, 0]), (false, [0, 1, 0, 0])] {
            let rules = rules("process.name=sh", children);
            let mut known = FxHashMap::default();
            for (pid, name, parent) in [(1, "init", 0), (2, "sh", 1), (3, "wget", 2), (4, "wget", 1)] {
                known.insert(pid, (task(&rules, &[], 4_000_000 + pid, &process(name, 0, "")), parent));
            }
            inherit(&rules, &mut known);
            let kernel = rules.for_kernel();
            let held = [2, 3, 4].map(|pid| known[&pid].0.holds(&kernel));
            assert_eq!(held, [1, u32::from(children), 0]);
            assert_eq!(known[&1].0.children, 1);
            assert_eq!(known[&2].0.children, expected[2]);
        }
    }
}
