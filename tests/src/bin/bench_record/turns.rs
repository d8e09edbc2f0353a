//! kcap and tcpdump taking turns at one load.
//!
//! What they leave of its speed differs by less than two runs of it differ from each other, on a machine that others share. So
//! the load goes on while one recorder after the other comes and goes, and what counts is the ratio of two that followed upon each
//! other.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kcap_tests::command::Running;
use kcap_tests::traffic::free_port;
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::load::{DATAGRAM_BYTES, Load};
use crate::watcher::Watcher;

/// Who takes turns: kcap, and what it is compared with.
const PAIRS: [(Watcher, Watcher); 2] =
    [(Watcher::KcapHeaders, Watcher::TcpdumpHeaders), (Watcher::KcapFull, Watcher::TcpdumpFull)];
/// Until a recorder that says it records has settled down.
const SETTLE_TIME: Duration = Duration::from_millis(400);
/// How long each is looked at.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// The load ends by itself after so long for each recorder of each turn, should nobody end it.
const TURN_SECONDS_MAX: u32 = 10;
/// Longest test that iperf3 takes.
const IPERF3_SECONDS_MAX: u32 = 86_400;

/// How fast the load was while each recorded.
#[derive(Debug)]
pub(crate) struct Turns {
    load: Load,
    /// What was seen in each.
    turns: Vec<Vec<Look>>,
}

/// One recorder at the load.
#[derive(Clone, Copy, Debug)]
struct Look {
    watcher: Watcher,
    /// Datagrams or bytes a second.
    rate: f64,
    lost: u64,
}

/// kcap beside the other one.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    load: &'static str,
    kcap: &'static str,
    other: &'static str,
    turns: usize,
    /// What was sent while kcap recorded, divided by that while the other one did: geometric mean over the turns.
    ratio: f64,
    /// Its standard error; none of a single turn.
    ratio_error: Option<f64>,
    kcap_lost: u64,
    other_lost: u64,
}

impl Turns {
    /// Lets all have so many turns at a load of iperf3.
    pub(crate) fn take(load: Load, count: u32, scratch: &Path) -> Result<Self> {
        let port = free_port().to_string();
        let mut server =
            Running::start(Command::new("iperf3").args(["-s", "-1", "-p", &port, "--forceflush"]));
        server.wait_for_line("Server listening on ");
        let seconds = (count * 2 * PAIRS.len() as u32 * TURN_SECONDS_MAX).min(IPERF3_SECONDS_MAX).to_string();
        let mut client = Command::new("iperf3");
        client.args(["-c", "127.0.0.1", "-p", &port, "-t", &seconds]);
        if load == Load::UdpFlood {
            client.args(["-u", "-b", "0", "-l", DATAGRAM_BYTES]);
        }
        let mut client = Running::start(&mut client);
        let mut turns = Self { load, turns: Vec::new() };
        for index in 0..count {
            eprintln!("turn {} of {count}: {}", index + 1, load.name());
            let mut looks = Vec::new();
            for watcher in order_of(index) {
                looks.push(look(load, watcher, scratch)?);
                ensure!(client.ended().is_none(), "the load ended before all had their turns");
            }
            turns.turns.push(looks);
        }
        drop(client.stop(Signal::SIGTERM));
        drop(server);
        Ok(turns)
    }

    pub(crate) fn comparisons(&self) -> Vec<Comparison> {
        PAIRS.into_iter().map(|(kcap, other)| self.compare(kcap, other)).collect()
    }

    fn compare(&self, kcap: Watcher, other: Watcher) -> Comparison {
        let of = |watcher: Watcher| {
            self.turns.iter().filter_map(move |turn| turn.iter().find(|look| look.watcher == watcher))
        };
        let logarithms: Vec<f64> =
            of(kcap).zip(of(other)).map(|(kcap, other)| (kcap.rate / other.rate).ln()).collect();
        let count = logarithms.len() as f64;
        let mean = logarithms.iter().sum::<f64>() / count;
        let squares: f64 = logarithms.iter().map(|one| (one - mean).powi(2)).sum();
        let ratio = mean.exp();
        Comparison {
            load: self.load.name(),
            kcap: kcap.name(),
            other: other.name(),
            turns: logarithms.len(),
            ratio,
            ratio_error: (count > 1.0).then(|| ratio * (squares / (count - 1.0) / count).sqrt()),
            kcap_lost: of(kcap).map(|look| look.lost).sum(),
            other_lost: of(other).map(|look| look.lost).sum(),
        }
    }
}

/// Two that are compared follow upon each other. Which one comes first changes with each turn, which two with every other.
fn order_of(turn: u32) -> impl Iterator<Item = Watcher> {
    let mut pairs = PAIRS;
    if turn & 2 != 0 {
        pairs.reverse();
    }
    pairs.into_iter().flat_map(move |(kcap, other)| if turn & 1 == 0 { [kcap, other] } else { [other, kcap] })
}

fn look(load: Load, watcher: Watcher, scratch: &Path) -> Result<Look> {
    let sent = if load == Load::UdpFlood { datagrams_sent } else { bytes_sent };
    let watching = watcher.start(scratch)?;
    thread::sleep(SETTLE_TIME);
    let (before, begun) = (sent()?, Instant::now());
    thread::sleep(LOOK_TIME);
    let (after, lasted) = (sent()?, begun.elapsed());
    let observed = watching.stop()?;
    ensure!(after > before, "nothing was sent");
    Ok(Look { watcher, rate: (after - before) as f64 / lasted.as_secs_f64(), lost: observed.lost })
}

/// `OutDatagrams` of this network namespace (RFC 4113, udpOutDatagrams).
fn datagrams_sent() -> Result<u64> {
    let table = fs::read_to_string("/proc/net/snmp").context("cannot read /proc/net/snmp")?;
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(name, value)| (name == "OutDatagrams").then(|| value.parse().ok())?)
        .context("/proc/net/snmp has no OutDatagrams")
}

/// Bytes that left through the loopback device.
fn bytes_sent() -> Result<u64> {
    const COUNTER: &str = "/sys/class/net/lo/statistics/tx_bytes";
    let count = fs::read_to_string(COUNTER).with_context(|| format!("cannot read {COUNTER}"))?;
    count.trim().parse().with_context(|| format!("{COUNTER} is no number"))
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comparison in self.comparisons() {
            writeln!(
                f,
                "{:22} {:13} / {:16} {:.3}, standard error {}, {} turns; lost {} and {} packets",
                comparison.load,
                comparison.kcap,
                comparison.other,
                comparison.ratio,
                comparison.ratio_error.map_or("unknown".to_owned(), |error| format!("{error:.3}")),
                comparison.turns,
                comparison.kcap_lost,
                comparison.other_lost
            )?;
        }
        Ok(())
    }
}
