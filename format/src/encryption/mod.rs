//! Encryption at rest: a host that holds only public keys can't read back what it wrote.
//!
//! Each segment has a random key of its own, which KEY blocks keep, encrypted to all recipients by age. With it the
//! payloads of PACKETS, DICTIONARY, EVENTS and SNAPSHOT are encrypted; block headers, CLOCK, LOSS and the indexes stay readable, so
//! that recordings can be checked, repaired, counted and removed by those who may not read them.

mod chunks;
mod identity;
mod key;
mod recipient;

pub(crate) use chunks::encrypted_len;
pub use identity::Identities;
pub(crate) use key::{SegmentKey, unwrap_key};
pub use recipient::Recipient;

use crate::header::BlockType;

/// Whether blocks of this type are encrypted in a segment with a key.
pub(crate) fn is_secret(block_type: BlockType) -> bool {
    matches!(block_type, BlockType::PACKETS | BlockType::EVENTS | BlockType::SNAPSHOT | BlockType::DICTIONARY)
}
