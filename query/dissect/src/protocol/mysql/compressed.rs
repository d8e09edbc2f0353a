//! The compressed protocol: packets wrapped in packets of their own (MySQL Internals Manual, 14.4, "Compression").

use std::io::{self, Read};

use super::super::Moment;
use super::super::sql::{Format, Frames, Reader};

/// What the connection is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Zlib,
    Zstd,
}

/// A wrapping packet: compressed length, sequence, length before compression.
pub(super) const FORMAT: Format = Format {
    header_length: 7,
    body_length: |header| Some(u64::from(u32::from_le_bytes([header[0], header[1], header[2], 0]))),
    kept_max: WRAPPED_LENGTH_MAX,
};

/// The most that one wrapping packet may hold: what its three bytes of length allow.
const WRAPPED_LENGTH_MAX: usize = 0xff_ffff;

impl Codec {
    /// Field `mysql.compression`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// Gives what a wrapping packet holds, in parts, while they are wanted: a small one may hold 16 MB. False for what can't
    /// be decompressed to the length that it tells.
    pub(super) fn unwrap(self, header: &[u8], body: &[u8], mut take: impl FnMut(&[u8]) -> Wanted) -> bool {
        let &[_, _, _, _, low, middle, high] = header else { return false };
        let length = u64::from(u32::from_le_bytes([low, middle, high, 0]));
        if length == 0 {
            take(body);
            return true;
        }
        // Never more than the length that is told, which has three bytes: whatever the bytes would inflate to.
        let read = match self {
            Self::Zlib => in_parts(flate2::read::ZlibDecoder::new(body).take(length), take),
            Self::Zstd => zstd_decoder(body).and_then(|decoder| in_parts(decoder.take(length), take)),
        };
        read.is_ok_and(|read| read.is_none_or(|read| read == length))
    }

    /// What a wrapping packet that begins here would hold. `None` where none can begin: in the middle of a stream, nearly any
    /// bytes could be a header.
    fn first_of(self, bytes: &[u8]) -> Option<First<'_>> {
        let mut reader = Reader::new(bytes);
        let length = reader.u24_le()?;
        reader.u8()?;
        let plain_length = reader.u24_le()?;
        let body = reader.rest();
        if plain_length == 0 {
            return Some(First::Stored(&body[..body.len().min(length as usize)]));
        }
        // What compression wouldn't make shorter is stored.
        let begins = match (self, body) {
            (Self::Zlib, [method, flags, ..]) => {
                *method == ZLIB_METHOD && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
            }
            (Self::Zstd, _) => body.starts_with(&ZSTD_MAGIC),
            _ => false,
        };
        (begins && length < plain_length).then_some(First::Compressed)
    }
}

/// Whether the receiver of a packet's parts wants more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    More,
    NoMore,
}

/// What is in a wrapping packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First<'a> {
    Compressed,
    /// What is here of the packets in it.
    Stored(&'a [u8]),
}

/// Bytes that are decompressed at once.
const PART_LENGTH: usize = 64 * 1024;

/// First byte of zlib's format with windows of 32 KiB (RFC 1950).
const ZLIB_METHOD: u8 = 0x78;

/// First bytes of a frame of zstd (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Servers compress a packet at once, with a window as long as the packet: up to 16 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

fn zstd_decoder(body: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// How many bytes were read. `None` when no more were wanted.
fn in_parts(mut reader: impl Read, mut take: impl FnMut(&[u8]) -> Wanted) -> io::Result<Option<u64>> {
    let mut part = Vec::new();
    let mut read = 0;
    loop {
        part.clear();
        reader.by_ref().take(PART_LENGTH as u64).read_to_end(&mut part)?;
        if part.is_empty() {
            return Ok(Some(read));
        }
        read += part.len() as u64;
        if take(&part) == Wanted::NoMore {
            return Ok(None);
        }
    }
}

/// Wrapping packets of one direction.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    pub(super) frames: Frames,
    /// It isn't known where they begin.
    is_lost: bool,
}

impl Wrapped {
    /// It is no longer known where packets begin.
    pub(super) fn lost(&mut self) {
        self.is_lost = true;
        self.frames.abandon();
    }

    /// Goes on after missing bytes. False where it isn't known what comes next.
    pub(super) fn gap(&mut self, at: Moment, length: u64) -> bool {
        if self.is_lost || !self.frames.gap(at, length) {
            self.lost();
        }
        !self.is_lost
    }

    /// Whether it is known where packets begin: since the login, or because one can begin with these bytes. `begins` tells
    /// whether packets that aren't compressed can.
    pub(super) fn finds(&mut self, codec: Codec, bytes: &[u8], begins: impl FnOnce(&[u8]) -> bool) -> bool {
        self.is_lost = self.is_lost
            && match codec.first_of(bytes) {
                Some(First::Compressed) => false,
                Some(First::Stored(packets)) => !begins(packets),
                None => true,
            };
        !self.is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(codec: Codec, header: [u8; 7], body: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        let is_whole = codec.unwrap(&header, body, |part| {
            plain.extend(part);
            Wanted::More
        });
        is_whole.then_some(plain)
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::read::ZlibEncoder::new(plain, flate2::Compression::fast());
        let mut wrapped = Vec::new();
        encoder.read_to_end(&mut wrapped).unwrap();
        wrapped
    }

    #[test]
    fn stored_and_compressed() {
        let plain = b"select repeat('a', 100)".repeat(10);
        let length = plain.len() as u8;
        assert_eq!(unwrapped(Codec::Zlib, [3, 0, 0, 0, 0, 0, 0], b"abc").unwrap(), b"abc");
        let wrapped = zlib(&plain);
        assert_eq!(unwrapped(Codec::Zlib, [0, 0, 0, 0, length, 0, 0], &wrapped).unwrap(), plain);
        let wrapped_zstd = zstd::encode_all(&plain[..], 1).unwrap();
        assert_eq!(unwrapped(Codec::Zstd, [0, 0, 0, 0, length, 0, 0], &wrapped_zstd).unwrap(), plain);
        assert_eq!(unwrapped(Codec::Zlib, [0, 0, 0, 0, length + 1, 0, 0], &wrapped), None, "too short");
        assert_eq!(
            unwrapped(Codec::Zlib, [0, 0, 0, 0, 5, 0, 0], &wrapped).unwrap(),
            plain[..5],
            "no more than it says"
        );
        assert_eq!(unwrapped(Codec::Zstd, [0, 0, 0, 0, 5, 0, 0], b"not zstd"), None);
    }

    #[test]
    fn as_much_as_the_format_allows_in_parts() {
        let plain = vec![b'a'; WRAPPED_LENGTH_MAX];
        let wrapped = [(Codec::Zlib, zlib(&plain)), (Codec::Zstd, zstd::bulk::compress(&plain, 22).unwrap())];
        for (codec, body) in wrapped {
            let (mut length, mut parts) = (0, 0);
            let is_whole = codec.unwrap(&[0, 0, 0, 0, 0xff, 0xff, 0xff], &body, |part| {
                assert!(part.len() <= PART_LENGTH);
                (length, parts) = (length + part.len(), parts + 1);
                Wanted::More
            });
            assert!(is_whole && length == WRAPPED_LENGTH_MAX, "{}: {length}", codec.name());
            let is_fine = codec.unwrap(&[0, 0, 0, 0, 0xff, 0xff, 0xff], &body, |_| {
                parts -= 1;
                Wanted::NoMore
            });
            assert!(is_fine && parts == WRAPPED_LENGTH_MAX.div_ceil(PART_LENGTH) - 1, "{parts}");
        }
    }

    #[test]
    fn windows_larger_than_packets() {
        // A frame of 2 bytes in a block of its own, with a window of 16 MiB, and of 32.
        for (window, is_fine) in [(14 << 3, true), (15 << 3, false)] {
            let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, window, 0x11, 0, 0, b'a', b'b'];
            assert_eq!(unwrapped(Codec::Zstd, [0, 0, 0, 0, 2, 0, 0], &frame).is_some(), is_fine);
        }
    }

    #[test]
    fn where_packets_can_begin() {
        let begins = |bytes: &[u8]| bytes.starts_with(b"ok");
        for (codec, bytes, is_found) in [
            (Codec::Zlib, &b"\x10\0\0\x01\x20\0\0\x78\x9c"[..], true),
            (Codec::Zlib, b"\x10\0\0\x01\x20\0\0\x78\x9d", false),
            (Codec::Zlib, b"\x20\0\0\x01\x20\0\0\x78\x9c", false),
            (Codec::Zstd, b"\x10\0\0\x01\x20\0\0\x28\xb5\x2f\xfd", true),
            (Codec::Zstd, b"\x10\0\0\x01\x20\0\0\x78\x9c", false),
            (Codec::Zlib, b"\x02\0\0\x01\0\0\0ok", true),
            (Codec::Zlib, b"\x02\0\0\x01\0\0\0no", false),
            (Codec::Zlib, b"\x01\0\0\x01\0\0\0ok", false),
            (Codec::Zlib, b"\x10\0\0\x01\x20\0", false),
        ] {
            let mut wrapped = Wrapped::default();
            assert!(wrapped.finds(codec, b"", begins), "known since the login");
            wrapped.lost();
            assert_eq!(wrapped.finds(codec, bytes, begins), is_found, "{bytes:?}");
            assert_eq!(wrapped.finds(codec, b"", begins), is_found);
        }
    }
}
