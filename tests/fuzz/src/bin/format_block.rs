//! Any bytes as a segment, in each reading mode, block by block.
#![no_main]

use kcap_fuzz::segment::{MODES, open, read};

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    for mode in MODES {
        let Ok(segment) = open(data, mode) else { continue };
        assert!(segment.skipped_len() <= segment.len());
        for block in segment.blocks() {
            assert!(block.offset + 96 + u64::from(block.stored_len) <= segment.len());
            // An error is an answer; a panic, or memory without bounds, is none.
            let _ = read(&segment, block);
        }
    }
});
