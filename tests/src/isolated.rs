//! A cgroup of the test's own, and a recorder that takes it for the root: what it sees is the traffic of the processes
//! that the test puts there, and nothing else of the host's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::command::POLL_INTERVAL;

/// Enters the cgroup `$0` and becomes the program.
const ENTER: &str = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;
/// The same, where the whole hierarchy `$1` is hidden behind the cgroup.
const ENTER_AS_ROOT: &str = r#"
    echo $$ >"$0/cgroup.procs" &&
    exec unshare --mount sh -c 'mount --bind "$0" "$1" && shift && exec "$@"' "$0" "$@""#;

/// How often its removal is tried before it is given up.
const REMOVAL_ATTEMPTS: usize = 250;

/// The cgroup, gone when dropped. Its processes must have ended before.
#[derive(Debug)]
pub struct Isolated {
    cgroup: PathBuf,
    hierarchy: PathBuf,
}

impl Isolated {
    /// Makes the cgroup.
    #[track_caller]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let hierarchy = fields.filter(|fields| fields[2] == "cgroup2").map(|fields| PathBuf::from(fields[1]));
        let hierarchy = hierarchy.into_iter().next().expect("a cgroup2 hierarchy, as the recorder needs");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = hierarchy.join(format!("kcap-test-{}-{number}", std::process::id()));
        fs::create_dir(&cgroup).expect("a cgroup");
        Self { cgroup, hierarchy }
    }

    /// The cgroup's folder.
    pub fn path(&self) -> &Path {
        &self.cgroup
    }

    /// A command that runs a program in the cgroup.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(&self.cgroup).arg(program);
        command
    }

    /// A command that runs a recorder in the cgroup, which is the root for it.
    pub fn recorder(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER_AS_ROOT]).arg(&self.cgroup).arg(&self.hierarchy).arg(program);
        command
    }
}

impl Default for Isolated {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // The kernel takes a moment to let ended processes go. One that is left over harms nobody.
        for _ in 0..REMOVAL_ATTEMPTS {
            if fs::remove_dir(&self.cgroup).is_ok() {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}
