//! Commands with bounded time, and background processes that never outlive their test.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a command may take before it counts as hung. Generous: the machine may be busy.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);

/// How often a condition is looked at again while waiting for it.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a command left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, lossily decoded.
    pub stderr: String,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Itself, when the command succeeded; otherwise fails the test with what the command said.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}: {}\n{}", self.status, self.stderr, self.text());
        self
    }
}

/// Runs a command to its end, with no standard input.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    Running::start(command).wait(COMMAND_TIME_MAX)
}

/// A command in the background, with its output collected. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
    stdout_seen: Vec<u8>,
    stderr_seen: Vec<u8>,
}

impl Running {
    /// Starts a command, with no standard input.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self::start_with_input(command, Stdio::null())
    }

    /// Starts a command that reads this.
    #[track_caller]
    pub fn start_with_input(command: &mut Command, input: Stdio) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {name}: {error}"));
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Self { child, name, stdout, stderr, stdout_seen: Vec::new(), stderr_seen: Vec::new() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for an own child")
    }

    /// Waits for text on standard error, and gives what was written up to then.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) -> String {
        let deadline = Instant::now() + COMMAND_TIME_MAX;
        loop {
            self.stderr_seen.extend(self.stderr.try_iter().flatten());
            let seen = String::from_utf8_lossy(&self.stderr_seen);
            if seen.contains(text) {
                return seen.into_owned();
            }
            self.check_alive(deadline, text);
        }
    }

    /// Waits for a whole line on standard output that starts with `prefix`, and gives the rest of it.
    #[track_caller]
    pub fn wait_for_line(&mut self, prefix: &str) -> String {
        let deadline = Instant::now() + COMMAND_TIME_MAX;
        loop {
            self.stdout_seen.extend(self.stdout.try_iter().flatten());
            let seen = String::from_utf8_lossy(&self.stdout_seen).into_owned();
            let whole_lines = seen.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            if let Some(rest) = whole_lines.filter_map(|line| line.strip_prefix(prefix)).next() {
                return rest.to_owned();
            }
            self.check_alive(deadline, prefix);
        }
    }

    /// Waits for its end, at most `time_max`.
    #[track_caller]
    pub fn wait(mut self, time_max: Duration) -> Finished {
        let deadline = Instant::now() + time_max;
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} did not end within {time_max:?}", self.name);
            thread::sleep(POLL_INTERVAL);
        };
        // The channels close when the pipes do.
        self.stdout_seen.extend(self.stdout.iter().flatten());
        self.stderr_seen.extend(self.stderr.iter().flatten());
        Finished {
            status,
            stdout: std::mem::take(&mut self.stdout_seen),
            stderr: String::from_utf8_lossy(&self.stderr_seen).into_owned(),
        }
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub fn stop(self, signal: Signal) -> Finished {
        self.signal(signal);
        self.wait(COMMAND_TIME_MAX)
    }

    #[track_caller]
    fn check_alive(&mut self, deadline: Instant, awaited: &str) {
        if let Some(status) = self.ended() {
            self.stderr_seen.extend(self.stderr.iter().flatten());
            let stderr = String::from_utf8_lossy(&self.stderr_seen);
            panic!("{} ended ({status}) before it said {awaited:?}: {stderr}", self.name);
        }
        assert!(Instant::now() < deadline, "{} never said {awaited:?}", self.name);
        thread::sleep(POLL_INTERVAL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // Fails only when it ended in between, which is what is wanted.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until a condition gives a value, at most [`COMMAND_TIME_MAX`].
#[track_caller]
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + COMMAND_TIME_MAX;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Reads a pipe in a thread, so that its writer never waits.
fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}
