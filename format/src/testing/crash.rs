//! The files that a crash could leave.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Random;
use crate::storage::Storage;

/// What the page cache writes back at once.
const PAGE_LEN: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR_LEN: usize = 512;

/// A file in memory that remembers every write and sync. Clones are the same file.
#[derive(Clone, Debug, Default)]
pub struct CrashStorage(Arc<Mutex<History>>);

#[derive(Debug, Default)]
struct History {
    bytes: Vec<u8>,
    operations: Vec<Operation>,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// The file then had this length.
    Append { len: usize },
    /// The first `len` bytes were then on stable storage.
    Sync { len: usize },
}

/// Which of the pages that were not synced had reached the disk all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptPages {
    /// None: the file has its synced length, or is filled with zeros to a greater one.
    Nothing,
    /// Each by a throw of the dice, in no order; one of them torn between two sectors.
    Half,
    /// All but the end of the write under way.
    All,
}

impl KeptPages {
    /// Each of them.
    pub const EACH: [Self; 3] = [Self::Nothing, Self::Half, Self::All];
}

/// A file as a crash left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashImage {
    /// What is in the file.
    pub bytes: Vec<u8>,
    /// Bytes that a sync had promised to keep; they are as they were written.
    pub synced_len: usize,
}

impl CrashStorage {
    /// What was written.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.history().bytes.clone()
    }

    /// Writes and syncs so far.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.history().operations.len()
    }

    /// Notes that the first `len` bytes reached the disk, as a sync does that ran while more was written.
    pub fn sync_to(&self, len: usize) {
        let mut history = self.history();
        let len = len.min(history.bytes.len());
        history.operations.push(Operation::Sync { len });
    }

    /// The file after a crash while the operation with this number was under way, those before it being done. With
    /// the number of all operations, none was under way.
    #[must_use]
    pub fn crash(&self, operation: usize, kept: KeptPages, random: &mut Random) -> CrashImage {
        let history = self.history();
        let (done, rest) = history.operations.split_at(operation.min(history.operations.len()));
        let (mut len_before, mut synced_len) = (0, 0);
        for operation in done {
            match *operation {
                Operation::Append { len } => len_before = len,
                Operation::Sync { len } => synced_len = synced_len.max(len),
            }
        }
        let len = match rest.first() {
            Some(Operation::Append { len }) => *len,
            _ => len_before,
        };
        let unsynced = synced_len..len;
        let mut bytes = history.bytes[..len].to_vec();
        match kept {
            KeptPages::Nothing => {
                bytes.truncate(synced_len);
                if random.below(2) == 0 {
                    bytes.resize(synced_len + below_or_0(random, unsynced.len()), 0);
                }
            }
            KeptPages::Half => lose_half(&mut bytes, unsynced, random),
            KeptPages::All => {
                bytes.truncate(len_before.max(synced_len) + below_or_0(random, len - len_before));
            }
        }
        CrashImage { bytes, synced_len }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Zeros about half of the pages of a range, and a part of another one; the length may be that before.
fn lose_half(bytes: &mut Vec<u8>, unsynced: Range<usize>, random: &mut Random) {
    let mut begin = unsynced.start;
    let mut kept_end = unsynced.start;
    while begin < unsynced.end {
        let end = (begin + 1).next_multiple_of(PAGE_LEN).min(unsynced.end);
        match random.below(8) {
            0..3 => bytes[begin..end].fill(0),
            3 => {
                let torn = (begin + below_or_0(random, end - begin)).next_multiple_of(SECTOR_LEN);
                bytes[torn.min(end)..end].fill(0);
                kept_end = end;
            }
            _ => kept_end = end,
        }
        begin = end;
    }
    if random.below(2) == 0 {
        bytes.truncate(kept_end);
    }
}

fn below_or_0(random: &mut Random, limit: usize) -> usize {
    if limit == 0 { 0 } else { random.below(limit as u64) as usize }
}

impl Storage for CrashStorage {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut history = self.history();
        history.bytes.extend_from_slice(bytes);
        let len = history.bytes.len();
        history.operations.push(Operation::Append { len });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_to(usize::MAX);
        Ok(())
    }

    fn path(&self) -> &Path {
        Path::new("memory")
    }
}
