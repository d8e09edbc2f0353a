//! The dictionaries of a segment, read when a payload first needs one.

use std::sync::{Arc, OnceLock};

use zstd::dict::DecoderDictionary;

use super::{Inner, Segment};
use crate::dictionary::{Dictionary, ZSTD_DICTIONARY_MAGIC, dictionary_id};
use crate::error::{Error, Fault, Result};
use crate::header::BlockType;
use crate::index::BlockEntry;
use crate::limits::{DICTIONARY_COUNT_MAX, DICTIONARY_LEN_MAX, DICTIONARY_TRY_COUNT_MAX};

/// Dictionaries by their ids.
#[derive(Default)]
pub(super) struct Dictionaries(OnceLock<Vec<(u64, DecoderDictionary<'static>)>>);

impl std::fmt::Debug for Dictionaries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Dictionaries").field("read", &self.0.get().map(Vec::len)).finish()
    }
}

impl Segment {
    /// Checks that a DICTIONARY block can be read.
    ///
    /// # Errors
    /// As [`Segment::packets`].
    pub(crate) fn check_dictionary(&self, block: &BlockEntry) -> Result<()> {
        self.0.dictionary_bytes(block).map(drop)
    }

    /// The dictionaries that can be read, for who writes this segment's blocks to another one.
    pub(crate) fn dictionaries(&self) -> Vec<Arc<Dictionary>> {
        self.0.whole_dictionaries().filter_map(|bytes| Dictionary::new(&bytes).map(Arc::new)).collect()
    }
}

impl Inner {
    /// Reads the dictionaries if that was not done yet. Those of an encrypted segment are decrypted where blocks are: not
    /// while one is being decoded.
    pub(super) fn load_dictionaries(&self) {
        self.dictionaries.0.get_or_init(|| self.read_dictionaries());
    }

    /// The dictionary with this id. A segment holds each twice, so that damage in one place costs none.
    pub(super) fn dictionary(&self, id: u64) -> Result<&DecoderDictionary<'static>, Fault> {
        let found = self.dictionaries.0.get().into_iter().flatten().find(|(known, _)| *known == id);
        found
            .map(|(_, dictionary)| dictionary)
            .ok_or(Fault::Corrupt("the dictionary of a payload is damaged or missing"))
    }

    fn read_dictionaries(&self) -> Vec<(u64, DecoderDictionary<'static>)> {
        self.whole_dictionaries()
            .map(|bytes| (dictionary_id(&bytes), DecoderDictionary::copy(&bytes)))
            .collect()
    }

    /// The bytes of each dictionary once.
    fn whole_dictionaries(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut known = Vec::new();
        let blocks = self.blocks.iter().filter(|block| block.block_type == BlockType::DICTIONARY);
        // What is damaged is missed by those that need it.
        let whole =
            blocks.take(DICTIONARY_TRY_COUNT_MAX).filter_map(|block| self.dictionary_bytes(block).ok());
        let once = whole.filter(move |bytes| {
            let id = dictionary_id(bytes);
            let is_new = !known.contains(&id);
            known.push(id);
            is_new
        });
        once.take(DICTIONARY_COUNT_MAX)
    }

    fn dictionary_bytes(&self, block: &BlockEntry) -> Result<Vec<u8>> {
        let (bytes, _) = self.raw_bytes(block, DICTIONARY_LEN_MAX as u32)?;
        if bytes.starts_with(&ZSTD_DICTIONARY_MAGIC) {
            let fault = Fault::Corrupt("a dictionary begins as one of zstd's own format");
            return Err(Error::at(&self.path, block.offset, fault));
        }
        Ok(bytes.into_owned())
    }
}
