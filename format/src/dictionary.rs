//! Dictionaries: payload bytes that the payloads of later blocks repeat.
//!
//! Blocks are compressed apart from each other, so that losing one costs no other. Where a sender repeats itself for
//! longer than a block lasts, each block would hold what is repeated once more. A DICTIONARY block holds it once, and
//! the payloads of other blocks of its segment are compressed as if it came before them. Headers and columns never
//! need one.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::compression::{Compression, Effort};
use crate::encoder::EncodedBlock;
use crate::limits::DICTIONARY_LEN_MAX;

/// Shorter payload sections neither make a dictionary nor are worth a trial of one.
const PAYLOAD_LEN_MIN: usize = 32 << 10;
/// Bytes of a payload section on which a dictionary is tried.
const SAMPLE_LEN: usize = 32 << 10;
/// A dictionary is used if it saves at least one part in this many of what the sample takes without it.
const WORTHWHILE_PART: usize = 4;
/// Blocks before the next trial, when the last one said no: traffic that doesn't repeat pays little for the question.
const BLOCKS_BETWEEN_TRIALS: u32 = 4;
/// Trials that say no in a row until another dictionary is made, for one that was never used and for one that was.
const MISSES_OF_UNUSED: u32 = 2;
const MISSES_OF_USED: u32 = 16;
/// Level at which payloads are compressed that would be stored otherwise.
pub(crate) const LEVEL_OF_STORED: i32 = 1;
/// What zstd takes for a dictionary of its own format (`ZSTD_MAGIC_DICTIONARY`), little-endian.
pub(crate) const ZSTD_DICTIONARY_MAGIC: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();

/// Payload bytes that are stored once in a segment.
#[derive(Debug)]
pub(crate) struct Dictionary {
    id: u64,
    bytes: Vec<u8>,
    /// Made when the first block needs it.
    block: OnceLock<EncodedBlock>,
}

impl Dictionary {
    /// `None` for bytes that zstd would take for something else.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(DICTIONARY_LEN_MAX)];
        let usable = !bytes.starts_with(&ZSTD_DICTIONARY_MAGIC);
        usable.then(|| Self { id: dictionary_id(bytes), bytes: bytes.to_vec(), block: OnceLock::new() })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The DICTIONARY block.
    pub(crate) fn block(&self) -> &EncodedBlock {
        self.block.get_or_init(|| {
            EncodedBlock::dictionary(&self.bytes, Effort::default(), &mut Compression::default())
        })
    }
}

/// What names a dictionary: the first eight bytes of its BLAKE3 digest, little-endian.
pub(crate) fn dictionary_id(bytes: &[u8]) -> u64 {
    let mut id = [0; 8];
    id.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    u64::from_le_bytes(id)
}

/// The dictionary that encoders use at present. Share one between all encoders of a recording: they then agree on one.
#[derive(Debug, Default)]
pub struct DictionaryPool(Mutex<Present>);

#[derive(Debug, Default)]
struct Present {
    dictionary: Option<Arc<Dictionary>>,
    is_used: bool,
    misses: u32,
    blocks_until_trial: u32,
}

impl DictionaryPool {
    /// The dictionary with which to compress `payload`, if there is one that helps. Payloads that repeat nothing
    /// known are remembered for those that come later.
    pub(crate) fn choose(
        &self,
        payload: &[u8],
        level: i32,
        compression: &mut Compression,
    ) -> Option<Arc<Dictionary>> {
        if payload.len() < PAYLOAD_LEN_MIN {
            return None;
        }
        let candidate = self.candidate(payload)?;
        if !helps(&candidate, &payload[..SAMPLE_LEN.min(payload.len())], level, compression) {
            self.missed(&candidate, payload);
            return None;
        }
        let mut present = self.present();
        if present.dictionary.as_ref().is_some_and(|dictionary| dictionary.id == candidate.id) {
            (present.is_used, present.misses) = (true, 0);
        }
        Some(candidate)
    }

    /// The same for payloads that are otherwise stored as they are: only a dictionary that has helped before is tried. Where
    /// it helps again, that is less work than storing them.
    pub(crate) fn choose_known(
        &self,
        payload: &[u8],
        compression: &mut Compression,
    ) -> Option<Arc<Dictionary>> {
        let is_used = self.present().is_used;
        if is_used { self.choose(payload, LEVEL_OF_STORED, compression) } else { None }
    }

    /// The dictionary to try; makes one of the payload if there is none yet.
    fn candidate(&self, payload: &[u8]) -> Option<Arc<Dictionary>> {
        let mut present = self.present();
        if present.blocks_until_trial > 0 {
            present.blocks_until_trial -= 1;
            return None;
        }
        if present.dictionary.is_none() {
            present.dictionary = Dictionary::new(payload).map(Arc::new);
            return None;
        }
        present.dictionary.clone()
    }

    fn missed(&self, tried: &Dictionary, payload: &[u8]) {
        let mut present = self.present();
        if present.dictionary.as_ref().is_none_or(|dictionary| dictionary.id != tried.id) {
            // Another encoder has made a new one meanwhile.
            return;
        }
        present.misses += 1;
        let misses_max = if present.is_used { MISSES_OF_USED } else { MISSES_OF_UNUSED };
        if present.misses >= misses_max {
            // The very next block tries it: what repeats does so soon.
            *present = Present { dictionary: Dictionary::new(payload).map(Arc::new), ..Present::default() };
        } else {
            present.blocks_until_trial = BLOCKS_BETWEEN_TRIALS;
        }
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn helps(dictionary: &Dictionary, sample: &[u8], level: i32, compression: &mut Compression) -> bool {
    let without_len = compression.compress(sample, Effort::Zstd { level }).1.len();
    let with_len = compression.compress_with(sample, level, dictionary).map_or(sample.len(), <[u8]>::len);
    with_len < without_len - without_len / WORTHWHILE_PART
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn choose(pool: &DictionaryPool, payload: &[u8]) -> Option<u64> {
        let chosen = pool.choose(payload, 1, &mut Compression::default());
        chosen.map(|dictionary| dictionary.id())
    }

    #[test]
    fn what_the_next_block_repeats_becomes_the_dictionary() {
        let pool = DictionaryPool::default();
        let repeated = noise(1, 128 << 10).repeat(3);
        assert_eq!(choose(&pool, &repeated), None, "nothing is known yet");
        let id = dictionary_id(&repeated[..DICTIONARY_LEN_MAX]);
        assert_eq!(choose(&pool, &repeated[777..]), Some(id));
        assert_eq!(choose(&pool, &repeated[99_999..]), Some(id));
    }

    /// A busy recorder uses the lowest levels, and a block may begin anywhere in what is repeated.
    #[test]
    fn a_dictionary_is_found_at_all_levels_wherever_a_block_begins() {
        const PERIOD: usize = 128 << 10;
        let repeated = noise(1, PERIOD).repeat(8);
        let longer = noise(2, DICTIONARY_LEN_MAX).repeat(4);
        // Packets of two of a sender's writes, one of which overtook the other: not all of it is there twice.
        let once_and_a_half = [&repeated[..PERIOD], &repeated[PERIOD / 8..PERIOD * 5 / 8].repeat(2)].concat();
        let mut compression = Compression::default();
        for (payloads, known) in [(&repeated, &once_and_a_half), (&repeated, &repeated), (&longer, &longer)] {
            let dictionary = Dictionary::new(known).unwrap();
            for level in [-5, 1, 3] {
                for begin in (0..DICTIONARY_LEN_MAX).step_by(DICTIONARY_LEN_MAX / 64 + 7) {
                    let payload = &payloads[begin..begin + 2 * DICTIONARY_LEN_MAX];
                    assert!(helps(&dictionary, &payload[..SAMPLE_LEN], level, &mut compression));
                    let len = compression.compress_with(payload, level, &dictionary).map(<[u8]>::len);
                    assert!(len.is_some_and(|len| len < 8 << 10), "level {level} from {begin}: {len:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_stored_uses_a_dictionary_that_has_helped_and_makes_none() {
        let pool = DictionaryPool::default();
        let repeated = noise(1, 128 << 10).repeat(3);
        let known = || pool.choose_known(&repeated[5..], &mut Compression::default()).is_some();
        assert!(!known() && !known(), "none is made");
        assert_eq!(choose(&pool, &repeated), None);
        assert!(!known(), "none has helped");
        assert!(choose(&pool, &repeated).is_some() && known());
    }

    #[test]
    fn noise_has_no_dictionary_and_a_new_habit_gets_a_new_one() {
        let pool = DictionaryPool::default();
        for seed in 0..20 {
            assert_eq!(choose(&pool, &noise(seed, 64 << 10)), None, "block {seed}");
        }
        let repeated = noise(100, 128 << 10);
        let tries = MISSES_OF_UNUSED * (BLOCKS_BETWEEN_TRIALS + 1) + 1;
        let found = (0..tries).find_map(|_| choose(&pool, &repeated));
        assert_eq!(found, Some(dictionary_id(&repeated)));
    }

    #[test]
    fn short_payloads_and_those_that_zstd_would_misunderstand_make_none() {
        let pool = DictionaryPool::default();
        let short = noise(1, PAYLOAD_LEN_MIN - 1);
        assert_eq!((choose(&pool, &short), choose(&pool, &short)), (None, None));
        let magic = [&ZSTD_DICTIONARY_MAGIC[..], &noise(2, 64 << 10)].concat();
        assert_eq!((choose(&pool, &magic), choose(&pool, &magic)), (None, None));
    }
}
