//! All recordings that one command was pointed at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcap_format::Identities;

use super::found::Found;
use super::owner_cache::OwnerCache;
use super::owners::SegmentOwners;
use super::recording::{Recording, SegmentHandle};
use crate::error::Result;

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
    /// Opens folders, segments, and capture files of other programs; `-` is standard input.
    ///
    /// # Errors
    /// A path that does not exist, a folder without recordings, and a source of which nothing can be read.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        Self::open_with(paths, &Identities::default())
    }

    /// As [`Self::open`]; encrypted segments are read with these identities. Without a fitting one, what is encrypted
    /// cannot be read, and asking for it fails.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(paths: &[PathBuf], identities: &Identities) -> Result<Self> {
        let Found { segments, imports, mut problems, .. } = Found::under(paths, identities)?;
        let mut by_capture: BTreeMap<(u64, Vec<u8>), Vec<SegmentHandle>> = BTreeMap::new();
        for segment in segments {
            let file = segment.file_info();
            let capture_id = file.capture_id.clone();
            let known = by_capture.keys().find(|(_, id)| *id == capture_id).cloned();
            let begin = file.clock.as_ref().map_or(0, |clock| clock.realtime_ns);
            let handle = SegmentHandle::new(segment);
            if let Some(damage) = handle.damage_text() {
                problems.push(format!("{}: {damage}", handle.path().display()));
            }
            by_capture.entry(known.unwrap_or((begin, capture_id))).or_default().push(handle);
        }
        let recordings = by_capture.into_values().map(|mut segments| {
            segments.sort_by_key(SegmentHandle::sequence);
            // The same segment may be named twice, as a file and in its folder.
            segments.dedup_by_key(|handle| handle.sequence());
            Recording { segments }
        });
        // A file of another program is a recording of its own.
        let imports =
            imports.into_iter().map(|file| Recording { segments: vec![SegmentHandle::of_import(file)] });
        Ok(Self { recordings: recordings.chain(imports).collect(), problems, owners: OwnerCache::default() })
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

    /// Whether there can be two copies of a packet, one leaving and one arriving: not in what other programs captured.
    #[must_use]
    pub fn has_copies(&self) -> bool {
        !self.segments().all(SegmentHandle::is_imported)
    }

    /// Whether packets of some sockets were recorded otherwise than those of others.
    #[must_use]
    pub fn has_payload_tasks(&self) -> bool {
        self.segments().any(|segment| !segment.payload_tasks().is_empty())
    }

    /// Every segment of every recording, in order.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentHandle> {
        self.recordings.iter().flat_map(|recording| &recording.segments)
    }
}
