//! Numbers in files may be any: sums of them stop at the largest, and ids that come again name one packet alone.

mod support;

use std::path::Path;
use std::process::Command;

use kcap_format::proto::LossCause;
use kcap_format::{Direction, PacketBatch};
use support::{HOST, LOOPBACK, RESOLVER, Recorder, START_NS, report, row, udp};

/// What a command of `kcap` prints when all went well.
fn kcap(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcap {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("text")
}

/// The rows of an answer.
fn rows(folder: &Path, sql: &str) -> Vec<String> {
    let answer = kcap(&["sql", folder.to_str().expect("text"), "--format", "csv", "-c", sql]);
    answer.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn accounts_of_any_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let most = u64::MAX;
    let lost = [(LossCause::RingFull, most), (LossCause::RingFull, most), (LossCause::DiskFull, 1)];
    let mut segment = Recorder::new(folder.path()).segment();
    // Of packets that arrive, and of those that leave.
    segment.losses(&[1, 1, 2].map(|program| report(program, most, most, most, &lost)));
    let mut batch = PacketBatch::default();
    for (direction, time_ns) in [(Direction::Ingress, 1), (Direction::Egress, 2), (Direction::Ingress, 3)] {
        let header = udp((HOST, 1000), (RESOLVER, 53), 1, 0);
        batch.push(&row(START_NS + 1_000_000_000 + time_ns, direction, 1, 28), &header, &[]);
    }
    segment.packets(&batch);
    segment.seal();

    let path = folder.path().to_str().expect("text");
    let text = kcap(&["info", path]);
    let account = format!("packet_ingress: seen {most} = filtered {most} + stored {most} + lost {most}");
    assert!(text.contains(&account), "{text}");
    assert!(kcap(&["info", "--json", path]).contains(&most.to_string()));
    let answer =
        rows(folder.path(), "SELECT program, lost, lost_ring_full, lost_disk_full FROM losses LIMIT 1");
    assert_eq!(answer, [format!("packet_ingress,{most},{most},1")]);
    let out = folder.path().join("out.pcapng");
    kcap(&["convert", path, "--to", "pcapng", out.to_str().expect("text")]);
}

#[test]
fn a_packet_id_that_comes_again_in_a_shorter_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::new(folder.path());
    let header = udp((LOOPBACK, 9999), (LOOPBACK, 7777), 7, 30);
    let other = udp((HOST, 1000), (RESOLVER, 53), 1, 30);

    let mut segment = recorder.segment();
    let mut batch = PacketBatch::default();
    for number in 0..999 {
        batch.push(&row(START_NS + number, Direction::Egress, 3, 58), &other, &[0; 30]);
    }
    batch.push(&row(START_NS + 1000, Direction::Egress, 31, 58), &header, &[0; 30]);
    segment.packets(&batch);
    segment.seal();

    // Ids have twenty bits for the segment.
    recorder.skip((1 << 20) - 1);
    let mut segment = recorder.segment();
    let mut batch = PacketBatch::default();
    batch.push(&row(START_NS + 2_000_000, Direction::Ingress, 41, 58), &header, &[0; 30]);
    segment.packets(&batch);
    segment.seal();

    let columns = "direction, socket_cookie, duplicate_of IS NOT NULL";
    let sql = format!("SELECT {columns} FROM packets WHERE dst_port = 7777 ORDER BY ts");
    assert_eq!(rows(folder.path(), &sql), ["egress,31,false"]);
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM packets"), ["1000"]);
    assert_eq!(rows(folder.path(), "SELECT sum(client_packets + server_packets) FROM flows"), ["1000"]);
}
