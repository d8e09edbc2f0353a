//! Segments of kcap, from capture files of other programs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use kcap_format::{Effort, FileStorage, SEGMENT_EXTENSION, proto};
use kcap_import::{CaptureFile, ConvertOptions, to_segments};

use crate::cli::exit::Usage;
use crate::source::{Library, SegmentHandle};

/// Bytes after which another segment is begun, as `kcap-record` does unless told otherwise.
const SEGMENT_LEN: u64 = 256 << 20;
/// What is added to the names of segments until all are written.
const PARTIAL: &str = "partial";

/// How hard blocks are compressed: twice as fast as the format's default, and a few percent larger.
const EFFORT: Effort = Effort::Zstd { level: 1 };

/// Writes the segments of one recording: a file when `out` is named as a segment, else a folder of them.
pub(super) fn write(library: &Library, out: &Path, bar: &ProgressBar) -> anyhow::Result<()> {
    let files: Vec<&CaptureFile> = library.segments().filter_map(SegmentHandle::import).collect();
    if let Some(segment) = library.segments().find(|handle| handle.import().is_none()) {
        return Err(Usage::error(format!(
            "{} is a segment already: --to segments takes pcap and pcapng files",
            segment.path().display()
        )));
    }
    let outputs = Outputs::open(out)?;
    let options = ConvertOptions {
        capture_id: capture_id(&files),
        recorder: recorder(&files),
        segment_len: if outputs.is_single { u64::MAX } else { SEGMENT_LEN },
        effort: EFFORT,
    };
    to_segments(&files, &options, |sequence| outputs.create(sequence), |bytes| bar.inc(bytes))?;
    outputs.finish()
}

/// The id of the recording: that of the file, so that the same file gives the same; a new one for several.
fn capture_id(files: &[&CaptureFile]) -> [u8; 16] {
    let same = match files {
        [file] => <[u8; 16]>::try_from(&file.file_info().capture_id[..]).ok(),
        _ => None,
    };
    same.unwrap_or_else(|| uuid::Uuid::new_v4().into_bytes())
}

fn recorder(files: &[&CaptureFile]) -> proto::Recorder {
    let sources: Vec<_> = files.iter().map(|file| file.path().display().to_string()).collect();
    let application = files.iter().filter_map(|file| file.file_info().recorder.as_ref());
    let application = application.map(|recorder| recorder.name.clone()).find(|name| !name.is_empty());
    let mut options = std::collections::BTreeMap::from([("imported_from".to_owned(), sources.join(", "))]);
    options.extend(application.map(|application| ("application".to_owned(), application)));
    let snaplen = files.iter().map(|file| file.snaplen()).collect::<Option<Vec<_>>>();
    options.extend(snaplen.into_iter().flatten().max().map(|len| ("snaplen".to_owned(), len.to_string())));
    proto::Recorder {
        name: env!("CARGO_PKG_NAME").replace("-query", ""),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command_line: std::env::args().collect(),
        options,
        ..proto::Recorder::default()
    }
}

/// The files that are written. They get their names when all are whole, and go when something fails.
struct Outputs {
    out: PathBuf,
    /// One file, and no folder.
    is_single: bool,
    /// Names that they shall have.
    names: Mutex<Vec<PathBuf>>,
    is_finished: bool,
}

impl Outputs {
    fn open(out: &Path) -> anyhow::Result<Self> {
        let is_single = out.extension().is_some_and(|extension| extension == SEGMENT_EXTENSION);
        if is_single {
            if out.exists() {
                bail!(
                    "{} exists already, and segments are not written over: name another OUT",
                    out.display()
                );
            }
        } else {
            std::fs::create_dir_all(out).with_context(|| format!("cannot write {}", out.display()))?;
            let mut entries = out.read_dir().with_context(|| format!("cannot read {}", out.display()))?;
            if entries.next().is_some() {
                bail!("{} is not empty: name a new folder as OUT, or a file NAME.kcap", out.display());
            }
        }
        Ok(Self { out: out.to_owned(), is_single, names: Mutex::default(), is_finished: false })
    }

    fn create(&self, sequence: u64) -> kcap_format::Result<FileStorage> {
        let name = if self.is_single {
            self.out.clone()
        } else {
            self.out.join(format!("{sequence:06}.{SEGMENT_EXTENSION}"))
        };
        let storage = FileStorage::create(partial(&name))?;
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name);
        Ok(storage)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let names = self.names.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for name in names.iter() {
            std::fs::rename(partial(name), name)
                .with_context(|| format!("cannot write {}", name.display()))?;
        }
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let names = self.names.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for name in names.iter() {
            // The error that brought us here is the one to tell.
            let _ = std::fs::remove_file(partial(name));
            let _ = std::fs::remove_file(name);
        }
    }
}

fn partial(name: &Path) -> PathBuf {
    let mut partial = name.as_os_str().to_owned();
    partial.push(format!(".{}.{PARTIAL}", std::process::id()));
    PathBuf::from(partial)
}
