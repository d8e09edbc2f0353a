//! zstd with contexts that are used again, and output that can't exceed what the caller allows.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::DecoderDictionary;
use zstd::zstd_safe::CParameter;

use crate::dictionary::Dictionary;
use crate::error::Fault;
use crate::header::Codec;
use crate::limits::BLOCK_RAW_LEN_MAX;

/// How hard to compress: the recorder lowers it under pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Not at all.
    Stored,
    /// With zstd.
    Zstd {
        /// The level, as in `zstd(1)`: 1 is fast, 19 is thorough, negative levels are faster still.
        level: i32,
    },
}

impl Default for Effort {
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

/// Compression contexts. Allocated when first used.
#[derive(Default)]
pub(crate) struct Compression {
    context: Option<Context>,
    /// For bytes that a dictionary helps to compress.
    dictionary_context: Option<(Context, u64)>,
    buffer: Vec<u8>,
}

struct Context {
    compressor: Compressor<'static>,
    level: i32,
}

/// Matches may lie as far back as a block is long: the low levels alone look back 512 KiB, and miss what a busy sender
/// repeats. zstd makes it smaller for shorter bytes, and single-shot contexts need no memory for it.
const WINDOW_LOG: u32 = BLOCK_RAW_LEN_MAX.ilog2();

/// Levels below pass over much of what a dictionary holds: level 1 forgets what isn't in its later half. Where one helps, it takes
/// the work off this level, too.
const LEVEL_WITH_DICTIONARY_MIN: i32 = 2;

/// Compressed bytes are kept only if they are smaller than the raw ones by more than one part in this many: reading
/// stored bytes costs nothing.
const WORTHWHILE_PART: usize = 64;

impl Compression {
    /// The bytes as they are to be stored, and how. Bytes that don't shrink are stored as they are.
    pub(crate) fn compress<'a>(&'a mut self, raw: &'a [u8], effort: Effort) -> (Codec, &'a [u8]) {
        let shrunk = match effort {
            Effort::Stored => false,
            Effort::Zstd { level } => self.zstd(raw, level).is_ok(),
        };
        if shrunk && is_worthwhile(&self.buffer, raw) {
            (Codec::Zstd, &self.buffer)
        } else {
            (Codec::Stored, raw)
        }
    }

    /// As [`Self::compress`], with what the dictionary holds before the bytes. `None` where that doesn't shrink them.
    pub(crate) fn compress_with(&mut self, raw: &[u8], level: i32, dictionary: &Dictionary) -> Option<&[u8]> {
        self.zstd_with(raw, level.max(LEVEL_WITH_DICTIONARY_MIN), dictionary).ok()?;
        is_worthwhile(&self.buffer, raw).then_some(&self.buffer)
    }

    /// Fills the buffer. Fails only where memory does.
    fn zstd(&mut self, raw: &[u8], level: i32) -> std::io::Result<()> {
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(Context::new(level)?),
        };
        if context.level != level {
            context.compressor.set_compression_level(level)?;
            context.level = level;
        }
        context.fill(raw, &mut self.buffer)
    }

    fn zstd_with(&mut self, raw: &[u8], level: i32, dictionary: &Dictionary) -> std::io::Result<()> {
        let wanted = |(context, id): &&mut (Context, u64)| (context.level, *id) == (level, dictionary.id());
        let (context, _) = match self.dictionary_context.as_mut().filter(wanted) {
            Some(context) => context,
            None => {
                let mut context = Context::new(level)?;
                context.compressor.set_dictionary(level, dictionary.bytes())?;
                self.dictionary_context.insert((context, dictionary.id()))
            }
        };
        context.fill(raw, &mut self.buffer)
    }
}

impl Context {
    fn new(level: i32) -> std::io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        Ok(Self { compressor, level })
    }

    fn fill(&mut self, raw: &[u8], buffer: &mut Vec<u8>) -> std::io::Result<()> {
        buffer.clear();
        buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.compressor.compress_to_buffer(raw, buffer).map(drop)
    }
}

fn is_worthwhile(shrunk: &[u8], raw: &[u8]) -> bool {
    shrunk.len() < raw.len() - raw.len() / WORTHWHILE_PART
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Replaces `out` by the raw bytes, which must be exactly `raw_len`; the caller has checked that against a limit.
pub(crate) fn decompress(
    codec: Codec,
    stored: &[u8],
    raw_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    out.clear();
    match codec {
        Codec::Stored => out.extend_from_slice(stored),
        Codec::Zstd => {
            out.reserve_exact(raw_len);
            DECOMPRESSOR
                .with_borrow_mut(|slot| {
                    let context = match slot {
                        Some(context) => context,
                        none => none.insert(Decompressor::new()?),
                    };
                    context.decompress_to_buffer(stored, out)
                })
                .map_err(|_| NOT_THE_STATED_LENGTH)?;
        }
        Codec::ZstdDictionary => {
            return Err(Fault::Corrupt("only payloads are compressed with a dictionary"));
        }
    }
    check_len(out, raw_len)
}

/// The same for bytes that were compressed with a dictionary.
pub(crate) fn decompress_with(
    dictionary: &DecoderDictionary<'_>,
    stored: &[u8],
    raw_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    out.clear();
    out.reserve_exact(raw_len);
    Decompressor::with_prepared_dictionary(dictionary)
        .and_then(|mut context| context.decompress_to_buffer(stored, out))
        .map_err(|_| NOT_THE_STATED_LENGTH)?;
    check_len(out, raw_len)
}

const NOT_THE_STATED_LENGTH: Fault =
    Fault::Corrupt("the compressed bytes cannot be decompressed to their stated length");

fn check_len(out: &[u8], raw_len: usize) -> Result<(), Fault> {
    if out.len() == raw_len { Ok(()) } else { Err(Fault::Corrupt("the raw length is not the stated one")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_at_a_distance_is_stored_once() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(600 << 10)
        .collect();
        let raw = noise.repeat(6);
        let mut compression = Compression::default();
        for level in [-5, 1, 3] {
            let (codec, stored) = compression.compress(&raw, Effort::Zstd { level });
            assert_eq!(codec, Codec::Zstd, "level {level}");
            assert!(stored.len() < noise.len() * 3 / 2, "level {level}: {} bytes", stored.len());
        }
    }

    #[test]
    fn bytes_come_back_at_every_effort() {
        let raw: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
        let mut compression = Compression::default();
        for effort in
            [Effort::Stored, Effort::Zstd { level: 1 }, Effort::default(), Effort::Zstd { level: -5 }]
        {
            let (codec, stored) = compression.compress(&raw, effort);
            assert_eq!(codec == Codec::Stored, effort == Effort::Stored);
            let mut back = vec![1, 2, 3];
            decompress(codec, stored, raw.len(), &mut back).unwrap();
            assert_eq!(back, raw);
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let mut compression = Compression::default();
        assert_eq!(compression.compress(&noise, Effort::default()), (Codec::Stored, &noise[..]));
        assert_eq!(compression.compress(&[], Effort::default()), (Codec::Stored, &[][..]));
    }

    #[test]
    fn a_frame_that_grows_beyond_its_stated_length_is_refused() {
        let raw = vec![0; 1 << 20];
        let mut compression = Compression::default();
        let (codec, stored) = compression.compress(&raw, Effort::default());
        let mut out = Vec::new();
        for wrong in [0, 10, raw.len() - 1, raw.len() + 1] {
            assert!(decompress(codec, stored, wrong, &mut out).is_err());
            assert!(out.capacity() <= raw.len() + 1);
        }
        assert!(decompress(Codec::Zstd, b"not zstd", 8, &mut out).is_err());
        assert!(decompress(Codec::Stored, b"abc", 4, &mut out).is_err());
    }
}
