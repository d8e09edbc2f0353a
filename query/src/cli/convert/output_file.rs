//! The file that `kcap convert` writes: whole or not at all, and never in place of a recording.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use kcap_format::SEGMENT_EXTENSION;
use kcap_format::limits::SYNC_MARKER;

use crate::cli::exit::Usage;
use crate::source::Library;

/// Refuses an OUT that is a recording: a forgotten OUT makes the last SOURCE one.
///
/// # Errors
/// [`Usage`] when `out` is a segment that was opened, is named as one, or begins as one.
pub(in crate::cli) fn refuse_recording(out: &Path, library: &Library) -> anyhow::Result<()> {
    let refuse = |why: &str| {
        Err(Usage::error(format!(
            "{} {why}, and is not written over: name another OUT behind the sources",
            out.display()
        )))
    };
    if out.extension().is_some_and(|extension| extension == SEGMENT_EXTENSION) {
        return refuse("is named as a segment of a recording");
    }
    // What does not exist yet is nobody's.
    let Ok(real) = out.canonicalize() else { return Ok(()) };
    let mut opened = library.segments().filter_map(|handle| handle.path().canonicalize().ok());
    if opened.any(|path| path == real) {
        return refuse("is a SOURCE");
    }
    if real.is_file() && begins_as_segment(&real).with_context(|| format!("cannot read {}", out.display()))? {
        return refuse("is a segment of a recording");
    }
    Ok(())
}

fn begins_as_segment(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    File::open(path)?.take(SYNC_MARKER.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == SYNC_MARKER)
}

/// An open OUT. Its errors name the file.
#[derive(Debug)]
pub(in crate::cli) struct OutputFile {
    file: Box<dyn WriteDebug>,
    /// As it was given.
    name: String,
    /// The file that is written, and the one that it becomes.
    rename: Option<(PathBuf, PathBuf)>,
}

/// What can be written and shown.
trait WriteDebug: Write + std::fmt::Debug {}
impl<T: Write + std::fmt::Debug> WriteDebug for T {}

impl OutputFile {
    /// Opens standard output for `-`; a pipe or device as it is; and for a regular file one beside it, which takes its name
    /// when all is written.
    pub(in crate::cli) fn open(out: &Path) -> anyhow::Result<Self> {
        if out.as_os_str() == "-" {
            let name = "standard output".to_owned();
            return Ok(Self { file: Box::new(io::stdout()), name, rename: None });
        }
        let name = out.display().to_string();
        let open = || -> io::Result<(File, Option<(PathBuf, PathBuf)>)> {
            // Through a link, it is the file that the link names that is written.
            let real = out.canonicalize().unwrap_or_else(|_| out.to_owned());
            if real.exists() && !real.is_file() {
                return Ok((File::create(&real)?, None));
            }
            let mut partial = real.clone().into_os_string();
            partial.push(format!(".{}.partial", std::process::id()));
            let partial = PathBuf::from(partial);
            let file = File::options().write(true).create_new(true).open(&partial)?;
            Ok((file, Some((partial, real))))
        };
        let (file, rename) = open().with_context(|| format!("cannot write {name}"))?;
        Ok(Self { file: Box::new(file), name, rename })
    }

    /// Gives the file its name.
    pub(in crate::cli) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let Some((partial, real)) = &self.rename else { return Ok(()) };
        std::fs::rename(partial, real).with_context(|| format!("cannot write {}", self.name))?;
        self.rename = None;
        Ok(())
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", self.name))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| self.named(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.named(&error))
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.rename {
            // The error that brought us here is the one to tell.
            let _ = std::fs::remove_file(partial);
        }
    }
}
