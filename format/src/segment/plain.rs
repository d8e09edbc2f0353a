//! Encrypted blocks, for those who have the key.

use std::cell::RefCell;

use super::block::checked_block;
use super::{Inner, Segment};
use crate::encryption::{Identities, SegmentKey, unwrap_key};
use crate::error::{Error, Fault, Result};
use crate::header::{BlockHeader, BlockType, CIPHER_CHACHA20_POLY1305, CIPHER_NONE};
use crate::index::BlockEntry;
use crate::limits::{BUFFER_LEN_KEPT, KEY_TRY_COUNT_MAX};

thread_local! {
    /// A decrypted payload.
    pub(super) static PLAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Gives the buffer's memory back when it is more than blocks usually take.
pub(super) fn give_back_large(plain: &mut Vec<u8>) {
    if plain.capacity() > BUFFER_LEN_KEPT {
        *plain = Vec::new();
    }
}

impl Segment {
    /// Whether packets, events and snapshots of this segment are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.blocks_of(BlockType::KEY).next().is_some()
    }

    /// Whether it is encrypted and can be read all the same, with one of the identities given.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.0.key.is_some()
    }
}

impl Inner {
    /// Looks for the segment's key in its KEY blocks.
    pub(super) fn find_key(&self, identities: &Identities) -> Option<SegmentKey> {
        if identities.is_empty() {
            return None;
        }
        let keys = self.blocks.iter().filter(|block| block.block_type == BlockType::KEY);
        keys.take(KEY_TRY_COUNT_MAX).find_map(|block| {
            let (_, wrapped) = checked_block(self.bytes.bytes(), block.offset, Some(self.segment_id)).ok()?;
            unwrap_key(wrapped, identities).ok()?
        })
    }

    /// The key that a block needs; `None` when it is not encrypted.
    pub(super) fn key_of(&self, block: &BlockEntry, header: &BlockHeader) -> Result<Option<&SegmentKey>> {
        if !check_cipher(header).map_err(|fault| self.fault(block, fault))? {
            return Ok(None);
        }
        let encrypted = || Error::Encrypted { path: self.path.clone(), identity_given: self.identity_given };
        self.key.as_ref().ok_or_else(encrypted).map(Some)
    }
}

/// Whether a block is encrypted. An error when that is done in a way that this version doesn't know.
pub(super) fn check_cipher(header: &BlockHeader) -> Result<bool, Fault> {
    match header.cipher {
        CIPHER_NONE => Ok(false),
        CIPHER_CHACHA20_POLY1305 => Ok(true),
        _ => Err(Fault::Unsupported("an unknown cipher")),
    }
}
