//! Segments whose headers say what they are told to, with right checksums.
#![allow(dead_code, unreachable_pub)] // no test uses all of it

use kcap_format::limits::{FORMAT_VERSION, SYNC_MARKER};
use kcap_format::{BlockType, block_flags};
use prost::Message;

use crate::common::file_info;

/// A block whose header says what it is told to, with right checksums.
#[derive(Clone)]
pub struct Block {
    pub block_type: BlockType,
    pub record_count: u32,
    pub raw_len: u32,
    pub codec: u8,
    pub payload: Vec<u8>,
    /// The stored length that is stated, when it is not that of the payload.
    pub stated_len: Option<u32>,
    /// Whether it is said to be encrypted.
    pub is_encrypted: bool,
    pub flags: u16,
}

impl Default for Block {
    fn default() -> Self {
        messages(BlockType::CLOCK, 0, 0, 0, Vec::new())
    }
}

pub fn messages(
    block_type: BlockType,
    record_count: u32,
    raw_len: u32,
    codec: u8,
    payload: Vec<u8>,
) -> Block {
    Block {
        block_type,
        record_count,
        raw_len,
        codec,
        payload,
        stated_len: None,
        is_encrypted: false,
        flags: block_flags::CRITICAL,
    }
}

/// A FILE block, and these.
pub fn segment(more: &[Block]) -> Vec<u8> {
    let raw = file_info().encode_length_delimited_to_vec();
    let file = messages(BlockType::FILE, 1, raw.len() as u32, 0, raw);
    blocks(&[&[file], more].concat())
}

pub fn blocks(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (block, sequence) in blocks.iter().zip(0u32..) {
        let begin = bytes.len();
        bytes.extend_from_slice(&SYNC_MARKER);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c::crc32c(&block.payload).to_le_bytes());
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&(begin as u64).to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        let stored_len = block.stated_len.unwrap_or(block.payload.len() as u32);
        for value in [sequence, block.record_count, stored_len, block.raw_len] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&block.block_type.0.to_le_bytes());
        bytes.extend_from_slice(&block.flags.to_le_bytes());
        bytes.extend_from_slice(&[block.codec, block.is_encrypted.into()]);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&96u16.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        let crc = crc32c::crc32c(&bytes[begin + 12..]);
        bytes[begin + 8..begin + 12].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&block.payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}
