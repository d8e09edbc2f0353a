//! Undoing content and transfer codings of bodies (RFC 9110, section 8.4; RFC 9112, section 7).
//!
//! A few bytes can become very many: every step gives no more than a limit.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// The most codings of one body that are undone. More than one is rare.
const CODINGS_MAX: usize = 4;

/// A body with its codings undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) body: Vec<u8>,
    /// Why the body is not, or not all of, what was encoded.
    pub(super) problem: Option<String>,
}

/// Undoes codings, the last one first, to no more than `len_max` bytes each.
pub(super) fn decode(body: &[u8], codings: &[String], len_max: usize) -> Decoded {
    let codings: Vec<_> =
        codings.iter().filter(|coding| !matches!(coding.as_str(), "identity" | "chunked")).collect();
    let mut decoded = Decoded { body: body.to_vec(), problem: None };
    if codings.len() > CODINGS_MAX {
        decoded.problem = Some(format!("Body not decoded: it has {} codings", codings.len()));
        return decoded;
    }
    for coding in codings.into_iter().rev() {
        let Some((out, result)) = undo(&decoded.body, coding, len_max) else {
            decoded.problem = Some(format!("Body not decoded: unknown coding {coding:?}"));
            return decoded;
        };
        if let Err(error) = result {
            decoded.problem = Some(format!("Body not decoded to its end: {coding}: {error}"));
            if out.is_empty() {
                return decoded;
            }
        }
        decoded.body = out;
    }
    decoded
}

/// The most that a body of this length can become in [`decode`]: what it may hold once somebody looks at it.
pub(super) fn decoded_len_max(len: usize, codings: &[String], len_max: usize) -> usize {
    /// Deflate has at least two bits for each 258 bytes (RFC 1951, section 3.2.5). The other codings know no such limit.
    const DEFLATE_RATIO_MAX: usize = 258 * 4;
    let mut codings =
        codings.iter().map(String::as_str).filter(|coding| !matches!(*coding, "identity" | "chunked"));
    match (codings.next(), codings.next()) {
        (None, _) => len,
        (Some("gzip" | "x-gzip" | "deflate"), None) => len.saturating_mul(DEFLATE_RATIO_MAX).min(len_max),
        _ => len_max,
    }
}

/// What could be undone, and what stopped it. `None` for codings that aren't known.
fn undo(body: &[u8], coding: &str, len_max: usize) -> Option<(Vec<u8>, io::Result<()>)> {
    /// RFC 9659: encoders for HTTP keep to windows of 8 MiB.
    const ZSTD_WINDOW_LOG_MAX: u32 = 23;
    const BROTLI_BUFFER_LEN: usize = 4096;
    Some(match coding {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body), len_max),
        // RFC 9110, section 8.4.1.2, means zlib by it; some servers send what is inside without the wrapping.
        "deflate" if is_zlib(body) => read(ZlibDecoder::new(body), len_max),
        "deflate" => read(DeflateDecoder::new(body), len_max),
        "br" if has_large_window(body) => (Vec::new(), Err(io::Error::other("a window larger than 16 MiB"))),
        "br" => read(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_LEN), len_max),
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::with_buffer(body).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            match decoder {
                Ok(decoder) => read(decoder, len_max),
                Err(error) => (Vec::new(), Err(error)),
            }
        }
        _ => return None,
    })
}

/// The bits that RFC 7932, section 9.1, declares invalid, and that an extension uses for windows of up to 1 GiB: the decoder would
/// make one of that size for the smallest body.
fn has_large_window(body: &[u8]) -> bool {
    body.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// RFC 1950, section 2.2.
fn is_zlib(body: &[u8]) -> bool {
    matches!(*body, [method, flags, ..] if method & 0xf == 8 && u16::from_be_bytes([method, flags]) % 31 == 0)
}

fn read(decoder: impl Read, len_max: usize) -> (Vec<u8>, io::Result<()>) {
    let mut out = Vec::new();
    let mut limited = decoder.take(len_max as u64);
    let result = limited.read_to_end(&mut out).and_then(|len| {
        if len < len_max || limited.into_inner().read(&mut [0])? == 0 {
            return Ok(());
        }
        Err(io::Error::other(format!("it has more than {len_max} bytes")))
    });
    (out, result)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const LEN_MAX: usize = 1 << 18;

    fn codings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    // What the encoder of crate brotli 8 makes. The crate itself would change parquet's features in tests, and so have
    // every dependency of it built twice.
    const TEXT: &[u8] = b"hello hello hello hello\n";
    const TEXT_BROTLI: [u8; 23] = [
        0x1b, 0x17, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0xd6, 0x0a, 0x20, 0x6c, 0x6f, 0x4a,
        0x11, 0x79, 0xe2, 0x80, 0xae, 0x16,
    ];
    /// 1 MiB of zeros.
    const ZEROS_BROTLI: [u8; 14] =
        [0x5b, 0xff, 0xff, 0x8f, 0x7f, 0x02, 0x20, 0x1e, 0x0b, 0x04, 0x72, 0xef, 0x1f, 0x00];
    /// "small" in a large window of 2^30 bytes.
    const LARGE_WINDOW_BROTLI: [u8; 11] = [0x11, 0x1e, 0x08, 0x00, 0x02, 0x73, 0x6d, 0x61, 0x6c, 0x6c, 0x03];

    #[test]
    fn every_coding() {
        let text = TEXT;
        for (name, body) in [
            ("gzip", gzip(text)),
            ("deflate", zlib(text)),
            ("deflate", deflate(text)),
            ("zstd", zstd::encode_all(text, 1).unwrap()),
            ("br", TEXT_BROTLI.to_vec()),
            ("identity", text.to_vec()),
        ] {
            let decoded = decode(&body, &codings(&[name]), LEN_MAX);
            assert_eq!((decoded.body.as_slice(), decoded.problem), (text, None), "{name}");
        }
        let twice = decode(&gzip(&zlib(text)), &codings(&["deflate", "gzip", "chunked"]), LEN_MAX);
        assert_eq!(twice.body, text);
    }

    #[test]
    fn bombs() {
        let zeros = vec![0; 4 * LEN_MAX];
        for (name, body) in [
            ("gzip", gzip(&zeros)),
            ("zstd", zstd::encode_all(&zeros[..], 1).unwrap()),
            ("br", ZEROS_BROTLI.to_vec()),
        ] {
            let decoded = decode(&body, &codings(&[name]), LEN_MAX);
            assert_eq!(decoded.body.len(), LEN_MAX, "{name}");
            let problem = format!("Body not decoded to its end: {name}: it has more than 262144 bytes");
            assert_eq!(decoded.problem, Some(problem));
            assert!(decoded_len_max(body.len(), &codings(&[name]), LEN_MAX) >= LEN_MAX, "{name}");
        }
        let fits = decode(&gzip(&zeros[..LEN_MAX]), &codings(&["gzip"]), LEN_MAX);
        assert_eq!((fits.body.len(), fits.problem), (LEN_MAX, None), "what has the limit is whole");
    }

    #[test]
    fn what_a_body_can_become() {
        assert_eq!(decoded_len_max(7, &codings(&["identity", "chunked"]), LEN_MAX), 7);
        assert_eq!(decoded_len_max(7, &codings(&["gzip", "chunked"]), LEN_MAX), 7 * 1032);
        assert_eq!(decoded_len_max(LEN_MAX / 2, &codings(&["gzip"]), LEN_MAX), LEN_MAX);
        for names in [&["br"][..], &["zstd"], &["gzip", "gzip"]] {
            assert_eq!(decoded_len_max(7, &codings(names), LEN_MAX), LEN_MAX, "{names:?}");
        }
    }

    #[test]
    fn windows_that_are_too_large() {
        let decoded = decode(&LARGE_WINDOW_BROTLI, &codings(&["br"]), LEN_MAX);
        assert_eq!(
            decoded.problem.as_deref(),
            Some("Body not decoded to its end: br: a window larger than 16 MiB")
        );
    }

    #[test]
    fn what_cannot_be_decoded() {
        let unknown = decode(b"x", &codings(&["compress"]), LEN_MAX);
        assert_eq!(unknown.problem.as_deref(), Some("Body not decoded: unknown coding \"compress\""));
        assert_eq!(unknown.body, b"x");
        let whole = gzip(&b"0123456789".repeat(1000));
        let cut = decode(&whole[..whole.len() / 2], &codings(&["gzip"]), LEN_MAX);
        assert!(cut.problem.unwrap().starts_with("Body not decoded to its end: gzip: "));
        assert!(!cut.body.is_empty() && cut.body.starts_with(b"01"), "what was there is kept");
        let plain = decode(b"not gzip", &codings(&["gzip"]), LEN_MAX);
        assert!(plain.problem.is_some());
        assert_eq!(plain.body, b"not gzip");
    }

    #[test]
    fn every_truncation_and_many_changes() {
        let text: Vec<u8> = (0..400_u32).flat_map(|number| (number * number % 251).to_le_bytes()).collect();
        for (name, body) in [
            ("gzip", gzip(&text)),
            ("deflate", zlib(&text)),
            ("zstd", zstd::encode_all(&text[..], 3).unwrap()),
            ("br", TEXT_BROTLI.to_vec()),
        ] {
            let names = codings(&[name]);
            for len in 0..body.len() {
                assert!(decode(&body[..len], &names, LEN_MAX).body.len() <= LEN_MAX);
            }
            for at in 0..body.len() {
                let mut changed = body.clone();
                changed[at] ^= 0x55;
                assert!(decode(&changed, &names, LEN_MAX).body.len() <= LEN_MAX);
            }
        }
    }
}
