//! A `kcap-record run` of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::binary;
use crate::command::{COMMAND_TIME_MAX, Finished, Running, wait_until};

/// Should a test be killed so that it can't stop its recorder, the recorder ends by itself after so long.
const RECORDING_TIME_MAX: Duration = Duration::from_secs(300);

/// A recorder that runs. Killed when dropped.
#[derive(Debug)]
pub struct Recorder {
    running: Running,
    folder: PathBuf,
}

impl Recorder {
    /// Starts a recording into a folder, and waits until it records.
    #[track_caller]
    pub fn start(folder: &Path, options: &[&str]) -> Self {
        Self::start_as(folder, options, Command::new)
    }

    /// The same, with a command that runs the program it is given.
    #[track_caller]
    pub fn start_as(folder: &Path, options: &[&str], command: impl Fn(PathBuf) -> Command) -> Self {
        let mut command = command(binary::kcap_record());
        command.arg("run").arg("-o").arg(folder);
        command.arg("--duration").arg(format!("{}s", RECORDING_TIME_MAX.as_secs()));
        command.args(options);
        let before = segments(folder);
        let mut running = Running::start(&mut command);
        // The first segment is begun after the programs were attached.
        let end = wait_until("the first segment", || {
            let begun = || segments(folder).iter().any(|segment| !before.contains(segment));
            running.ended().map(Err).or_else(|| begun().then_some(Ok(())))
        });
        if let Err(status) = end {
            let finished = running.wait(COMMAND_TIME_MAX);
            panic!("the recorder did not start ({status}): {}", finished.stderr);
        }
        Self { running, folder: folder.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Waits until it has said this on standard error.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) {
        self.running.wait_for_stderr(text);
    }

    /// Keeps it from running while `action` does: nobody empties the rings.
    pub fn while_stopped<T>(&self, action: impl FnOnce() -> T) -> T {
        self.running.signal(Signal::SIGSTOP);
        wait_until("all threads of the recorder to stop", || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            let is_stopped = |task: std::fs::DirEntry| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                status.lines().any(|line| line.starts_with("State:") && line.contains("(stopped)"))
            };
            tasks.filter_map(Result::ok).all(is_stopped).then_some(())
        });
        let result = action();
        self.running.signal(Signal::SIGCONT);
        result
    }

    /// The capture's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the recording as Ctrl-C does, and gives what it said.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.end(Signal::SIGINT).success()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.running.wait(COMMAND_TIME_MAX)
    }

    /// Ends it with any signal.
    #[track_caller]
    pub fn end(self, signal: Signal) -> Finished {
        self.running.stop(signal)
    }
}

/// The segments in a folder, oldest first.
pub fn segments(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry of the capture's folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kcap"))
        .collect();
    paths.sort();
    paths
}
