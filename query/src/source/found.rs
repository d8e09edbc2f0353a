//! What lies under the paths that a person names.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kcap_format::limits::SYNC_MARKER;
use kcap_format::{Capture, Identities, ReadMode, ReadOptions, SEGMENT_EXTENSION, Segment};
use kcap_import::CaptureFile;

use super::pattern::expand;
use crate::error::{Error, Result};

/// The path that stands for standard input.
pub const STANDARD_INPUT: &str = "-";

/// Files that were opened.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Segments of kcap.
    pub(super) segments: Vec<Segment>,
    /// Capture files of other programs, numbered through in this order.
    pub(super) imports: Vec<CaptureFile>,
    /// Files of folders that cannot be read, a line each.
    pub(super) problems: Vec<String>,
    identities: Identities,
}

impl Found {
    /// Opens what the paths name: files, folders of files, and patterns of files that no shell expanded.
    pub(super) fn under(paths: &[PathBuf], identities: &Identities) -> Result<Self> {
        let mut found = Self { identities: identities.clone(), ..Self::default() };
        // The same file may be named twice, by itself and by its folder.
        let mut seen = HashSet::new();
        for path in paths {
            if path.as_os_str() == STANDARD_INPUT {
                if seen.insert(path.clone()) {
                    let stream = CaptureFile::from_stream(path, std::io::stdin(), found.next_number())?;
                    found.imports.push(stream);
                }
                continue;
            }
            if path.exists() {
                found.add(path, &mut seen)?;
                continue;
            }
            let matching = expand(path)?;
            if matching.is_empty() {
                return Err(Error::MissingPath { path: path.clone() });
            }
            matching.iter().try_for_each(|path| found.add(path, &mut seen))?;
        }
        Ok(found)
    }

    fn add(&mut self, path: &Path, seen: &mut HashSet<PathBuf>) -> Result<()> {
        if !path.is_dir() {
            return if is_import(path)? { self.add_import(path, seen) } else { self.add_segments(path) };
        }
        let files = import_files(path)?;
        for file in &files {
            if let Err(error) = self.add_import(file, seen) {
                self.problems.push(error.to_string());
            }
        }
        match self.add_segments(path) {
            Err(Error::Format(kcap_format::Error::NoSegments { .. })) if !files.is_empty() => Ok(()),
            Err(Error::Format(kcap_format::Error::NoSegments { .. })) => {
                Err(Error::EmptyFolder { path: path.to_owned() })
            }
            result => result,
        }
    }

    fn add_import(&mut self, path: &Path, seen: &mut HashSet<PathBuf>) -> Result<()> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if seen.insert(real) {
            self.imports.push(CaptureFile::open(path, self.next_number())?);
        }
        Ok(())
    }

    fn next_number(&self) -> u64 {
        self.imports.len() as u64 + 1
    }

    fn add_segments(&mut self, path: &Path) -> Result<()> {
        // A damaged segment gives the blocks that are whole, and says that others are missing.
        let options = ReadOptions::with_mode(ReadMode::Salvage).with_identities(self.identities.clone());
        let capture = Capture::open_with(path, &options)?;
        if capture.segments.is_empty() {
            // An empty folder is an error of its own; here every segment of it had one.
            return Err(capture.problems.into_iter().next().map_or_else(
                || Error::from(kcap_format::Error::NoSegments { path: path.to_owned() }),
                |problem| problem.error.into(),
            ));
        }
        self.problems.extend(capture.problems.iter().map(|problem| problem.error.to_string()));
        self.segments.extend(capture.segments);
        Ok(())
    }
}

/// Whether a file is to be read as one of another program: all but what is named as a segment or begins as one.
fn is_import(path: &Path) -> Result<bool> {
    if path.extension() == Some(OsStr::new(SEGMENT_EXTENSION)) {
        return Ok(false);
    }
    // A pipe can be read only once, and no segment comes from one.
    if !path.is_file() {
        return Ok(true);
    }
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut begin = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SYNC_MARKER.len() as u64).read_to_end(&mut begin))
        .map_err(unreadable)?;
    Ok(begin != SYNC_MARKER)
}

/// The files of a folder that begin as capture files of other programs, sorted by name. Compressed files are such only when
/// their name says so.
fn import_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |source| Error::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let is_compressed = [".gz", ".zst"].iter().any(|extension| name.ends_with(extension));
        let named = !is_compressed || name.contains("cap");
        // What cannot be read is somebody else's: the file of a service, a socket, a broken link.
        if path.is_file() && named && kcap_import::is_capture(&path).unwrap_or(false) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
