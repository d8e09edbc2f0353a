//! The file of a segment, whose name survives a crash along with its bytes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kcap_format::{FileStorage, Storage};

use crate::syncer::Sync;

/// A new file in a folder. Its first sync also syncs the folder: fsync(2) promises the bytes of a file, but not that the
/// folder still names it after a crash.
pub(crate) struct SegmentFile {
    storage: FileStorage,
    entry: Entry,
}

/// The file's entry in the folder.
#[derive(Clone)]
struct Entry {
    folder: PathBuf,
    synced: Arc<AtomicBool>,
}

impl SegmentFile {
    /// Makes the file.
    pub(crate) fn create(folder: &Path, name: &str) -> kcap_format::Result<Self> {
        let storage = FileStorage::create(folder.join(name))?;
        Ok(Self { storage, entry: Entry { folder: folder.to_owned(), synced: Arc::default() } })
    }

    /// What syncs the file on another thread.
    pub(crate) fn sync_later(&self) -> Sync {
        let (path, entry) = (self.storage.path().to_owned(), self.entry.clone());
        // fdatasync(2) is for the file, whichever descriptor names it.
        Box::new(move || File::open(path)?.sync_data().and_then(|()| entry.sync()))
    }
}

impl Storage for SegmentFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.storage.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.sync().and_then(|()| self.entry.sync())
    }

    fn path(&self) -> &Path {
        self.storage.path()
    }
}

impl Entry {
    fn sync(&self) -> io::Result<()> {
        if self.synced.load(Ordering::Acquire) {
            return Ok(());
        }
        match File::open(&self.folder)?.sync_all() {
            // File systems that have nothing to sync there say so in one of these ways.
            Err(error)
                if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) =>
            {
                Err(error)
            }
            _ => {
                self.synced.store(true, Ordering::Release);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_synced_by_either_way_until_its_folder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        std::fs::create_dir(&path).unwrap();
        let mut file = SegmentFile::create(&path, "a").unwrap();
        file.append(b"bytes").unwrap();
        file.sync_later()().unwrap();
        assert!(file.entry.synced.load(Ordering::Relaxed));
        file.sync().unwrap();

        let mut other = SegmentFile::create(&path, "b").unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        assert!(other.sync().is_err(), "a name that nobody keeps is not synced");
        assert!(file.sync().is_ok(), "that of the first file was");
    }
}
