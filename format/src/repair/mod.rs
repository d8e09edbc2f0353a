//! Damaged recordings become whole ones: what can be read is written anew, what can't is listed in the result.

mod lost;
mod plan;
mod rewrite;
mod room;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::proto;
use crate::storage::{FileStorage, Storage};
use crate::verify::{FileReport, FileState, Report, VerifyOptions, check_file, source_files, verify};
use plan::Plan;

/// What became of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was whole, and was copied as it is.
    Copied,
    /// What could be read was written to a new segment; this says what is lost.
    Rewritten(Box<proto::Repair>),
    /// Nothing of it could be read, or it is there twice.
    LeftOut {
        /// Why.
        reason: String,
    },
}

/// A file of the source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairedFile {
    /// What was found out about it.
    pub source: FileReport,
    /// Where it was written to; `None` when it was left out.
    pub path: Option<PathBuf>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a repair did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairReport {
    /// One for each file of the source, in the order of their paths.
    pub files: Vec<RepairedFile>,
    /// The result, read again.
    pub result: Report,
}

/// Makes a whole recording of a damaged one: `source` and `out` are two folders, or two segments. The source is only
/// read; `out` must not exist, or be an empty folder. The result is synced, and read again. `on_read` hears of bytes that
/// were read, three times those of the source in all.
///
/// # Errors
/// [`Error::Io`] when files cannot be read or written, [`Error::NoSegments`] for a folder without one,
/// [`Error::NotASegment`] when nothing can be read of any file.
pub fn repair(source: &Path, out: &Path, on_read: &(dyn Fn(u64) + Sync)) -> Result<RepairReport> {
    let paths = source_files(source)?;
    let options = VerifyOptions { on_read, ..VerifyOptions::default() };
    let checked: Vec<FileReport> = paths.iter().map(|path| check_file(path, &options)).collect();
    if checked.iter().all(|file| file.segment_id.is_none()) {
        return Err(Error::NotASegment { path: source.to_owned() });
    }
    let plans = plan::plan(&checked);
    let target = Target::prepare(source, out)?;
    let mut files = Vec::with_capacity(checked.len());
    for (file, plan) in checked.into_iter().zip(plans) {
        let path = target.path_of(&file.path);
        let len = file.len;
        let outcome = match plan {
            Plan::LeaveOut { reason } => Outcome::LeftOut { reason },
            Plan::Copy => {
                copy(&file.path, &path)?;
                Outcome::Copied
            }
            Plan::Rewrite(info) => Outcome::Rewritten(Box::new(rewrite::rewrite(&file, &info, &path)?)),
        };
        on_read(len);
        let path = (!matches!(outcome, Outcome::LeftOut { .. })).then_some(path);
        files.push(RepairedFile { source: file, path, outcome });
    }
    target.sync()?;
    let result = verify(&[out], &options)?;
    Ok(RepairReport { files, result })
}

/// Where the result goes.
struct Target {
    out: PathBuf,
    is_folder: bool,
}

impl Target {
    fn prepare(source: &Path, out: &Path) -> Result<Self> {
        let is_folder = source.is_dir();
        if is_folder {
            let made = match create_folder(out) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && is_empty(out) => Ok(()),
                made => made,
            };
            made.map_err(|error| Error::io(out, error))?;
        }
        Ok(Self { out: out.to_owned(), is_folder })
    }

    fn path_of(&self, source: &Path) -> PathBuf {
        match source.file_name() {
            Some(name) if self.is_folder => self.out.join(name),
            _ => self.out.clone(),
        }
    }

    /// Makes the names of the new files survive a crash.
    fn sync(&self) -> Result<()> {
        #[cfg(unix)]
        if self.is_folder {
            std::fs::File::open(&self.out)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| Error::io(&self.out, error))?;
        }
        Ok(())
    }
}

/// Only the owner may read what was recorded.
#[cfg(unix)]
fn create_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_folder(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir(path)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = std::fs::File::open(from).map_err(|error| Error::io(from, error))?;
    let mut storage = FileStorage::create(to)?;
    let mut buffer = vec![0; COPY_STEP_LEN];
    loop {
        let len = source.read(&mut buffer).map_err(|error| Error::io(from, error))?;
        if len == 0 {
            return storage.sync().map_err(|error| Error::io(to, error));
        }
        storage.append(&buffer[..len]).map_err(|error| Error::io(to, error))?;
    }
}

/// Bytes that are copied at once.
const COPY_STEP_LEN: usize = 1 << 20;

/// Whether a file can't be used at all, and why.
fn refusal(file: &FileReport) -> Option<String> {
    let is_refused = file.segment_id.is_none() || file.state == FileState::Unsupported;
    is_refused.then(|| file.reason.clone().unwrap_or_else(|| file.state.name().to_owned()))
}
