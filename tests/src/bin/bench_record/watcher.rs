//! What records meanwhile: nothing, `kcap-record`, or `tcpdump`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kcap_format::{BlockType, Capture, PacketColumns, packet_flags};
use kcap_tests::command::Running;
use kcap_tests::recorder::Recorder;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike;
use serde::Serialize;

/// `LossProgram` numbers of the programs that record packets.
const PACKET_PROGRAMS: [i32; 2] = [1, 2];
/// `tcpdump -s` where kcap records headers: Ethernet, IPv6 and TCP with options fit.
const HEADERS_SNAPLEN: &str = "96";
/// `tcpdump -s` where kcap records whole packets: the default of `kcap-record --snaplen`.
const FULL_SNAPLEN: &str = "65535";
/// The same as a number.
const FULL_SNAPLEN_BYTES: u32 = 65_535;
/// `tcpdump -B`, in KiB: the size of kcap's packet buffer.
const TCPDUMP_BUFFER_KIB: &str = "65536";

/// `kcap-record --where` of what no process is.
const UNWANTED: &str = "process.name=no-such-process";

/// What records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watcher {
    Nothing,
    /// With conditions that match nothing: every packet is looked at, and none is wanted.
    KcapUnwanted,
    KcapHeaders,
    TcpdumpHeaders,
    KcapFull,
    TcpdumpFull,
}

impl Watcher {
    /// All of them.
    pub(crate) const ALL: [Watcher; 6] = [
        Watcher::Nothing,
        Watcher::KcapUnwanted,
        Watcher::KcapHeaders,
        Watcher::TcpdumpHeaders,
        Watcher::KcapFull,
        Watcher::TcpdumpFull,
    ];

    /// A round: nothing records at its beginning, in its middle and at its end.
    pub(crate) const ROUND: [Watcher; 8] = [
        Watcher::Nothing,
        Watcher::KcapUnwanted,
        Watcher::KcapHeaders,
        Watcher::TcpdumpHeaders,
        Watcher::Nothing,
        Watcher::KcapFull,
        Watcher::TcpdumpFull,
        Watcher::Nothing,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Watcher::Nothing => "nothing",
            Watcher::KcapUnwanted => "kcap unwanted",
            Watcher::KcapHeaders => "kcap headers",
            Watcher::TcpdumpHeaders => "tcpdump -s 96",
            Watcher::KcapFull => "kcap full",
            Watcher::TcpdumpFull => "tcpdump -s 65535",
        }
    }

    /// Starts it, and waits until it records. What it writes goes below `scratch`.
    pub(crate) fn start(self, scratch: &Path) -> Result<Watching> {
        let out = scratch.join("recorded");
        remove(&out)?;
        let process = match self {
            Watcher::Nothing => Process::None,
            Watcher::KcapUnwanted => Process::Kcap(Recorder::start(&out, &["--where", UNWANTED])),
            Watcher::KcapHeaders => Process::Kcap(Recorder::start(&out, &["--snaplen", "headers"])),
            Watcher::KcapFull => Process::Kcap(Recorder::start(&out, &[])),
            Watcher::TcpdumpHeaders => Process::Tcpdump(tcpdump(&out, HEADERS_SNAPLEN)),
            Watcher::TcpdumpFull => Process::Tcpdump(tcpdump(&out, FULL_SNAPLEN)),
        };
        Ok(Watching { watcher: self, process, out })
    }
}

/// What a watcher got, and what it used.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Observed {
    /// Packets in its file. kcap records local packets leaving and arriving, tcpdump once.
    pub(crate) recorded: u64,
    /// Packets that it saw and could not record.
    pub(crate) lost: u64,
    /// Of the recorded ones, those of which it kept less than it was asked to, since it could not keep up.
    pub(crate) cut: u64,
    /// Processor time of its own process, until it had written everything.
    pub(crate) cpu_seconds: f64,
    /// Bytes of its files.
    pub(crate) disk_bytes: u64,
}

/// A watcher that records.
#[derive(Debug)]
pub(crate) struct Watching {
    watcher: Watcher,
    process: Process,
    /// The file or folder that it writes.
    pub(crate) out: PathBuf,
}

#[derive(Debug)]
enum Process {
    None,
    Kcap(Recorder),
    Tcpdump(Running),
}

impl Watching {
    /// Ends it, and gives what it got; its files stay until the next one starts.
    pub(crate) fn stop(self) -> Result<Observed> {
        // The processes of the load were waited for by now, so the difference is the watcher's alone.
        let before = children_cpu()?;
        let (recorded, lost) = match self.process {
            Process::None => return Ok(Observed::default()),
            Process::Kcap(recorder) => {
                recorder.stop();
                kcap_account(&self.out)?
            }
            Process::Tcpdump(tcpdump) => tcpdump_account(&tcpdump.stop(Signal::SIGINT).success().stderr)?,
        };
        let cpu_seconds = (children_cpu()? - before).as_secs_f64();
        let cut = match self.watcher {
            Watcher::KcapFull => cut_packets(&self.out)?,
            _ => 0,
        };
        Ok(Observed { recorded, lost, cut, cpu_seconds, disk_bytes: disk_bytes(&self.out)? })
    }
}

/// Bytes of a file, or of the files in a folder.
pub(crate) fn disk_bytes(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn tcpdump(out: &Path, snaplen: &str) -> Running {
    let mut command = Command::new("tcpdump");
    command.args(["-i", "lo", "-n", "-Z", "root", "-B", TCPDUMP_BUFFER_KIB, "-s", snaplen, "-w"]).arg(out);
    let mut running = Running::start(&mut command);
    running.wait_for_stderr("listening on");
    running
}

/// Records of packets that are stored and lost, from the recording's own account.
fn kcap_account(folder: &Path) -> Result<(u64, u64)> {
    let capture = Capture::open(folder)?;
    let (mut stored, mut lost) = (0, 0);
    for segment in &capture.segments {
        for report in segment.all_losses()? {
            if PACKET_PROGRAMS.contains(&report.program) {
                stored += report.stored;
                lost += report.lost.iter().map(|lost| lost.count).sum::<u64>();
            }
        }
    }
    Ok((stored, lost))
}

/// Packets of a recording at full snaplen of which less was kept. The payload of an arriving copy is with the leaving one.
fn cut_packets(folder: &Path) -> Result<u64> {
    let mut cut = 0;
    for segment in &Capture::open(folder)?.segments {
        for block in segment.blocks_of(BlockType::PACKETS) {
            let batch = segment.packets(block, PacketColumns::META | PacketColumns::HEADER)?;
            for (row, header_len) in batch.header.lens().enumerate() {
                let kept = header_len + batch.payload_len[row];
                let is_left_out = batch.flags[row] & packet_flags::PAYLOAD_WITH_LEAVING_COPY != 0;
                cut += u64::from(!is_left_out && kept < batch.wire_len[row].min(FULL_SNAPLEN_BYTES));
            }
        }
    }
    Ok(cut)
}

/// The same from what tcpdump says at its end.
fn tcpdump_account(said: &str) -> Result<(u64, u64)> {
    let number = |suffix: &str| -> Result<u64> {
        let line = said.lines().find_map(|line| line.strip_suffix(suffix));
        line.and_then(|number| number.parse().ok()).with_context(|| format!("tcpdump said: {said}"))
    };
    Ok((number(" packets captured")?, number(" packets dropped by kernel")?))
}

/// Processor time of all children that were waited for.
fn children_cpu() -> Result<Duration> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.unsigned_abs()))
}
