//! tcpdump, recording the same traffic.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::command::Running;
use crate::pcap;

/// The capture is complete when its file hasn't grown for so long.
const QUIET_TIME: Duration = Duration::from_millis(500);

/// A tcpdump that runs.
#[derive(Debug)]
pub struct Tcpdump {
    running: Running,
    path: PathBuf,
}

impl Tcpdump {
    /// Starts tcpdump on an interface, and waits until it captures.
    #[track_caller]
    pub fn start(path: &Path, interface: &str, filter: &str) -> Self {
        // Each packet is handed over and written at once. -Z root: no change of user, which would deny it the folder.
        let mut command = Command::new("tcpdump");
        command.args(["-i", interface, "-w"]).arg(path);
        command.args(["-s", "0", "-B", "65536", "--immediate-mode", "-U", "-n", "-Z", "root", "--", filter]);
        let mut running = Running::start(&mut command);
        running.wait_for_stderr("listening on");
        Self { running, path: path.to_owned() }
    }

    /// Waits until nothing more arrives, ends it, and gives the packets that it saw, from the network header on.
    #[track_caller]
    pub fn stop(self) -> Vec<Vec<u8>> {
        let mut length = u64::MAX;
        loop {
            let length_now = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
            if length_now == length {
                break;
            }
            length = length_now;
            thread::sleep(QUIET_TIME);
        }
        let finished = self.running.stop(Signal::SIGINT).success();
        let dropped = finished
            .stderr
            .lines()
            .find_map(|line| line.strip_suffix(" packets dropped by kernel"))
            .expect("tcpdump says what it dropped");
        assert_eq!(dropped, "0", "tcpdump lost packets, so there is nothing to compare with");
        pcap::network_packets(&self.path)
    }
}
