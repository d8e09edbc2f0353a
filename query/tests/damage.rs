//! One flipped byte in a sealed segment once made every query fail. Now the block that it is in is left out, and every answer
//! that misses it says so.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kcap_format::{BlockEntry, BlockType, Segment};

fn kcap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs")
}

fn csv(path: &Path, sql: &str) -> (String, String) {
    let output = kcap(&["sql", text(path), "--format", "csv", "-c", sql]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{sql}: {said}");
    let rows = String::from_utf8(output.stdout).expect("text");
    (rows.split_once('\n').map(|(_, rows)| rows.trim_end().to_owned()).unwrap_or_default(), said)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Bytes of a block's header (spec/segment.md).
const HEADER_LEN: u64 = 96;

fn is_web(block: &BlockEntry) -> bool {
    block.block_type == BlockType::PACKETS && block.record_count == 9
}

/// A recording whose first segment has a bit flipped in the payload of a block: `place` bytes behind its begin.
fn damaged(choose: impl Fn(&BlockEntry) -> bool, place: u64) -> (tempfile::TempDir, PathBuf, BlockEntry) {
    let folder = tempfile::tempdir().expect("a folder");
    support::web_recording(folder.path());
    let path = folder.path().join("000001.kcap");
    let segment = Segment::open(&path).expect("a segment");
    let block = *segment.blocks().iter().find(|block| choose(block)).expect("such a block");
    let place = place.min(u64::from(block.stored_len) - 1);
    let mut bytes = std::fs::read(&path).expect("a segment");
    bytes[(block.offset + HEADER_LEN + place) as usize] ^= 0x10;
    std::fs::write(&path, bytes).expect("a file");
    (folder, path, block)
}

#[test]
fn the_other_blocks_answer_when_packets_are_damaged() {
    // The first byte of a payload: the directory of sections.
    let (folder, path, block) = damaged(is_web, 0);
    let (rows, said) = csv(folder.path(), "SELECT count(*) FROM packets");
    // Two of DNS, and the arrival in the second segment, whose departure is lost.
    assert_eq!(rows, "3");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(text(&path)) && said.contains("9 records left out"), "{said}");
    assert!(said.contains(&format!("at offset {}", block.offset)), "{said}");
    let counted =
        "SELECT count(*) AS n FROM packets; SELECT segment, damaged_blocks FROM segments ORDER BY 1";
    assert_eq!(csv(folder.path(), counted).0, "3\nsegment,damaged_blocks\n1,1\n2,0");
    // What does not read the block misses nothing.
    assert_eq!(csv(folder.path(), "SELECT count(*) FROM processes"), ("2".to_owned(), String::new()));

    let pcapng = kcap(&["convert", "--to", "pcapng", text(folder.path()), "-"]);
    assert!(pcapng.status.success());
    assert!(String::from_utf8_lossy(&pcapng.stderr).contains("9 records left out"));
    let lake = folder.path().join("lake");
    let parquet = kcap(&["convert", "--to", "parquet", text(folder.path()), text(&lake)]);
    assert!(parquet.status.success());
    assert!(String::from_utf8_lossy(&parquet.stderr).contains("9 records left out"));
    assert_eq!(csv(&lake, "SELECT sum(damaged_blocks) FROM segments").0, "1");
}

/// A segment without SEAL that is damaged in its middle was once told to be cut short there.
#[test]
fn what_lies_behind_damage_is_used_and_said_to_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segment = support::Recorder::new(folder.path()).segment();
    for number in 0..3 {
        segment
            .events(&[support::exec(support::START_NS, support::process(100 + number, "true", &["true"]))]);
    }
    drop(segment);
    let path = folder.path().join("000001.kcap");
    let opened = Segment::open(&path).expect("a segment");
    let block = *opened.blocks_of(BlockType::EVENTS).nth(1).expect("a second block");
    let mut bytes = std::fs::read(&path).expect("a segment");
    bytes[(block.offset + HEADER_LEN) as usize] ^= 0x10;
    std::fs::write(&path, &bytes).expect("a file");
    let (rows, said) = csv(folder.path(), "SELECT pid FROM processes ORDER BY 1");
    assert_eq!(rows, "100\n102");
    assert!(said.contains(&format!("damaged at offset {}", block.offset)), "{said}");
    assert!(said.contains("bytes skipped; the rest is used") && !said.contains(" 0 bytes"), "{said}");

    std::fs::write(&path, &bytes[..block.offset as usize + 8]).expect("a file");
    let (rows, said) = csv(folder.path(), "SELECT pid FROM processes ORDER BY 1");
    assert_eq!(rows, "100");
    assert!(said.contains("cut short") && said.contains("everything before it is used"), "{said}");
}

/// The payload's sections lie last in a block.
#[test]
fn packets_stay_when_only_their_payload_is_damaged() {
    let (folder, _, _) = damaged(is_web, u64::MAX);
    let (rows, said) = csv(folder.path(), "SELECT count(*), sum(len) FROM packets");
    assert_eq!((rows.as_str(), said.as_str()), ("7,355", ""));
    let (rows, said) = csv(folder.path(), "SELECT count(*), count(payload) FROM packets");
    assert_eq!(rows, "7,2");
    assert!(said.contains("the payloads of 9 packets left out"), "{said}");
}

#[test]
fn damaged_events_and_losses_are_left_out() {
    let (folder, _, _) = damaged(|block| block.block_type == BlockType::EVENTS, 0);
    let (rows, said) = csv(folder.path(), "SELECT count(process_name) FROM packets WHERE dst_port = 53");
    assert_eq!(rows, "0", "the owner is not known");
    assert!(said.contains("6 records left out"), "{said}");

    let (folder, path, block) = damaged(|block| block.block_type == BlockType::LOSS, 0);
    let (rows, said) = csv(folder.path(), "SELECT program, seen FROM losses");
    assert_eq!(rows, "packet_ingress,1\nprocess_exit,2");
    assert!(
        said.contains(&format!(
            "3 records left out: 1 block is damaged, the first at offset {}",
            block.offset
        ))
    );
    let info = kcap(&["info", text(&path)]);
    assert!(info.status.success());
    let shown = String::from_utf8_lossy(&info.stdout);
    assert!(shown.contains("(sealed, damaged blocks: 1)"), "{shown}");
    assert!(shown.contains("losses     unknown: 17 of 17 records have no account"), "{shown}");
    assert!(String::from_utf8_lossy(&info.stderr).contains("3 records left out"));
}
