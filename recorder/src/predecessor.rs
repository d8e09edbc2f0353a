//! What a recorder finds in its folder: the newest segment of the recording before, which a crash may have left without
//! a seal.
//!
//! Such a segment is set aside by leaving it as it is: segments are never written to again, what was synced in it is
//! readable, and that it has no seal tells everyone that its end is missing. The new recording goes on in a segment of
//! its own and notes in it what was found.

use std::path::Path;
use std::time::Instant;

use kcap_format::proto::{Predecessor, predecessor::State};
use kcap_format::{BlockEntry, ReadMode, ReadOptions, Segment, SegmentState};
use tracing::{info, warn};

/// Looks at the newest segment of a folder. Blocks are found from header to header; payloads are only read where the
/// segment doesn't say that they were synced, so that a large one costs milliseconds.
pub(crate) fn examine(path: &Path) -> Predecessor {
    let begun = Instant::now();
    let name = path.file_name().unwrap_or_default();
    let mut found = Predecessor {
        name: name.as_encoded_bytes().to_vec(),
        len: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        ..Predecessor::default()
    };
    match Segment::open_with(path, &ReadOptions::with_mode(ReadMode::Salvage)) {
        Ok(segment) => describe(&segment, &mut found),
        Err(_) => found.set_state(State::Unreadable),
    }
    let took_ms = begun.elapsed().as_millis() as u64;
    let state = found.state().as_str_name().to_ascii_lowercase();
    if found.state() == State::Sealed {
        info!(path = %path.display(), state, took_ms, "newest segment of the recording before");
    } else {
        warn!(path = %path.display(), state, bytes = found.len, synced = found.synced_offset, took_ms,
            "the recording before did not end in order; its last segment stays as it is");
    }
    found
}

fn describe(segment: &Segment, found: &mut Predecessor) {
    found.set_state(match segment.state() {
        SegmentState::Sealed => State::Sealed,
        SegmentState::Unsealed => State::Unsealed,
        SegmentState::Torn { .. } => State::Torn,
        _ => State::Corrupt,
    });
    found.len = segment.len();
    found.segment_id = segment.id().to_vec();
    found.capture_id.clone_from(&segment.file_info().capture_id);
    found.segment_sequence = segment.file_info().segment_sequence;
    found.synced_offset = segment.synced_offset();
    found.block_count = segment.blocks().len() as u32;
    found.entries_digest = BlockEntry::digest_of(segment.blocks()).to_vec();
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcap_format::proto::FileInfo;
    use kcap_format::{BlockEncoder, FileStorage, SegmentWriter};

    /// A segment with two CLOCK blocks, the first of them synced.
    fn writer(path: &Path) -> SegmentWriter<FileStorage> {
        let file = FileInfo { capture_id: vec![7; 16], segment_sequence: 3, ..FileInfo::default() };
        let mut writer = SegmentWriter::create(FileStorage::create(path).unwrap(), &file).unwrap();
        let block = BlockEncoder::new().clock(&[crate::clock::sample()]);
        writer.append(&block).unwrap();
        writer.sync().unwrap();
        writer.append(&block).unwrap();
        writer
    }

    #[test]
    fn each_state_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000003-20260101T000000Z.kcap");
        let writer = writer(&path);
        let unsealed = examine(&path);
        assert_eq!(
            (unsealed.state(), unsealed.block_count, unsealed.segment_sequence),
            (State::Unsealed, 3, 3)
        );
        assert_eq!(unsealed.segment_id, writer.id());
        assert_eq!((&unsealed.capture_id[..], unsealed.synced_offset), (&[7; 16][..], writer.synced_len()));
        assert_eq!(unsealed.name, b"000003-20260101T000000Z.kcap");
        writer.seal().unwrap();
        let sealed = examine(&path);
        assert_eq!((sealed.state(), sealed.synced_offset), (State::Sealed, sealed.len));
        assert_eq!((sealed.block_count, &sealed.entries_digest), (3, &unsealed.entries_digest));

        let bytes = std::fs::read(&path).unwrap();
        for (keep, state, block_count) in [
            (unsealed.len as usize - 1, State::Torn, 2),
            (unsealed.synced_offset as usize, State::Unsealed, 2),
            (20, State::Unreadable, 0),
        ] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let found = examine(&path);
            assert_eq!((found.state(), found.block_count, found.len), (state, block_count, keep as u64));
        }
        let mut damaged = bytes[..unsealed.len as usize].to_vec();
        let second_block = damaged[8..].windows(8).position(|bytes| bytes == &damaged[..8]).unwrap() + 8;
        damaged[second_block + 20] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(examine(&path).state(), State::Corrupt);
    }
}
