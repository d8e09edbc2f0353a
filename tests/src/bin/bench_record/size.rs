//! Bytes on disk, beside those of the same packets in a pcap file compressed with `zstd -3`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kcap_format::{BlockType, Capture};
use kcap_tests::binary;
use serde::Serialize;

use crate::load::{Load, WebServer};
use crate::watcher::Watcher;

/// Shorter than in the rounds: every packet is converted.
const LOAD_TIME: Duration = Duration::from_secs(1);

/// One recording in two forms.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Size {
    pub(crate) load: &'static str,
    pub(crate) recording: &'static str,
    /// Packet records, both copies of local packets.
    pub(crate) kcap_records: u64,
    /// Bytes of the segments, with every event, index and both copies.
    pub(crate) kcap_bytes: u64,
    /// Of these, bytes of the blocks that hold packets.
    pub(crate) kcap_packet_bytes: u64,
    /// Bytes of a pcap file with each packet once, after `zstd -3`.
    pub(crate) pcap_zstd_bytes: u64,
}

/// Records a load, and measures both forms of it.
pub(crate) fn compare(load: Load, watcher: Watcher, scratch: &Path, web_server: &WebServer) -> Result<Size> {
    let running = watcher.start(scratch)?;
    let capture = running.out.clone();
    load.run(LOAD_TIME, web_server)?;
    let observed = running.stop()?;
    Ok(Size {
        load: load.name(),
        recording: watcher.name(),
        kcap_records: observed.recorded,
        kcap_bytes: observed.disk_bytes,
        kcap_packet_bytes: packet_bytes(&capture)?,
        pcap_zstd_bytes: pcap_zstd_bytes(&capture)?,
    })
}

fn packet_bytes(capture: &Path) -> Result<u64> {
    let capture = Capture::open(capture)?;
    let blocks = capture.segments.iter().flat_map(|segment| segment.blocks_of(BlockType::PACKETS));
    Ok(blocks.map(|block| u64::from(block.stored_len)).sum())
}

fn pcap_zstd_bytes(capture: &Path) -> Result<u64> {
    let mut convert = Command::new(binary::kcap())
        .args(["convert", "--to", "pcap"])
        .arg(capture)
        .arg("-")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start kcap")?;
    let pcap = convert.stdout.take().context("kcap's output")?;
    let mut zstd = Command::new("zstd")
        .args(["-3", "-q", "-c"])
        .stdin(pcap)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start zstd")?;
    let bytes = std::io::copy(&mut zstd.stdout.take().context("zstd's output")?, &mut std::io::sink())?;
    ensure!(convert.wait()?.success() && zstd.wait()?.success(), "the conversion to pcap failed");
    Ok(bytes)
}
