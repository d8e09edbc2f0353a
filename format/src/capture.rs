//! A recording: the segments of a folder.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::segment::{ReadOptions, Segment};

/// Extension of segment files.
pub const SEGMENT_EXTENSION: &str = "kcap";

/// The segments of a folder (or a single one), open for reading.
#[derive(Debug)]
#[non_exhaustive]
pub struct Capture {
    /// What was asked for.
    pub path: PathBuf,
    /// Sorted by recording and sequence.
    pub segments: Vec<Segment>,
    /// Segments that cannot be read. They are part of the answer: say that they are missing from it.
    pub problems: Vec<Problem>,
}

/// A segment that cannot be read.
#[derive(Debug)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: Error,
}

impl Capture {
    /// Opens a segment, or all segments of a folder, tail-tolerant.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &ReadOptions::default())
    }

    /// Opens a segment, or all segments of a folder. Folders in it are not looked into.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSegments`]; for a single file what [`Segment::open_with`] says.
    pub fn open_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        let mut capture = Self { path: path.to_owned(), segments: Vec::new(), problems: Vec::new() };
        if !metadata.is_dir() {
            capture.segments.push(Segment::open_with(path, options)?);
            return Ok(capture);
        }
        for file in segment_files(path)? {
            match Segment::open_with(&file, options) {
                Ok(segment) => capture.segments.push(segment),
                Err(error) => capture.problems.push(Problem { path: file, error }),
            }
        }
        if capture.segments.is_empty() && capture.problems.is_empty() {
            return Err(Error::NoSegments { path: path.to_owned() });
        }
        capture.segments.sort_by(|a, b| {
            let key = |segment: &Segment| segment.file_info().segment_sequence;
            (&a.file_info().capture_id, key(a), a.path()).cmp(&(&b.file_info().capture_id, key(b), b.path()))
        });
        Ok(capture)
    }
}

/// The files of a folder that are named as segments, sorted by name.
pub(crate) fn segment_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == SEGMENT_EXTENSION) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    read().map_err(|error| Error::io(folder, error))
}
