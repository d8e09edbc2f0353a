//! A sender that keeps a ledger: what it sent and when, whatever becomes of the recorder.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::time::{ClockId, clock_gettime};

use crate::binary;
use crate::command::Running;

/// Bytes that a datagram begins with: its number and its time, both little-endian.
const HEAD_LEN: usize = 16;
/// The sender wakes up so often for a part of what it sends in a second.
const PACE: Duration = Duration::from_millis(1);

/// When each datagram was sent, by its number: nanoseconds since boot, as the recorder's times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    times_ns: Vec<u64>,
}

impl Ledger {
    /// The datagrams that were sent between two times, with the time of each.
    pub fn between(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = (u64, u64)> {
        let numbered = (0..).zip(self.times_ns.iter().copied());
        numbered.filter(move |(_, time_ns)| (from_ns..=to_ns).contains(time_ns))
    }

    /// When a datagram was sent.
    pub fn time_ns(&self, number: u64) -> Option<u64> {
        self.times_ns.get(usize::try_from(number).ok()?).copied()
    }

    /// Datagrams sent.
    pub fn count(&self) -> u64 {
        self.times_ns.len() as u64
    }

    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("the ledger");
        let (times, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty(), "the ledger is whole");
        Self { times_ns: times.iter().copied().map(u64::from_le_bytes).collect() }
    }
}

/// The number of a datagram, from its payload; `None` when its bytes are not those that were sent.
pub fn number_of(payload: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*payload.first_chunk()?);
    let time_ns = u64::from_le_bytes(*payload.get(8..)?.first_chunk()?);
    (payload == datagram(number, time_ns, payload.len())).then_some(number)
}

/// A sender that runs, and somebody who takes what it sends.
#[derive(Debug)]
pub struct LedgerSender {
    sender: Running,
    _receiver: Running,
    file: PathBuf,
    /// Where it sends to.
    pub port: u16,
}

impl LedgerSender {
    /// Sends `rate` datagrams a second of `bytes` bytes each over loopback; the ledger lies in `folder` in the end.
    #[track_caller]
    pub fn start(folder: &Path, rate: u64, bytes: usize) -> Self {
        Self::start_as(folder, rate, bytes, |program| Command::new(program))
    }

    /// The same, with a command that runs the program it is given.
    #[track_caller]
    pub fn start_as(folder: &Path, rate: u64, bytes: usize, command: impl Fn(&Path) -> Command) -> Self {
        let program = binary::kcap_traffic();
        let mut receiver = Running::start(Command::new(&program).args(["sink", "127.0.0.1"]));
        let port: u16 = receiver.wait_for_line("listening ").parse().expect("a port");
        let file = folder.join("ledger");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut sender = command(&program);
        sender.args(["ledger", &address.to_string(), &rate.to_string(), &bytes.to_string()]).arg(&file);
        let mut sender = Running::start(&mut sender);
        sender.wait_for_line("sending");
        Self { sender, _receiver: receiver, file, port }
    }

    /// Ends it, and gives what it sent.
    #[track_caller]
    pub fn stop(self) -> Ledger {
        self.sender.stop(Signal::SIGTERM).success();
        Ledger::read(&self.file)
    }
}

static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

extern "C" fn end(_: libc::c_int) {
    TOLD_TO_END.store(true, Ordering::Relaxed);
}

/// Sends until SIGTERM, then writes the ledger. The body of `kcap-traffic ledger`.
///
/// # Errors
/// When the network or the file system refuses.
pub fn keep(server: SocketAddr, rate: u64, bytes: usize, file: &Path) -> Result<()> {
    ensure!(rate > 0 && bytes >= HEAD_LEN, "a rate, and at least {HEAD_LEN} bytes");
    // SAFETY: the handler stores a flag and nothing else.
    unsafe { signal(Signal::SIGTERM, SigHandler::Handler(end)) }.context("SIGTERM")?;
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { "::".parse()? };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    println!("sending");
    let begun = Instant::now();
    let mut times: Vec<u8> = Vec::new();
    let mut number = 0;
    while !TOLD_TO_END.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
        while number < due && !TOLD_TO_END.load(Ordering::Relaxed) {
            let time_ns = boot_ns();
            socket.send(&datagram(number, time_ns, bytes))?;
            times.extend(time_ns.to_le_bytes());
            number += 1;
        }
        thread::sleep(PACE);
    }
    fs::write(file, times).context("the ledger")
}

/// Nanoseconds since boot, as the recorder stamps packets.
pub fn boot_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux has this clock");
    Duration::from(time).as_nanos() as u64
}

/// Number, time, and bytes that don't compress.
fn datagram(number: u64, time_ns: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    bytes.extend(number.to_le_bytes());
    bytes.extend(time_ns.to_le_bytes());
    let mut state = (number ^ time_ns) | 1;
    while bytes.len() < length {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_tells_its_number_unless_a_bit_is_wrong() {
        let mut payload = datagram(77, 12, 100);
        assert_eq!(number_of(&payload), Some(77));
        payload[99] ^= 1;
        assert_eq!(number_of(&payload), None);
        assert_eq!(number_of(&payload[..10]), None);
    }
}
