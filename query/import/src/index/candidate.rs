//! Guesses where a record begins, in the middle of a file.

use std::io;

use crate::bytes::Bytes;
use crate::format::{Format, Position};
use crate::pcapng;

/// Bytes in which a record must begin for a guess. Packets longer than this are not worth one.
const SEARCH_LEN: usize = 1 << 18;
/// Bytes behind those in which records must follow each other.
const CHAIN_LEN: usize = 1 << 18;
/// Records that must follow each other, unless they reach to the end of these bytes.
const CHAIN_RECORDS: usize = 16;

/// The first place at `start` or behind it from which on what follows looks like records. `None` when there is none near.
/// What has to be known of the records before is taken from `like`: a guess as well.
pub(super) fn find(
    format: &Format,
    bytes: &Bytes,
    start: u64,
    like: Position,
) -> io::Result<Option<Position>> {
    let mut buffer = vec![0; SEARCH_LEN + CHAIN_LEN];
    let len = bytes.read_at(&mut buffer, start)?;
    let buffer = &buffer[..len];
    let (step, begin) = match format {
        Format::Pcap(_) => (1, 0),
        // Blocks are aligned to four bytes.
        Format::Pcapng => (4, usize::try_from(start.next_multiple_of(4) - start).unwrap_or(0)),
    };
    let candidates = (begin..len.min(SEARCH_LEN)).step_by(step);
    let found = candidates.into_iter().find(|at| is_chain(format, &buffer[*at..], like));
    Ok(found.map(|at| Position { offset: start + at as u64, ..like }))
}

fn is_chain(format: &Format, mut bytes: &[u8], like: Position) -> bool {
    for _ in 0..CHAIN_RECORDS {
        let record_len = match format {
            Format::Pcap(format) => format.plausible_len(bytes),
            Format::Pcapng => pcapng::plausible_len(bytes, like.is_big_endian),
        };
        let Some(record_len) = record_len else { return false };
        let Some(rest) = bytes.get(record_len..) else { return false };
        bytes = rest;
    }
    true
}
