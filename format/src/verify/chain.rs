//! What segments say about each other: a whole one that is missing, another in its place, an end that was there once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{FileReport, FileState};
use crate::index::BlockEntry;
use crate::proto;
use crate::segment::{ReadMode, ReadOptions, Segment};

/// Something that is missing between segments, or doesn't fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainFault {
    /// Position in [`Report::files`](super::Report::files) of the segment that tells of it: the later one.
    pub file: usize,
    /// What it is.
    pub kind: ChainFaultKind,
}

/// What doesn't fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFaultKind {
    /// Segments of a recording are not there, though older ones are.
    Missing {
        /// Sequence of the first that is missing.
        first: u64,
        /// Sequence of the last that is missing.
        last: u64,
    },
    /// The segment before was sealed, and now its end is gone.
    EndGone {
        /// The segment before.
        path: PathBuf,
    },
    /// The segment before is not the one that was there when this one was begun.
    Replaced {
        /// The segment before.
        path: PathBuf,
    },
    /// Two files are the same segment of a recording.
    Duplicate {
        /// The other one.
        path: PathBuf,
    },
    /// The last segment of the recording before is not there, though older ones are.
    PredecessorGone {
        /// The name that its file had.
        name: String,
    },
    /// The last segment of the recording before has lost blocks since this recording was begun, or has others.
    PredecessorChanged {
        /// Its file.
        path: PathBuf,
    },
}

impl ChainFaultKind {
    /// A word for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::EndGone { .. } => "end_gone",
            Self::Replaced { .. } => "replaced",
            Self::Duplicate { .. } => "duplicate",
            Self::PredecessorGone { .. } => "predecessor_gone",
            Self::PredecessorChanged { .. } => "predecessor_changed",
        }
    }
}

impl fmt::Display for ChainFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { first, last } if first == last => {
                write!(f, "segment {first} of this recording is missing")
            }
            Self::Missing { first, last } => {
                write!(f, "segments {first} to {last} of this recording are missing")
            }
            Self::EndGone { path } => {
                write!(f, "the segment before, {}, had more blocks than it has now", path.display())
            }
            Self::Replaced { path } => {
                write!(f, "the segment before, {}, is not the one that was recorded", path.display())
            }
            Self::Duplicate { path } => write!(f, "{} is the same segment of this recording", path.display()),
            Self::PredecessorGone { name } => {
                write!(f, "{name}, the last segment of the recording before, is missing")
            }
            Self::PredecessorChanged { path } => write!(
                f,
                "{}, the last segment of the recording before, has changed since this one was begun",
                path.display()
            ),
        }
    }
}

/// Compares the segments of each recording with what the next one says. Only a folder can miss segments.
pub(super) fn check(files: &[FileReport], is_folder: bool) -> Vec<ChainFault> {
    let mut recordings: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate().filter(|(_, file)| !file.file_info.capture_id.is_empty()) {
        recordings.entry(&file.file_info.capture_id).or_default().push(at);
    }
    let mut recordings: Vec<Vec<usize>> = recordings.into_values().collect();
    for recording in &mut recordings {
        recording.sort_by_key(|&at| files[at].file_info.segment_sequence);
    }
    // The oldest recording first.
    recordings.sort_by_key(|recording| begin_ns(&files[recording[0]]));
    let mut faults = Vec::new();
    for (age, recording) in recordings.iter().enumerate() {
        let links = Links { files, is_folder, has_older: age > 0 };
        links.first(recording[0], &mut faults);
        for pair in recording.windows(2) {
            links.between(pair[0], pair[1], &mut faults);
        }
    }
    faults.sort_by_key(|fault| fault.file);
    faults
}

fn begin_ns(file: &FileReport) -> u64 {
    file.file_info.clock.as_ref().map_or(0, |clock| clock.realtime_ns)
}

struct Links<'a> {
    files: &'a [FileReport],
    is_folder: bool,
    /// Whether the folder has a segment of an older recording. Retention removes the oldest ones first: whatever is
    /// missing behind one that is there was not removed by it.
    has_older: bool,
}

impl Links<'_> {
    fn first(&self, at: usize, faults: &mut Vec<ChainFault>) {
        let info = &self.files[at].file_info;
        let lost_before = info.repair.as_ref().map_or(0, |repair| repair.segments_lost_before);
        let missing = info.segment_sequence.saturating_sub(1);
        if self.is_folder && self.has_older && missing > lost_before {
            self.missing(None, at, 1, missing, faults);
        }
        if let Some(predecessor) = &info.predecessor
            && self.is_folder
        {
            faults.extend(
                predecessor_fault(predecessor, self.files, self.has_older)
                    .map(|kind| ChainFault { file: at, kind }),
            );
        }
    }

    fn between(&self, before: usize, at: usize, faults: &mut Vec<ChainFault>) {
        let (older, file) = (&self.files[before], &self.files[at]);
        let [from, to] = [older, file].map(|file| file.file_info.segment_sequence);
        let lost_before = file.file_info.repair.as_ref().map_or(0, |repair| repair.segments_lost_before);
        let gap = to.saturating_sub(from).saturating_sub(1);
        if from == to {
            let path = older.path.clone();
            faults.push(ChainFault { file: at, kind: ChainFaultKind::Duplicate { path } });
        } else if gap > 0 {
            if self.is_folder && gap != lost_before {
                self.missing(Some(before), at, from + 1, to - 1, faults);
            }
        } else if let Some(kind) = link(older, &file.file_info.previous_digest) {
            faults.push(ChainFault { file: at, kind });
        }
    }

    /// Tells of missing segments, unless files that don't say any more who they are may be them.
    fn missing(&self, before: Option<usize>, at: usize, first: u64, last: u64, faults: &mut Vec<ChainFault>) {
        let between = before.map_or(0, |before| before + 1)..at;
        let nameless = self.files.get(between).unwrap_or_default();
        let nameless = nameless.iter().filter(|file| is_nameless(file)).count() as u64;
        if last - first + 1 > nameless {
            faults.push(ChainFault { file: at, kind: ChainFaultKind::Missing { first, last } });
        }
    }
}

/// Whether the last segment of the recording before is as it was found when the next one began.
pub(crate) fn predecessor_fault(
    told: &proto::Predecessor,
    files: &[FileReport],
    has_older: bool,
) -> Option<ChainFaultKind> {
    let name = String::from_utf8_lossy(&told.name).into_owned();
    let has_name = |file: &&FileReport| file.path.file_name() == Path::new(&name).file_name();
    let Some(file) = files.iter().find(has_name) else {
        return has_older.then_some(ChainFaultKind::PredecessorGone { name });
    };
    let repaired = file.file_info.repair.as_ref();
    let stands_for = repaired.is_some_and(|repair| repair.source_segment_id == told.segment_id);
    if stands_for || told.segment_id.is_empty() || has_blocks(file, told) {
        return None;
    }
    Some(ChainFaultKind::PredecessorChanged { path: file.path.clone() })
}

/// Whether a file begins with the blocks that were found in it. There may be more: what was being written.
fn has_blocks(file: &FileReport, told: &proto::Predecessor) -> bool {
    let Ok(segment) = Segment::open_with(&file.path, &ReadOptions::with_mode(ReadMode::Salvage)) else {
        return false;
    };
    let blocks = segment.blocks().get(..told.block_count as usize);
    told.segment_id == segment.id()
        && blocks.is_some_and(|blocks| BlockEntry::digest_of(blocks)[..] == told.entries_digest[..])
}

/// A file that is a segment, or was one, and doesn't say which.
pub(crate) fn is_nameless(file: &FileReport) -> bool {
    file.file_info.capture_id.is_empty() && file.state != FileState::Clean
}

/// Whether a segment is the one whose digest the next one names. A repaired one stands for what was repaired.
pub(crate) fn link(older: &FileReport, previous_digest: &[u8]) -> Option<ChainFaultKind> {
    if previous_digest.is_empty() {
        return None;
    }
    let path = older.path.clone();
    let source_digest = older.file_info.repair.as_ref().map(|repair| &repair.source_digest[..]);
    if source_digest == Some(previous_digest) {
        return None;
    }
    match older.sealed_digest {
        Some(sealed) if sealed[..] == *previous_digest => None,
        Some(_) => Some(ChainFaultKind::Replaced { path }),
        // Everything is there but the SEAL.
        None if older.digest[..] == *previous_digest => None,
        // The file itself tells of damage; its blocks could not have this digest.
        None if older.state == FileState::Corrupt => None,
        None => Some(ChainFaultKind::EndGone { path }),
    }
}
