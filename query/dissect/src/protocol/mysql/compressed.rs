//! The compressed protocol: packets wrapped in packets of their own (MySQL Internals Manual, 14.4, "Compression").

use std::io::Read;

use super::super::sql::Format;

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

    /// What a wrapping packet holds. `None` for what can't be decompressed to the length that it tells.
    pub(super) fn unwrap(self, header: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let &[_, _, _, _, low, middle, high] = header else { return None };
        let length = u64::from(u32::from_le_bytes([low, middle, high, 0]));
        if length == 0 {
            return Some(body.to_vec());
        }
        let mut plain = Vec::new();
        // Never more than the length that is told, which has three bytes: whatever the bytes would inflate to.
        let read = match self {
            Self::Zlib => flate2::read::ZlibDecoder::new(body).take(length).read_to_end(&mut plain),
            Self::Zstd => zstd::stream::read::Decoder::new(body)
                .and_then(|decoder| decoder.take(length).read_to_end(&mut plain)),
        };
        (read.is_ok() && plain.len() as u64 == length).then_some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_and_compressed() {
        let plain = b"select repeat('a', 100)".repeat(10);
        let length = plain.len() as u8;
        assert_eq!(Codec::Zlib.unwrap(&[3, 0, 0, 0, 0, 0, 0], b"abc").unwrap(), b"abc");
        let mut encoder = flate2::read::ZlibEncoder::new(&plain[..], flate2::Compression::fast());
        let mut wrapped = Vec::new();
        encoder.read_to_end(&mut wrapped).unwrap();
        assert_eq!(Codec::Zlib.unwrap(&[0, 0, 0, 0, length, 0, 0], &wrapped).unwrap(), plain);
        let wrapped_zstd = zstd::encode_all(&plain[..], 1).unwrap();
        assert_eq!(Codec::Zstd.unwrap(&[0, 0, 0, 0, length, 0, 0], &wrapped_zstd).unwrap(), plain);
        assert_eq!(Codec::Zlib.unwrap(&[0, 0, 0, 0, length + 1, 0, 0], &wrapped), None, "too short");
        assert_eq!(
            Codec::Zlib.unwrap(&[0, 0, 0, 0, 5, 0, 0], &wrapped).unwrap(),
            plain[..5],
            "no more than it says"
        );
        assert_eq!(Codec::Zstd.unwrap(&[0, 0, 0, 0, 5, 0, 0], b"not zstd"), None);
    }
}
