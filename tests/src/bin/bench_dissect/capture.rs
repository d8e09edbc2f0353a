//! Long captures, made of short ones.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kcap_tests::binary;

/// Time between two repetitions, in seconds: longer than any timeout of a flow.
const REPETITION_GAP_S: u32 = 600;
const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
const ETHERNET_HEADER_LEN: usize = 14;
const MEGABYTE: u64 = 1_000_000;
/// Makes long captures of the collection's blend.
const EXPAND: &str = "../shared/bench/expand_capture.py";
/// The blend of the collection.
const BLEND: &str = "../shared/bench/base.pcap.zst";

/// A packet with its time.
struct Packet {
    seconds: u32,
    microseconds: u32,
    wire_len: u32,
    frame: Vec<u8>,
}

/// Repeats captures of `testdata/` until the file has so many megabytes; both addresses of repetition k are XORed with k, so that
/// its conversations are others.
pub(crate) fn repeat(names: &[&str], out: &Path, megabytes: u32) -> Result<()> {
    let mut packets = Vec::new();
    let mut header = Vec::new();
    for name in names {
        let path = binary::repository().join("testdata").join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            bytes.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]) && bytes.get(20..24) == Some(&[1, 0, 0, 0]),
            "{}: not an Ethernet pcap file with microseconds",
            path.display()
        );
        header = bytes[..FILE_HEADER_LEN].to_vec();
        read(&bytes[FILE_HEADER_LEN..], &mut packets);
    }
    let mut writer = BufWriter::new(File::create(out)?);
    writer.write_all(&header)?;
    let mut written = FILE_HEADER_LEN as u64;
    for repetition in 0.. {
        if written >= u64::from(megabytes) * MEGABYTE {
            break;
        }
        for packet in &packets {
            let mut frame = packet.frame.clone();
            other_addresses(&mut frame, u16::try_from(repetition).context("too many repetitions")?);
            let seconds = packet.seconds.wrapping_add(repetition * REPETITION_GAP_S);
            let len = u32::try_from(frame.len())?;
            for number in [seconds, packet.microseconds, len, packet.wire_len] {
                writer.write_all(&number.to_le_bytes())?;
            }
            writer.write_all(&frame)?;
            written += (RECORD_HEADER_LEN + frame.len()) as u64;
        }
    }
    Ok(writer.flush()?)
}

fn read(mut rest: &[u8], packets: &mut Vec<Packet>) {
    while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER_LEN) {
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let Some((frame, after)) = after.split_at_checked(number(8) as usize) else { return };
        let packet = Packet {
            seconds: number(0),
            microseconds: number(4),
            wire_len: number(12),
            frame: frame.to_vec(),
        };
        packets.push(packet);
        rest = after;
    }
}

/// Changes the addresses of an IP packet. The checksums are wrong then, which neither program looks at.
fn other_addresses(frame: &mut [u8], number: u16) {
    let places = match frame.get(12..ETHERNET_HEADER_LEN) {
        Some([0x08, 0x00]) => [12, 16],
        Some([0x86, 0xdd]) => [8 + 2, 24 + 2],
        _ => return,
    };
    for place in places.map(|place| ETHERNET_HEADER_LEN + place) {
        for (byte, change) in frame.iter_mut().skip(place).zip(number.to_be_bytes()) {
            *byte ^= change;
        }
    }
}

/// A capture with all protocols, and what it is made of.
pub(crate) fn blend(folder: &Path, megabytes: u32) -> Result<(PathBuf, &'static str)> {
    let path = folder.join("blend.pcap");
    let (script, base) = (binary::repository().join(EXPAND), binary::repository().join(BLEND));
    if script.exists() && base.exists() {
        let size = megabytes.to_string();
        let status = Command::new("python3").arg(script).arg(base).arg(&path).arg(size).output()?;
        if !status.status.success() {
            bail!("making the blend failed: {}", String::from_utf8_lossy(&status.stderr));
        }
        return Ok((path, "735 small real captures, repeated with other addresses"));
    }
    let all: Vec<_> = crate::contest::PROTOCOLS.iter().map(|own| own.capture).collect();
    repeat(&all, &path, megabytes)?;
    Ok((path, "the captures of testdata/, repeated with other addresses"))
}
