//! What a segment is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An append-only file, small enough that tests can build every crash image.
pub trait Storage {
    /// Appends all bytes or fails. After a failure nothing is known about how many of them were written.
    ///
    /// # Errors
    /// Whatever the operating system says, a full disk included.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything appended before is on stable storage.
    ///
    /// # Errors
    /// Whatever the operating system says. What was not synced before must then be taken for lost.
    fn sync(&mut self) -> io::Result<()>;

    /// The name for messages.
    fn path(&self) -> &Path;
}

/// A file of the operating system.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    path: PathBuf,
}

impl FileStorage {
    /// Makes a new file, readable and writable by its owner alone. An existing file is never touched.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), also when the file exists.
    pub fn create(path: impl Into<PathBuf>) -> crate::Result<Self> {
        let path = path.into();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(crate::Error::io(&path, error)),
        }
    }
}

impl Storage for FileStorage {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
