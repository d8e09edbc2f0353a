//! Blocks become a segment.

use std::sync::Arc;

use crate::checksum;
use crate::dictionary::Dictionary;
use crate::encoder::{BlockEncoder, EncodedBlock};
use crate::encryption::{Recipient, SegmentKey, encrypted_len, is_secret};
use crate::error::{Error, Result, check_limit};
use crate::header::{
    BLOCK_HEADER_LEN, BlockHeader, BlockType, CIPHER_CHACHA20_POLY1305, CIPHER_NONE, Codec, block_flags,
};
use crate::index::{BlockEntry, Index, Seal};
use crate::limits::{
    BLOCK_ALIGNMENT, BLOCK_RAW_LEN_MAX, BLOCK_RECORD_COUNT_MAX, BLOCK_STORED_LEN_MAX, DICTIONARY_COUNT_MAX,
    DICTIONARY_LEN_MAX, FILE_MESSAGE_LEN_MAX, FORMAT_VERSION, INDEX_BLOCK_COUNT, MESSAGE_COUNT_MAX,
    MESSAGE_LEN_MAX, MESSAGES_RAW_LEN_MAX, SEGMENT_BLOCK_COUNT_MAX,
};
use crate::proto;
use crate::storage::Storage;

/// Writes one segment, block by block. INDEX blocks are added when they are due.
///
/// A failed write or sync poisons the writer: what the storage then holds is not known, so nothing may follow. A block
/// whose append failed is not whole in the file, unless the storage keeps bytes that it said it could not take: the
/// last bytes written for a block are those of its payload, and whatever else is due is written before.
pub struct SegmentWriter<S: Storage> {
    storage: S,
    segment_id: [u8; 16],
    len: u64,
    synced_len: u64,
    entries: Vec<BlockEntry>,
    /// How many of `entries` an INDEX tells of already.
    indexed: usize,
    last_index_offset: u64,
    /// Bytes between the last payload and `len`, which are written with the next block.
    padding_len: usize,
    digest: blake3::Hasher,
    poisoned: bool,
    encryption: Option<Encryption>,
    dictionaries: Vec<WrittenDictionary>,
}

/// What a writer needs to encrypt. It is gone when the segment ends.
struct Encryption {
    key: SegmentKey,
    /// The KEY block.
    block: EncodedBlock,
    /// Whether another KEY block is to come before the next block.
    is_due: bool,
    /// Whether there is a block that needs the key.
    is_used: bool,
    /// The encrypted payload.
    buffer: Vec<u8>,
}

/// A dictionary that the segment holds.
struct WrittenDictionary {
    dictionary: Arc<Dictionary>,
    /// All payloads that need it would be lost with it: it is written once more with the next INDEX or before the SEAL.
    is_repeated: bool,
}

impl<S: Storage> SegmentWriter<S> {
    /// Begins a segment in an empty storage and writes its FILE block.
    ///
    /// # Errors
    /// [`Error::Io`] when the storage fails, [`Error::Limit`] when `file` is too large.
    pub fn create(storage: S, file: &proto::FileInfo) -> Result<Self> {
        Self::create_encrypted(storage, file, &[])
    }

    /// As [`Self::create`]; packets, events and snapshots are encrypted to the recipients. Only they can read them:
    /// this writer's key is overwritten when the segment ends. With no recipient, nothing is encrypted.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::Limit`] for too many recipients.
    pub fn create_encrypted(storage: S, file: &proto::FileInfo, recipients: &[Recipient]) -> Result<Self> {
        let encryption = if recipients.is_empty() { None } else { Some(Encryption::new(recipients)?) };
        let mut writer = Self {
            storage,
            segment_id: uuid::Uuid::new_v4().into_bytes(),
            len: 0,
            synced_len: 0,
            entries: Vec::new(),
            indexed: 0,
            last_index_offset: 0,
            padding_len: 0,
            digest: blake3::Hasher::new(),
            poisoned: false,
            encryption,
            dictionaries: Vec::new(),
        };
        writer.append(&BlockEncoder::new().file(file))?;
        writer.write_key()?;
        Ok(writer)
    }

    /// Appends a block and returns its entry.
    ///
    /// # Errors
    /// [`Error::Limit`] when the block is larger than the format allows, or the segment has no room for another
    /// (both leave the writer usable); [`Error::Io`] when the storage fails; [`Error::Poisoned`] after that. No reader
    /// finds the block then.
    pub fn append(&mut self, block: &EncodedBlock) -> Result<BlockEntry> {
        check_block(block)?;
        let index_is_due = self.entries.len() - self.indexed >= INDEX_BLOCK_COUNT;
        let key_is_due = self.encryption.as_ref().is_some_and(|encryption| encryption.is_due || index_is_due);
        let missing = block.dictionary.as_ref().filter(|dictionary| !self.has_dictionary(dictionary));
        // The block, what may come before it, and the SEAL.
        let count = (self.entries.len() + 4 + DICTIONARY_COUNT_MAX) as u64;
        check_limit("the number of blocks", count, SEGMENT_BLOCK_COUNT_MAX.into())?;
        let dictionary_count = self.dictionaries.len() + usize::from(missing.is_some());
        check_limit("the number of dictionaries", dictionary_count as u64, DICTIONARY_COUNT_MAX as u64)?;
        if self.encrypts(block) {
            let stored_len = encrypted_len(block.payload.len()) as u64;
            check_limit("the stored length of a block", stored_len, BLOCK_STORED_LEN_MAX.into())?;
        }
        if key_is_due {
            self.write_key()?;
        }
        if index_is_due {
            self.repeat_dictionaries()?;
            self.write_index()?;
        }
        if let Some(dictionary) = missing {
            self.write(dictionary.block())?;
            let dictionary = Arc::clone(dictionary);
            self.dictionaries.push(WrittenDictionary { dictionary, is_repeated: false });
        }
        let entry = self.write(block)?;
        if let Some(encryption) = &mut self.encryption
            && is_secret(block.block_type)
        {
            // The first block that needs the key has one on either side, so that no damage in one place costs all.
            encryption.is_due = !std::mem::replace(&mut encryption.is_used, true);
        }
        Ok(entry)
    }

    /// Makes everything that was appended survive a crash.
    ///
    /// # Errors
    /// [`Error::Io`] when the storage fails; [`Error::Poisoned`] after an earlier failure.
    pub fn sync(&mut self) -> Result<()> {
        self.guard(|writer| writer.storage.sync())?;
        self.synced_len = self.len;
        Ok(())
    }

    /// Takes note that the first `len` bytes survive a crash, for callers that sync the file on another thread.
    pub fn mark_synced(&mut self, len: u64) {
        self.synced_len = self.synced_len.max(len.min(self.len));
    }

    /// The digest that the SEAL will hold if no other block comes before it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *self.digest.finalize().as_bytes()
    }

    /// Identifies the segment: every block names it. A random UUID.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.segment_id
    }

    /// Bytes of the segment so far, with the padding behind the last block, which is written with the next one.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a segment begins with its FILE block and is never empty
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that are known to survive a crash.
    #[must_use]
    pub fn synced_len(&self) -> u64 {
        self.synced_len
    }

    /// The blocks so far.
    #[must_use]
    pub fn blocks(&self) -> &[BlockEntry] {
        &self.entries
    }

    /// Dictionaries that the segment holds. End it when they come near
    /// [`DICTIONARY_COUNT_MAX`](crate::limits::DICTIONARY_COUNT_MAX).
    #[must_use]
    pub fn dictionary_count(&self) -> usize {
        self.dictionaries.len()
    }

    /// The storage, to ask for its path.
    #[must_use]
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Ends the segment: syncs it, appends the SEAL, and syncs that.
    ///
    /// # Errors
    /// As [`Self::append`]. The segment is then unsealed, and its synced blocks stay readable.
    pub fn seal(mut self) -> Result<Seal> {
        self.repeat_dictionaries()?;
        self.sync()?;
        let offset = self.len;
        let mut seal = Seal::of(&self.entries, self.digest());
        let payload = seal.encode(&self.entries, offset);
        self.write(&own_block(BlockType::SEAL, payload, self.entries.len()))?;
        self.sync()?;
        seal.len = self.len;
        Ok(seal)
    }

    fn has_dictionary(&self, dictionary: &Dictionary) -> bool {
        self.dictionaries.iter().any(|written| written.dictionary.id() == dictionary.id())
    }

    fn repeat_dictionaries(&mut self) -> Result<()> {
        let once: Vec<_> = self.dictionaries.iter().filter(|written| !written.is_repeated).collect();
        let dictionaries: Vec<_> = once.into_iter().map(|written| Arc::clone(&written.dictionary)).collect();
        for dictionary in dictionaries {
            self.write(dictionary.block())?;
        }
        self.dictionaries.iter_mut().for_each(|written| written.is_repeated = true);
        Ok(())
    }

    fn write_index(&mut self) -> Result<()> {
        let entries = self.entries[self.indexed..].to_vec();
        let count = entries.len();
        self.indexed = self.entries.len();
        let index = Index { previous_offset: self.last_index_offset, entries };
        self.last_index_offset = self.len;
        self.write(&own_block(BlockType::INDEX, index.encode(), count))?;
        Ok(())
    }

    /// Writes the KEY block, if the segment has one.
    fn write_key(&mut self) -> Result<()> {
        let Some(encryption) = &mut self.encryption else { return Ok(()) };
        encryption.is_due = false;
        let block = encryption.block.clone();
        self.write(&block).map(drop)
    }

    fn encrypts(&self, block: &EncodedBlock) -> bool {
        self.encryption.is_some() && is_secret(block.block_type) && block.cipher == CIPHER_NONE
    }

    fn write(&mut self, block: &EncodedBlock) -> Result<BlockEntry> {
        let mut header = self.header(block);
        if !self.encrypts(block) {
            header.payload_crc = checksum::crc32c(&block.payload);
            return self.write_stored(&mut header, &block.payload);
        }
        let Some(mut encryption) = self.encryption.take() else { unreachable!("it is what encrypts") };
        header.cipher = CIPHER_CHACHA20_POLY1305;
        header.stored_len = encrypted_len(block.payload.len()) as u32;
        // The sequence is another one for each block of this key.
        encryption.key.encrypt(&header, header.sequence, &block.payload, &mut encryption.buffer);
        header.payload_crc = checksum::crc32c(&encryption.buffer);
        let written = self.write_stored(&mut header, &encryption.buffer);
        self.encryption = Some(encryption);
        written
    }

    /// The header of the next block, without its checksums.
    fn header(&self, block: &EncodedBlock) -> BlockHeader {
        BlockHeader {
            header_crc: 0,
            payload_crc: 0,
            segment_id: self.segment_id,
            offset: self.len,
            synced_offset: self.synced_len,
            sequence: self.entries.len() as u32,
            record_count: block.record_count,
            stored_len: block.payload.len() as u32,
            raw_len: block.raw_len,
            first_time_ns: block.first_time_ns,
            last_time_ns: block.last_time_ns,
            block_type: block.block_type,
            flags: block.flags,
            codec: block.codec as u8,
            cipher: block.cipher,
            version: FORMAT_VERSION,
            header_len: BLOCK_HEADER_LEN as u16,
            directory_crc: block.directory_crc,
        }
    }

    fn write_stored(&mut self, header: &mut BlockHeader, payload: &[u8]) -> Result<BlockEntry> {
        let head = header.encode();
        let padding = &PADDING[..std::mem::take(&mut self.padding_len)];
        for bytes in [padding, &head, payload] {
            if !bytes.is_empty() {
                self.guard(|writer| writer.storage.append(bytes))?;
            }
        }
        self.len = header.next_offset();
        self.padding_len = (self.len - header.payload_end()) as usize;
        for bytes in [&head[..], payload, &PADDING[..self.padding_len]] {
            self.digest.update(bytes);
        }
        let entry = BlockEntry::of(header);
        self.entries.push(entry);
        Ok(entry)
    }

    fn guard(&mut self, act: impl FnOnce(&mut Self) -> std::io::Result<()>) -> Result<()> {
        let path = || self.storage.path().to_owned();
        if self.poisoned {
            return Err(Error::Poisoned { path: path() });
        }
        if let Err(source) = act(self) {
            self.poisoned = true;
            return Err(Error::io(self.storage.path(), source));
        }
        Ok(())
    }
}

impl Encryption {
    fn new(recipients: &[Recipient]) -> Result<Self> {
        let (key, wrapped) = SegmentKey::generate(recipients)?;
        let block = own_block(BlockType::KEY, wrapped, 1);
        Ok(Self { key, block, is_due: false, is_used: false, buffer: Vec::new() })
    }
}

/// What fills the gap between a payload and the next block.
const PADDING: [u8; BLOCK_ALIGNMENT as usize] = [0; BLOCK_ALIGNMENT as usize];

fn own_block(block_type: BlockType, payload: Vec<u8>, record_count: usize) -> EncodedBlock {
    EncodedBlock {
        block_type,
        raw_len: payload.len() as u32,
        payload,
        record_count: record_count as u32,
        first_time_ns: 0,
        last_time_ns: 0,
        flags: block_flags::CRITICAL,
        codec: Codec::Stored,
        directory_crc: 0,
        cipher: CIPHER_NONE,
        dictionary: None,
        message_len_max: 0,
    }
}

fn check_block(block: &EncodedBlock) -> Result<()> {
    let message_len_max =
        if block.block_type == BlockType::FILE { FILE_MESSAGE_LEN_MAX } else { MESSAGE_LEN_MAX };
    check_limit("the length of a message", block.message_len_max as u64, message_len_max as u64)?;
    check_lens(block.block_type, (block.payload.len(), block.raw_len, block.record_count))
}

/// Checks the stored length, the raw length and the number of records that a block of a type is to have.
pub(crate) fn check_lens(
    block_type: BlockType,
    (stored_len, raw_len, record_count): (usize, u32, u32),
) -> Result<()> {
    let (raw_len_max, record_count_max) = match block_type {
        BlockType::PACKETS => (BLOCK_RAW_LEN_MAX, BLOCK_RECORD_COUNT_MAX),
        BlockType::DICTIONARY => (DICTIONARY_LEN_MAX as u32, 1),
        _ => (MESSAGES_RAW_LEN_MAX, MESSAGE_COUNT_MAX),
    };
    check_limit("the raw length of a block", raw_len.into(), raw_len_max.into())?;
    check_limit("the stored length of a block", stored_len as u64, BLOCK_STORED_LEN_MAX.into())?;
    check_limit("the number of records in a block", record_count.into(), record_count_max.into())
}
