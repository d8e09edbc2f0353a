//! Where the wall clock was set back inside a block, the times of its first and last record say little of those between: filters
//! on `ts` once left out blocks that held what was asked for, and exports were out of order.

mod support;

use std::process::Command;

use kcap_format::{Direction, PacketBatch, proto};
use support::{BOOT_REALTIME_NS, DNS_COOKIE, HOST, RESOLVER, Recorder, clock, row, udp};

const MILLISECOND_NS: u64 = 1_000_000;

/// Two blocks over 2.1 s in which the clock is set back by 1.5 s. The lengths of packets are their wall times since boot in ms.
fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segment = Recorder::new(folder.path()).segment();
    let set_back = |boot_ms: u64| proto::ClockSample {
        realtime_ns: BOOT_REALTIME_NS + (boot_ms - 1500) * MILLISECOND_NS,
        ..clock(boot_ms * MILLISECOND_NS)
    };
    segment.clocks(&[clock(2000 * MILLISECOND_NS), set_back(2001), set_back(3000)]);
    for packets in [&[(1500, 1500)][..], &[(1800, 1800), (2000, 2000), (2100, 600), (2900, 1400)]] {
        let mut batch = PacketBatch::default();
        for (boot_ms, wall_ms) in packets {
            let header = udp((HOST, 1000), (RESOLVER, 53), 1, 0);
            let row = row(boot_ms * MILLISECOND_NS, Direction::Egress, DNS_COOKIE, *wall_ms);
            batch.push(&row, &header, &[]);
        }
        segment.packets(&batch);
    }
    segment.seal();
    folder
}

fn query(sql: &str) -> String {
    let folder = recording();
    let output = Command::new(env!("CARGO_BIN_EXE_kcap"))
        .arg("sql")
        .arg(folder.path())
        .args(["--format", "csv", "-c", sql])
        .output()
        .expect("kcap runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_once('\n').map(|(_, rows)| rows.trim_end().replace('\n', " ")).unwrap_or_default()
}

#[test]
fn filters_find_what_lies_between() {
    assert_eq!(query("SELECT len FROM packets WHERE ts > '2026-01-01T00:00:01.9Z'"), "2000");
    assert_eq!(query("SELECT len FROM packets WHERE ts < '2026-01-01T00:00:01Z'"), "600");
    assert_eq!(
        query("SELECT first_ts, last_ts FROM segments"),
        "2026-01-01T00:00:00.501Z,2026-01-01T00:00:02Z"
    );
}

#[test]
fn exports_are_in_the_order_of_the_wall_clock() {
    use pcap_file::pcapng::{Block, PcapNgReader};
    let folder = recording();
    let output = Command::new(env!("CARGO_BIN_EXE_kcap"))
        .args(["convert", "--to", "pcapng"])
        .arg(folder.path())
        .arg("-")
        .output()
        .expect("kcap runs");
    let mut reader = PcapNgReader::new(&output.stdout[..]).expect("a section header");
    let mut lengths = Vec::new();
    while let Some(block) = reader.next_block() {
        if let (Block::EnhancedPacket(packet), _) = block.expect("a whole block") {
            lengths.push(packet.original_len);
        }
    }
    assert_eq!(lengths, [600, 1400, 1500, 1800, 2000]);
}
