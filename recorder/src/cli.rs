//! The command line of `kcap-record`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use kcap_format::{Effort, Recipient};
use kcap_recorder_ebpf::{ARGUMENTS_LEN_MAX, ENVIRONMENT_LEN_MAX, SNAPLEN_MAX};
use tracing::level_filters::LevelFilter;

use crate::capture_switch::CaptureMode;
use crate::condition::{Condition, RuleSet};
use crate::config::{Config, PayloadTask};
use crate::container::SocketChoice;
use crate::enrich::Environment;
use crate::filter::PacketFilter;
use crate::payload::{self, Payload};
use crate::units::{parse_duration, parse_size};
use crate::{probe, run};

/// Exit status when recording failed; clap exits with 2 for usage.
const EXIT_FAILURE: u8 = 1;
/// Levels that zstd knows.
const COMPRESSION_LEVELS: std::ops::RangeInclusive<i32> = -7..=19;

/// Records what the kernel of this host sees: packets, and the sockets and processes behind them.
#[derive(Debug, Parser)]
#[command(name = "kcap-record", version, about, propagate_version = true)]
#[command(after_help = "Examples:
  kcap-record doctor                        see what this kernel allows
  kcap-record run -o capture                record until Ctrl-C
  kcap-record run -o capture --duration 10s --snaplen headers
  kcap-record run -o capture --filter 'tcp port 443'")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// What the declarations can't say.
    fn check(&self) -> Result<(), clap::Error> {
        match &self.command {
            Command::Run(args) if args.sync_interval.is_some() && args.fsync != Fsync::Interval => {
                let message =
                    format!("--sync-interval goes with --fsync interval, not with --fsync {}", args.fsync);
                Err(Self::command().error(ErrorKind::ArgumentConflict, message))
            }
            Command::Run(args)
                if args.snaplen == Snaplen::Headers
                    && (args.payload_per_flow.is_some() || !args.payload().is_compatible_with_headers()) =>
            {
                let message =
                    "--snaplen headers keeps no payload: leave it out, or --payload and --payload-per-flow";
                Err(Self::command().error(ErrorKind::ArgumentConflict, message))
            }
            Command::Run(args) if args.snaplen == Snaplen::Headers && !args.payload_tasks().is_empty() => {
                let message = "--snaplen headers keeps no payload, of tasks neither: leave it out, only headers are kept of \
                               the rest";
                Err(Self::command().error(ErrorKind::ArgumentConflict, message))
            }
            Command::Run(args) if !args.interface.is_empty() && args.asks_for_owners() => {
                let message = "--where and payload tasks ask for the packets of sockets, and frames that arrive have none \
                               yet: leave out --interface, or record all frames and choose by process in kcap sql";
                Err(Self::command().error(ErrorKind::ArgumentConflict, message))
            }
            Command::Run(args) if args.interface.is_empty() && args.frames_only().is_some() => {
                let message =
                    format!("--filter without --interface: {}", args.frames_only().unwrap_or_default());
                Err(Self::command().error(ErrorKind::ValueValidation, message))
            }
            Command::Run(args) => args
                .rules()
                .map(drop)
                .map_err(|message| Self::command().error(ErrorKind::ValueValidation, message)),
            Command::Doctor => Ok(()),
        }
    }
}

impl RunArgs {
    /// Tasks of the file, in the order of their rules.
    pub(crate) fn payload_tasks(&self) -> &[PayloadTask] {
        self.config.as_ref().map_or(&[], |config| &config.payload)
    }

    /// How much payload is kept of packets of no task: beside tasks, none unless it was asked for.
    pub(crate) fn payload(&self) -> Payload {
        let is_rest = !self.payload_tasks().is_empty() && self.payload_per_flow.is_none();
        self.payload.unwrap_or(if is_rest { Payload::Bytes(0) } else { Payload::Full })
    }

    /// The conditions as rules: those of `--where`, then those of each task.
    pub(crate) fn rules(&self) -> Result<RuleSet, String> {
        let mut rules = RuleSet::new(self.conditions.clone(), self.follow_children)?;
        for task in self.payload_tasks() {
            rules.add(task.conditions.clone(), task.follow_children)?;
        }
        let nowhere =
            [&self.docker_socket, &self.cri_socket].iter().all(|choice| **choice == SocketChoice::Nowhere);
        if rules.needs_runtime() && nowhere {
            let message = "a condition asks for names or labels, which runtimes know: leave --docker-socket or --cri-socket on";
            return Err(message.to_owned());
        }
        Ok(rules)
    }

    /// Which packets are recorded, or how, depends on whose they are.
    fn asks_for_owners(&self) -> bool {
        !self.conditions.is_empty() || !self.payload_tasks().is_empty()
    }

    /// Why the filter can be asked of frames alone; `None` when packets of sockets will do.
    fn frames_only(&self) -> Option<&str> {
        self.filter.as_ref()?.network.as_ref().err().map(String::as_str)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    /// Show what this kernel allows, and which hooks would be used
    ///
    /// Exits with 1 when recording is not possible, and says why. Nothing is attached or recorded.
    #[command(after_help = "Example:\n  sudo kcap-record doctor")]
    Doctor,
}

/// Record into a folder until Ctrl-C, SIGTERM, SIGHUP or the end of --duration.
///
/// The folder gets segment files that `kcap sql`, `kcap info` and `kcap convert` read, also while recording
/// goes on. What could not be recorded is counted by cause, in the segments and in the summary at the end.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kcap-record run -o capture --duration 10s
  kcap-record run -o /var/lib/kcap --segment-time 1m --max-disk 20GiB
  kcap-record run -o capture --snaplen headers --packet-buffer 256MiB
  kcap-record run -o capture --where container.label=tier=web --where user.id=33
  kcap-record run -o capture --config tasks.toml

Sizes are numbers with a unit (512KiB, 64MiB, 1.5GiB), durations likewise (500ms, 10s, 1m30s).
Ctrl-C writes what was seen, seals the last segment and prints a summary; a second one gives up at once.")]
pub(crate) struct RunArgs {
    /// Folder for the segments; it is made if there is none
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Stop after this time [default: record until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub(crate) duration: Option<Duration>,
    /// Most bytes to keep of a packet, or 'headers': network and transport headers only. TCP over loopback
    /// makes packets of up to 262144 bytes
    #[arg(long, value_name = "BYTES", default_value = "65535", value_parser = parse_snaplen)]
    pub(crate) snaplen: Snaplen,
    /// Payload to keep of each packet behind its headers: 'none', 'full' (what --snaplen leaves), or most bytes [default:
    /// full; none of packets of no task when --config has payload tasks]
    #[arg(long, value_name = "BYTES", value_parser = Payload::parse)]
    pub(crate) payload: Option<Payload>,
    /// Keep no more payload of each direction of a flow than this, its first bytes; headers of all that follows
    #[arg(long, value_name = "SIZE", value_parser = payload::parse_flow_len)]
    pub(crate) payload_per_flow: Option<u32>,
    /// Record only packets that match, in the language of tcpdump (pcap-filter(7)), for example 'tcp port 443 and not
    /// host 10.0.0.1'. It runs in the kernel, and what doesn't match is counted as filtered. Sockets and processes are
    /// recorded all the same
    #[arg(long, value_name = "EXPRESSION", value_parser = PacketFilter::parse)]
    pub(crate) filter: Option<PacketFilter>,
    /// File with payload tasks: tables [[payload]] in TOML, each with a name and the conditions for which whole packets are
    /// recorded, beside the headers of all others; see spec/config.md
    #[arg(long, value_name = "FILE", value_parser = Config::open)]
    pub(crate) config: Option<Config>,
    /// Record the frames of this interface, with forwarded ones and those of no socket (ARP), instead of the packets of all
    /// sockets. Several may be given, or 'any' for all that there are and will be. Where kernel programs can't be loaded,
    /// this still works, through AF_PACKET; of processes, only what /proc shows every few seconds is known then
    #[arg(short, long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,
    /// Begin a new segment when one has this size
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_segment_size)]
    pub(crate) segment_size: u64,
    /// Begin a new segment when one has this age
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = positive_duration)]
    pub(crate) segment_time: Duration,
    /// Remove the oldest segments of the folder so that all together stay below this size
    #[arg(long, value_name = "SIZE", value_parser = parse_disk_size)]
    pub(crate) max_disk: Option<u64>,
    /// Ring between kernel and recorder for packets, a power of two
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_ring_size)]
    pub(crate) packet_buffer: u32,
    /// Ring between kernel and recorder for processes and sockets, a power of two
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_ring_size)]
    pub(crate) event_buffer: u32,
    /// Most bytes to keep of a program's arguments, up to 32767; what is longer is cut, and how much is recorded
    #[arg(long, value_name = "SIZE", default_value = "4096", value_parser = parse_arguments_size)]
    pub(crate) arguments_size: u32,
    /// What to keep of a program's environment
    #[arg(long, value_name = "WHAT", default_value = "names")]
    pub(crate) environment: Environment,
    /// Most bytes to look at of a program's environment, up to 16383
    #[arg(long, value_name = "SIZE", default_value = "4096", value_parser = parse_environment_size)]
    pub(crate) environment_size: u32,
    /// Record which memory programs make executable (mmap and mprotect with PROT_EXEC). It makes every system call of the
    /// host a little slower
    #[arg(long)]
    pub(crate) executable_mappings: bool,
    /// zstd level, or 'stored'; lower ones are used while the recorder can't keep up
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = parse_effort, allow_hyphen_values = true)]
    pub(crate) compression_level: Effort,
    /// Threads that compress [default: one for each processor, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
    /// How far compressing and writing give way to the host's own work, as nice(1): 0 not at all, 19 most
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u8).range(0..=19))]
    pub(crate) nice: u8,
    /// How little may be kept of packets while the recorder can't keep up. Each step is recorded, and lost packets are
    /// counted
    #[arg(long, value_name = "LEAST", default_value = "counts")]
    pub(crate) degrade_to: DegradeTo,
    /// When to sync to disk: what a crash of the host may cost. A crash of the recorder costs what it has not yet
    /// written, at most the last second
    #[arg(long, value_name = "WHEN", default_value = "interval")]
    pub(crate) fsync: Fsync,
    /// With --fsync interval: sync this often [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub(crate) sync_interval: Option<Duration>,
    /// Keep the payload of loopback packets twice, with the leaving and with the arriving copy
    #[arg(long)]
    pub(crate) keep_local_copies: bool,
    /// Encrypt packets and events to this age public key (age1…), or to several. This host can't read them back; `kcap
    /// --identity` can, with the secret key
    #[arg(long, value_name = "RECIPIENT", num_args = 1..)]
    pub(crate) encrypt_to: Vec<Recipient>,
    /// Record only the packets of these: process.pid, process.name, process.exe, user.id, container.id, container.name,
    /// container.label (a key, or key=value), pod.id, pod.name, pod.namespace, pod.label. Several of one key are
    /// alternatives, different keys must all hold. It is about the packets of sockets, not about frames (--interface)
    #[arg(long = "where", value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    pub(crate) conditions: Vec<Condition>,
    /// With --where: what holds for a process holds for its children
    #[arg(long, requires = "conditions")]
    pub(crate) follow_children: bool,
    /// Where Docker, or Podman, is asked for names, images and labels of containers: a Unix socket, 'auto' for the usual
    /// ones, or 'none'
    #[arg(long, value_name = "SOCKET", default_value = "auto")]
    pub(crate) docker_socket: SocketChoice,
    /// The same for the Container Runtime Interface of Kubernetes (containerd, CRI-O), which knows pods too
    #[arg(long, value_name = "SOCKET", default_value = "auto")]
    pub(crate) cri_socket: SocketChoice,
    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log more: -v what the recorder does, -vv how
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How to log to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

impl RunArgs {
    /// No payload is captured of any packet.
    pub(crate) fn captures_headers_only(&self) -> bool {
        let of_tasks = self.payload_tasks().iter().any(|task| !task.skip_payload);
        let of_others = self.payload() != Payload::Bytes(0) && self.payload_per_flow != Some(0);
        self.snaplen == Snaplen::Headers || !of_tasks && !of_others
    }
}

/// How little is kept of packets under pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DegradeTo {
    /// What was asked for, or nothing: the ring overflows, which costs whole packets at random
    Full,
    /// Headers
    Headers,
    /// Headers first, then only the number of packets, until what waits is written
    Counts,
}

impl DegradeTo {
    pub(crate) fn mode(self) -> CaptureMode {
        match self {
            Self::Full => CaptureMode::Full,
            Self::Headers => CaptureMode::Headers,
            Self::Counts => CaptureMode::Counts,
        }
    }
}

impl std::fmt::Display for DegradeTo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value().unwrap_or_default();
        formatter.write_str(value.get_name())
    }
}

/// When the open segment is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fsync {
    /// Only when a segment ends: a crash of the host may cost what the system had not yet written back
    Never,
    /// Each block before the next: a crash of the host costs what was not yet written. Slow
    Block,
    /// Every --sync-interval
    Interval,
}

impl std::fmt::Display for Fsync {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value().unwrap_or_default();
        formatter.write_str(value.get_name())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// How much of a packet is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snaplen {
    Headers,
    Bytes(u32),
}

impl std::fmt::Display for Snaplen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Headers => formatter.write_str("headers"),
            Self::Bytes(len) => write!(formatter, "{len}"),
        }
    }
}

/// Runs `kcap-record` with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = cli.check() {
        error.exit();
    }
    let result = match cli.command {
        Command::Run(args) => {
            start_log(&args);
            run::run(&args)
        }
        Command::Doctor => doctor(),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be gone too.
            let _ = writeln!(io::stderr(), "kcap-record: {error:#}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn doctor() -> Result<ExitCode> {
    let report = probe::doctor();
    write!(io::stdout(), "{report}")?;
    io::stdout().flush()?;
    Ok(if report.is_fit() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn start_log(args: &RunArgs) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    // A terminal that is gone must not end the recording: a failure to log is not logged, which would panic.
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    // A second log in one process, as in tests, is no failure.
    let _ = match args.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(duration) }
}

fn parse_snaplen(text: &str) -> Result<Snaplen, String> {
    if text == "headers" {
        return Ok(Snaplen::Headers);
    }
    match text.parse() {
        Ok(len @ 1..=SNAPLEN_MAX) => Ok(Snaplen::Bytes(len)),
        _ => Err(format!("give 1 to {SNAPLEN_MAX} bytes, or 'headers'")),
    }
}

fn parse_segment_size(text: &str) -> Result<u64, String> {
    at_least(parse_size(text)?, run::SEGMENT_LEN_MIN)
}

fn parse_disk_size(text: &str) -> Result<u64, String> {
    at_least(parse_size(text)?, run::DISK_LEN_MIN)
}

fn at_least(size: u64, least: u64) -> Result<u64, String> {
    if size >= least {
        Ok(size)
    } else {
        Err(format!("must be at least {}", crate::units::format_size(least)))
    }
}

fn parse_ring_size(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    match u32::try_from(size) {
        Ok(len) if len.is_power_of_two() && run::RING_LENS.contains(&len) => Ok(len),
        _ => Err("must be a power of two from 256KiB to 1GiB, e.g. 64MiB".to_owned()),
    }
}

fn parse_arguments_size(text: &str) -> Result<u32, String> {
    at_most(parse_size(text)?, ARGUMENTS_LEN_MAX)
}

fn parse_environment_size(text: &str) -> Result<u32, String> {
    at_most(parse_size(text)?, ENVIRONMENT_LEN_MAX)
}

fn at_most(size: u64, most: u32) -> Result<u32, String> {
    u32::try_from(size)
        .ok()
        .filter(|size| *size <= most)
        .ok_or_else(|| format!("must be at most {most} bytes"))
}

fn parse_effort(text: &str) -> Result<Effort, String> {
    if text == "stored" {
        return Ok(Effort::Stored);
    }
    match text.parse() {
        Ok(level) if level != 0 && COMPRESSION_LEVELS.contains(&level) => Ok(Effort::Zstd { level }),
        _ => {
            let (first, last) = (COMPRESSION_LEVELS.start(), COMPRESSION_LEVELS.end());
            Err(format!("give a level from {first} to {last} other than 0, or 'stored'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<RunArgs, clap::Error> {
        let words = ["kcap-record", "run"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words)?;
        cli.check().map(|()| match cli.command {
            Command::Run(args) => *args,
            Command::Doctor => panic!("not doctor"),
        })
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let args = args("-o out").unwrap();
        assert_eq!((args.snaplen, args.segment_size), (Snaplen::Bytes(65_535), 256 << 20));
        assert_eq!((args.packet_buffer, args.event_buffer), (64 << 20, 16 << 20));
        assert_eq!((args.duration, args.max_disk), (None, None));
        assert!(matches!(args.compression_level, Effort::Zstd { level: 3 }));
        assert_eq!((args.fsync, args.sync_interval), (Fsync::Interval, None));
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(args("-o out --snaplen headers --duration 10").unwrap().snaplen, Snaplen::Headers);
        assert!(matches!(
            args("-o o --compression-level -5").unwrap().compression_level,
            Effort::Zstd { level: -5 }
        ));
        for bad in [
            "",
            "-o out --snaplen 0",
            "-o out --snaplen 262145",
            "-o out --duration 0s",
            "-o out --duration soon",
            "-o out --packet-buffer 65MiB",
            "-o out --packet-buffer 4GiB",
            "-o out --segment-size 10",
            "-o out --max-disk 1KiB",
            "-o out --compression-level 0",
            "-o out --compression-level 99",
            "-o out --threads 0",
            "-o out --no-such-option",
            "-o out -q -v",
            "-o out --degrade-to nothing",
            "-o out --fsync sometimes",
            "-o out --docker-socket docker.sock",
            "-o out --where process.nmae=x",
            "-o out --where container.name",
            "-o out --follow-children",
            "-o out --where container.name=x --docker-socket none --cri-socket none",
            "-o out --arguments-size 32768",
            "-o out --environment-size 16KiB",
            "-o out --environment some",
            "-o out --encrypt-to",
            "-o out --encrypt-to age1nobody",
            "-o out --fsync never --sync-interval 2s",
            "-o out --payload some",
            "-o out --payload-per-flow 8GiB",
            "-o out --snaplen headers --payload 10",
            "-o out --snaplen headers --payload-per-flow 1KiB",
            "-o out --filter tcp[",
            "-o out --filter vlan",
        ] {
            assert_eq!(args(bad).err().map(|error| error.exit_code()), Some(2), "{bad}");
        }
    }

    #[test]
    fn beside_tasks_only_headers_are_kept_unless_more_is_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let task = "[[payload]]\nname = 'a'\nconditions = ['user.id=1']\n";
        for (text, more, payload, headers_only) in [
            ("", "", Payload::Full, false),
            (task, "", Payload::Bytes(0), false),
            (&format!("{task}skip_payload = true\n"), "", Payload::Bytes(0), true),
            (task, "--payload full", Payload::Full, false),
            (task, "--payload 10", Payload::Bytes(10), false),
            (task, "--payload-per-flow 1KiB", Payload::Full, false),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let args = args(&format!("-o out --config {path} {more}")).unwrap();
            assert_eq!(
                (args.payload(), args.captures_headers_only()),
                (payload, headers_only),
                "{text} {more}"
            );
        }
        assert!(args(&format!("-o out --config {path} --snaplen headers")).is_err());
        std::fs::write(file.path(), task.replace("user.id=1", "pod.name=a")).unwrap();
        assert!(args(&format!("-o out --config {path} --docker-socket none --cri-socket none")).is_err());
    }
}
