//! Encrypted payloads: chunks that can be decrypted one by one, so that a reader of metadata decrypts no packets.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{Nonce, Tag};

use super::SegmentKey;
use crate::bytes::Reader;
use crate::error::Fault;
use crate::header::BlockHeader;
use crate::limits::ENCRYPTED_CHUNK_LEN;

/// Bytes before the chunks: number of the block, and zeros.
const PREFIX_LEN: usize = 4 + 4;
/// Bytes behind each chunk that vouch for it.
const TAG_LEN: usize = 16;
/// Bytes of a chunk as it is stored, but for the last one.
const STORED_CHUNK_LEN: usize = ENCRYPTED_CHUNK_LEN + TAG_LEN;

/// Bytes that so many take when they are encrypted.
pub(crate) fn encrypted_len(plain_len: usize) -> usize {
    PREFIX_LEN + plain_len + plain_len.div_ceil(ENCRYPTED_CHUNK_LEN).max(1) * TAG_LEN
}

/// Bytes that are in an encrypted payload.
fn plain_len(stored: &[u8]) -> Result<usize, Fault> {
    let chunks_len = stored.len().checked_sub(PREFIX_LEN).filter(|&len| len > 0);
    let plain_len = chunks_len.and_then(|len| len.checked_sub(len.div_ceil(STORED_CHUNK_LEN) * TAG_LEN));
    let plain_len = plain_len.filter(|&len| encrypted_len(len) == stored.len());
    plain_len.ok_or(Fault::Corrupt("the encrypted bytes are cut short"))
}

impl SegmentKey {
    /// Replaces `out` by the encrypted payload. `number` is another one for each block that this key encrypts; `header`
    /// is the block's, with the length that the payload will have.
    pub(crate) fn encrypt(&self, header: &BlockHeader, number: u32, plain: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(encrypted_len(plain.len()));
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        let associated = associated(header);
        let empty = plain.is_empty().then_some(plain);
        for (chunk, position) in plain.chunks(ENCRYPTED_CHUNK_LEN).chain(empty).zip(0..) {
            let begin = out.len();
            out.extend_from_slice(chunk);
            let tag = self
                .0
                .encrypt_in_place_detached(&nonce(number, position), &associated, &mut out[begin..])
                .expect("a chunk is shorter than the cipher's limit");
            out.extend_from_slice(&tag);
        }
    }

    /// Decrypts into `out`, which holds what was decrypted before, until at least `len` bytes are there, or all.
    pub(crate) fn decrypt(
        &self,
        header: &BlockHeader,
        stored: &[u8],
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        const SHORT: Fault = Fault::Corrupt("the encrypted bytes are cut short");
        let len = len.min(plain_len(stored)?);
        if !out.is_empty() && len <= out.len() {
            return Ok(());
        }
        let mut from = Reader(stored);
        let number = from.u32().ok_or(SHORT)?;
        from.u32().ok_or(SHORT)?;
        out.reserve_exact(len.saturating_sub(out.len()).next_multiple_of(ENCRYPTED_CHUNK_LEN));
        let associated = associated(header);
        let begin = out.len() / ENCRYPTED_CHUNK_LEN;
        let chunks = from.0.chunks(STORED_CHUNK_LEN).zip(0..).skip(begin);
        // An empty payload has a chunk, too.
        for (chunk, position) in chunks.take((len.div_ceil(ENCRYPTED_CHUNK_LEN).max(1)).saturating_sub(begin))
        {
            let (encrypted, tag) = chunk.split_at_checked(chunk.len().wrapping_sub(TAG_LEN)).ok_or(SHORT)?;
            let begin = out.len();
            out.extend_from_slice(encrypted);
            let opened = self.0.decrypt_in_place_detached(
                &nonce(number, position),
                &associated,
                &mut out[begin..],
                Tag::from_slice(tag),
            );
            if opened.is_err() {
                out.truncate(begin);
                return Err(Fault::Corrupt("the encrypted bytes are not those that were written"));
            }
        }
        Ok(())
    }
}

/// Never the same twice for one key: number of the block, and position of the chunk.
fn nonce(number: u32, position: u32) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    nonce[4..8].copy_from_slice(&position.to_le_bytes());
    nonce
}

/// Bytes of [`associated`].
const ASSOCIATED_LEN: usize = 4 * 4 + 8 * 2 + 2 + 1 + 1;

/// What the tags vouch for beside the bytes: all that the header says of the payload. Not where the block lies, so that
/// whoever has no key can move it to another segment with the same KEY.
fn associated(header: &BlockHeader) -> [u8; ASSOCIATED_LEN] {
    let mut bytes = [0; ASSOCIATED_LEN];
    let mut rest = &mut bytes[..];
    let mut put = |value: &[u8]| {
        let (place, after) = std::mem::take(&mut rest).split_at_mut(value.len());
        place.copy_from_slice(value);
        rest = after;
    };
    put(&header.record_count.to_le_bytes());
    put(&header.stored_len.to_le_bytes());
    put(&header.raw_len.to_le_bytes());
    put(&header.directory_crc.to_le_bytes());
    put(&header.first_time_ns.to_le_bytes());
    put(&header.last_time_ns.to_le_bytes());
    put(&header.block_type.0.to_le_bytes());
    put(&[header.codec, header.cipher]);
    bytes
}
