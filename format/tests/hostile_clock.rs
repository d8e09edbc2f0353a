//! What is kept of all clock samples of a segment has a limit: compressed, each takes less than a thousandth of a byte.

#[path = "common/allocator.rs"]
mod allocator;
mod common;
#[path = "common/forged.rs"]
mod forged;

use forged::{Block, messages, segment};
use kcap_format::limits::{CLOCK_SAMPLE_COUNT_MAX, MESSAGE_COUNT_MAX};
use kcap_format::{BlockType, ClockMap, Error, ReadOptions, Segment};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting::new();

const MEMORY_LEN_MAX: usize = 16 << 20;

/// A block of as many samples as it can have, all of the time 0.
fn clock_block() -> Block {
    let raw = vec![0; MESSAGE_COUNT_MAX as usize];
    let payload = zstd::bulk::compress(&raw, 1).unwrap();
    messages(BlockType::CLOCK, MESSAGE_COUNT_MAX, MESSAGE_COUNT_MAX, 1, payload)
}

/// One test, since what others allocate meanwhile would be counted.
#[test]
fn clock_samples_without_end_take_little_memory_and_are_told() {
    const BLOCKS: usize = 4_000;
    let bytes = segment(&vec![clock_block(); BLOCKS]);
    let len = bytes.len();
    let segment = Segment::from_bytes("hostile", bytes, &ReadOptions::default()).unwrap();
    let before = ALLOCATOR.live();
    ALLOCATOR.forget_peak();
    let mut refused = 0;
    let map: Result<ClockMap, Error> = segment.clock_map(|_, error| {
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        refused += 1;
        Ok(())
    });
    assert!(!map.unwrap().is_empty());
    let taken = ALLOCATOR.peak() - before;
    println!("{len} bytes, {refused} blocks refused, {} KiB", taken >> 10);
    assert!(taken < MEMORY_LEN_MAX, "{taken} bytes");
    assert_eq!(refused, BLOCKS - (CLOCK_SAMPLE_COUNT_MAX / MESSAGE_COUNT_MAX) as usize);

    let stopped = segment.clock_map(|_, _| Err("enough"));
    assert_eq!(stopped.unwrap_err(), "enough");
}
