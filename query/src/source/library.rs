//! All recordings that one command was pointed at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcap_format::{Capture, ReadMode, ReadOptions, SegmentState};

use super::owner_cache::OwnerCache;
use super::owners::SegmentOwners;
use super::recording::{Recording, SegmentHandle};
use crate::error::{Error, Result};

/// The open recordings under some paths, and what could not be read of them.
#[derive(Debug, Default)]
pub struct Library {
    /// One for each capture id.
    pub recordings: Vec<Recording>,
    /// One line for each thing that is missing or damaged; the rest can be used without it.
    pub problems: Vec<String>,
    owners: OwnerCache,
}

impl Library {
    /// Opens folders and segments.
    ///
    /// # Errors
    /// A path that does not exist, a folder without segments, and a source of which nothing can be read.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut problems = Vec::new();
        let mut by_capture: BTreeMap<(u64, Vec<u8>), Vec<SegmentHandle>> = BTreeMap::new();
        for path in paths {
            for segment in open_source(path, &mut problems)? {
                if let Some(problem) = state_problem(&segment) {
                    problems.push(problem);
                }
                let file = segment.file_info();
                let capture_id = file.capture_id.clone();
                let known = by_capture.keys().find(|(_, id)| *id == capture_id).cloned();
                let begin = file.clock.as_ref().map_or(0, |clock| clock.realtime_ns);
                by_capture
                    .entry(known.unwrap_or((begin, capture_id)))
                    .or_default()
                    .push(SegmentHandle::new(segment));
            }
        }
        let recordings = by_capture.into_values().map(|mut segments| {
            segments.sort_by_key(|handle| handle.segment.file_info().segment_sequence);
            // The same segment may be named twice, as a file and in its folder.
            segments.dedup_by_key(|handle| handle.segment.file_info().segment_sequence);
            Recording { segments }
        });
        Ok(Self { recordings: recordings.collect(), problems, owners: OwnerCache::default() })
    }

    /// Who owned which socket in a segment: that at `position` of recording `recording`.
    ///
    /// # Errors
    /// When the segment's events cannot be read.
    pub fn owners(&self, recording: usize, position: usize) -> Result<Arc<SegmentOwners>> {
        self.owners.of((recording, position), || SegmentOwners::read(&self.recordings[recording], position))
    }

    /// The place of the segment that was opened from a path: its recording, and its position in it.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<(usize, usize)> {
        self.recordings.iter().enumerate().find_map(|(recording, segments)| {
            let position = segments.segments.iter().position(|handle| handle.path() == path)?;
            Some((recording, position))
        })
    }

    /// What damage left out of answers since this was last asked: a line for each segment.
    #[must_use]
    pub fn take_damage_lines(&self) -> Vec<String> {
        self.segments().filter_map(SegmentHandle::take_damage_line).collect()
    }

    /// One library for each host, by its name.
    #[must_use]
    pub fn by_host(self) -> BTreeMap<String, Self> {
        let mut hosts: BTreeMap<String, Self> = BTreeMap::new();
        for recording in self.recordings {
            let host =
                recording.file_info().and_then(|file| file.host.as_ref()).map(|host| host.hostname.clone());
            hosts.entry(host.unwrap_or_default()).or_default().recordings.push(recording);
        }
        hosts
    }

    /// Every segment of every recording, in order.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentHandle> {
        self.recordings.iter().flat_map(|recording| &recording.segments)
    }
}

fn open_source(path: &Path, problems: &mut Vec<String>) -> Result<Vec<kcap_format::Segment>> {
    if !path.exists() {
        return Err(Error::MissingPath { path: path.to_owned() });
    }
    // A damaged segment gives the blocks that are whole; `state_problem` says that others are missing.
    let capture = Capture::open_with(path, &ReadOptions::with_mode(ReadMode::Salvage))?;
    if capture.segments.is_empty() {
        // An empty folder is an error of its own; here every segment of it had one.
        return Err(capture.problems.into_iter().next().map_or_else(
            || Error::from(kcap_format::Error::NoSegments { path: path.to_owned() }),
            |problem| problem.error.into(),
        ));
    }
    problems.extend(capture.problems.iter().map(|problem| problem.error.to_string()));
    Ok(capture.segments)
}

/// What a person should know about a segment that did not end orderly.
fn state_problem(segment: &kcap_format::Segment) -> Option<String> {
    damage_text(segment).map(|damage| format!("{}: {damage}", segment.path().display()))
}

/// Where a segment is cut or damaged, and what of it is used; `None` when opening found all of it whole.
#[must_use]
pub fn damage_text(segment: &kcap_format::Segment) -> Option<String> {
    let skipped = segment.skipped_len();
    match segment.state() {
        SegmentState::Torn { offset } if segment.blocks().iter().any(|block| block.offset > offset) => {
            Some(format!("damaged at offset {offset}, {skipped} bytes skipped; the rest is used"))
        }
        SegmentState::Torn { offset } => {
            Some(format!("cut short at offset {offset}; everything before it is used"))
        }
        SegmentState::Corrupt { offset, what } => {
            Some(format!("damaged at offset {offset} ({what}), {skipped} bytes skipped; the rest is used"))
        }
        _ => None,
    }
}
