//! CRC32C, and what a wrong one means.

pub(crate) use crc32c::{crc32c, crc32c_append};

/// Whether bytes are those that were written, by their checksum and the stated one. A fuzzer finds no checksums: for it
/// all are right, so that it gets behind them.
pub(crate) fn matches(computed: u32, stated: u32) -> bool {
    cfg!(fuzzing) || computed == stated
}
