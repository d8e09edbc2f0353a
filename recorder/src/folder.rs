//! The folder that is recorded into: names, the lock, what was there before, and the oldest segments going first.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use kcap_format::limits::SYNC_MARKER;
use kcap_format::proto::Predecessor;
use kcap_format::{SEGMENT_EXTENSION, Storage};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tracing::{info, warn};

use crate::predecessor;
use crate::run::{join, spawn};
use crate::segment_file::SegmentFile;
use crate::syncer::Sync;
use crate::units::format_utc_compact;

/// Held for as long as a recorder records into the folder.
const LOCK_NAME: &str = "kcap-record.lock";
/// Digits of a segment's number in its name; there may be more.
const NUMBER_DIGITS: usize = 6;
/// Only the owner may read what was recorded.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where segments are made and removed; tests have one that breaks.
pub(crate) trait Store {
    /// What a segment is written to.
    type Storage: Storage + Send + 'static;

    /// Makes the file of the next segment, begun at this wall time.
    fn create(&mut self, realtime_ns: u64) -> kcap_format::Result<Self::Storage>;

    /// What syncs the file, on another thread than the one that writes it.
    fn sync_later(&self, storage: &Self::Storage) -> Sync;

    /// Takes note that a segment of this length will grow no more.
    fn close(&mut self, path: &Path, len: u64);

    /// Removes a segment that holds no record, because its first write failed.
    fn discard(&mut self, path: &Path);

    /// Bytes of all segments that grow no more.
    fn closed_len(&self) -> u64;

    /// Removes the oldest of them; false when there is none.
    fn remove_oldest(&mut self) -> bool;
}

/// A folder of segments.
pub(crate) struct Folder {
    path: PathBuf,
    next_number: u64,
    /// Segments that grow no more, oldest first, with their lengths.
    closed: VecDeque<(PathBuf, u64)>,
    /// Looks at the newest segment that was there when the folder was opened.
    predecessor: Option<JoinHandle<Predecessor>>,
    _lock: Flock<File>,
}

impl Folder {
    /// Opens a folder for recording, and makes it if there is none. Segments that are in it are kept, and
    /// counted for `--max-disk`; new ones get higher numbers.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => bail!("{} is a file; give -o a folder", path.display()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(path)
                .with_context(|| format!("cannot make the folder {}", path.display()))?,
            Err(error) => return Err(error).with_context(|| format!("cannot use {}", path.display())),
        }
        let lock = lock(path)?;
        let mut found = found(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
        found.sort_by(|a, b| (a.number, &a.path).cmp(&(b.number, &b.path)));
        let next_number = found.last().map_or(1, |last| last.number + 1);
        found.retain(|file| !remove_if_empty(file) && is_segment(&file.path));
        let predecessor = found.last().map(|newest| newest.path.clone());
        // Meanwhile the kernel programs can be loaded.
        let predecessor =
            predecessor.map(|path| spawn("predecessor", move || predecessor::examine(&path))).transpose()?;
        let closed = found.into_iter().map(|segment| (segment.path, segment.len)).collect();
        Ok(Self { path: path.to_owned(), next_number, closed, predecessor, _lock: lock })
    }

    /// The newest segment that was there when the folder was opened, as it was found. Once.
    pub(crate) fn take_predecessor(&mut self) -> Option<Predecessor> {
        self.predecessor.take().map(join)
    }
}

impl Store for Folder {
    type Storage = SegmentFile;

    fn create(&mut self, realtime_ns: u64) -> kcap_format::Result<SegmentFile> {
        let time = format_utc_compact(realtime_ns);
        let name = format!("{:0NUMBER_DIGITS$}-{time}.{SEGMENT_EXTENSION}", self.next_number);
        let file = SegmentFile::create(&self.path, &name)?;
        self.next_number += 1;
        Ok(file)
    }

    fn sync_later(&self, file: &SegmentFile) -> Sync {
        file.sync_later()
    }

    fn close(&mut self, path: &Path, len: u64) {
        self.closed.push_back((path.to_owned(), len));
    }

    fn discard(&mut self, path: &Path) {
        match fs::remove_file(path) {
            // It was the newest, and its number is free again.
            Ok(()) => self.next_number -= 1,
            Err(error) => warn!(path = %path.display(), %error, "an empty segment could not be removed"),
        }
    }

    fn closed_len(&self) -> u64 {
        self.closed.iter().map(|(_, len)| len).sum()
    }

    fn remove_oldest(&mut self) -> bool {
        let Some((path, len)) = self.closed.pop_front() else { return false };
        match fs::remove_file(&path) {
            Ok(()) => info!(path = %path.display(), bytes = len, "oldest segment removed for --max-disk"),
            // Somebody else removed it, or it can't be: either way it is not ours to count any more.
            Err(error) => warn!(path = %path.display(), %error, "oldest segment could not be removed"),
        }
        true
    }
}

fn lock(folder: &Path) -> Result<Flock<File>> {
    let path = folder.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.with_context(|| format!("cannot write to the folder {}", folder.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => {
            bail!("another kcap-record records into {}; give -o another folder", folder.display())
        }
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

struct Found {
    number: u64,
    path: PathBuf,
    len: u64,
}

/// Files that are named as a recorder names its segments.
fn found(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(number_of) else { continue };
        if entry.file_type()?.is_file() {
            found.push(Found { number, len: entry.metadata()?.len(), path: entry.path() });
        }
    }
    Ok(found)
}

/// A crash right after a segment was begun leaves a file without a byte, which readers would complain of.
fn remove_if_empty(file: &Found) -> bool {
    let removed = file.len == 0 && fs::remove_file(&file.path).is_ok();
    if removed {
        info!(path = %file.path.display(), "an empty file of the recording before was removed");
    }
    removed
}

/// The number in `NNNNNN-YYYYMMDDTHHMMSSZ.kcap`.
fn number_of(name: &str) -> Option<u64> {
    let (number, time) = name.strip_suffix(SEGMENT_EXTENSION)?.strip_suffix('.')?.split_once('-')?;
    let is_number = number.len() >= NUMBER_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = time.len() == 16 && time.as_bytes()[8] == b'T' && time.ends_with('Z');
    (is_number && is_time).then(|| number.parse().ok()).flatten()
}

/// By its first bytes: nothing else is ever counted or removed.
fn is_segment(path: &Path) -> bool {
    let mut marker = [0; SYNC_MARKER.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut marker)).is_ok() && marker == SYNC_MARKER
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn segment(folder: &Path, name: &str, len: usize) {
        let mut bytes = SYNC_MARKER.to_vec();
        bytes.resize(len, 0);
        fs::write(folder.join(name), bytes).unwrap();
    }

    #[test]
    fn names_go_on_after_what_is_there() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("new/capture");
        let mut folder = Folder::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FOLDER_MODE);
        let storage = folder.create(0).unwrap();
        assert_eq!(storage.path(), path.join("000001-19700101T000000Z.kcap"));
        assert_eq!(fs::metadata(storage.path()).unwrap().permissions().mode() & 0o777, FILE_MODE);
        drop(folder);
        segment(&path, "000041-20260101T000000Z.kcap", 100);
        fs::write(path.join("000042-20260101T000000Z.kcap"), [0; 10]).unwrap();
        let mut again = Folder::open(&path).unwrap();
        assert!(!storage.path().exists(), "a file without a byte is of no use");
        assert_eq!(again.closed_len(), 100, "zeros are no segment");
        assert!(again.create(0).unwrap().path().ends_with("000043-19700101T000000Z.kcap"));
    }

    #[test]
    fn the_newest_segment_is_looked_at_and_left_as_it_is() {
        let temporary = tempfile::tempdir().unwrap();
        assert!(Folder::open(temporary.path()).unwrap().take_predecessor().is_none());
        segment(temporary.path(), "000001-20260101T000000Z.kcap", 100);
        segment(temporary.path(), "000002-20260101T000000Z.kcap", 200);
        let found = Folder::open(temporary.path()).unwrap().take_predecessor().unwrap();
        assert_eq!((&found.name[..], found.len), (&b"000002-20260101T000000Z.kcap"[..], 200));
        assert_eq!(fs::metadata(temporary.path().join("000002-20260101T000000Z.kcap")).unwrap().len(), 200);
    }

    #[test]
    fn only_segments_are_removed_and_the_oldest_first() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        segment(path, "000002-20260101T000000Z.kcap", 20);
        segment(path, "000001-20260102T000000Z.kcap", 10);
        segment(path, "mine.kcap", 10);
        fs::write(path.join("000003-20260101T000000Z.kcap"), b"something else").unwrap();
        let mut folder = Folder::open(path).unwrap();
        assert_eq!(folder.closed_len(), 30);
        assert!(folder.remove_oldest());
        assert!(!path.join("000001-20260102T000000Z.kcap").exists());
        assert_eq!(folder.closed_len(), 20);
        assert!(folder.remove_oldest());
        assert!(!folder.remove_oldest());
        assert!(path.join("mine.kcap").exists() && path.join("000003-20260101T000000Z.kcap").exists());
    }

    #[test]
    fn a_folder_has_one_recorder_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let first = Folder::open(temporary.path()).unwrap();
        let refused = Folder::open(temporary.path()).err().unwrap().to_string();
        assert!(refused.starts_with("another kcap-record records into"), "{refused}");
        drop(first);
        assert!(Folder::open(temporary.path()).is_ok());
    }

    #[test]
    fn a_file_is_no_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(Folder::open(&path).err().unwrap().to_string().ends_with("is a file; give -o a folder"));
        assert!(Folder::open(&path.join("below")).is_err());
    }

    #[test]
    fn names_of_others_have_no_number() {
        assert_eq!(number_of("000007-20260101T000000Z.kcap"), Some(7));
        assert_eq!(number_of("1000007-20260101T000000Z.kcap"), Some(1_000_007));
        for other in [
            "7-20260101T000000Z.kcap",
            "000007.kcap",
            "000007-20260101T000000Z.pcap",
            "000007-today.kcap",
            "-",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}
