//! One recording: its segments in order, with what is worth keeping of each.

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

use kcap_format::{
    BlockEntry, BlockType, ClockMap, PacketBatch, PacketColumns, Segment, SegmentState, proto,
};
use kcap_import::{CaptureFile, Packets};

use super::comments::Comments;
use super::damage::{Damage, Missing};
use crate::error::Result;

/// The segments of one recording.
#[derive(Debug)]
pub struct Recording {
    /// Segments by sequence number.
    pub segments: Vec<SegmentHandle>,
}

/// An open segment, or a capture file of another program that stands for one; what has to be read from it is read once,
/// when it is first asked for.
#[derive(Debug)]
pub struct SegmentHandle {
    body: Body,
    clock: OnceLock<ClockMap>,
    damage: Damage,
    /// Whether all dictionaries are there that payloads may have been compressed with.
    has_dictionaries: OnceLock<bool>,
}

/// Where the blocks of a segment lie.
#[derive(Debug)]
enum Body {
    Segment(Segment),
    Import(Box<CaptureFile>),
}

impl Recording {
    /// The FILE block of the first segment: what the whole recording has in common.
    #[must_use]
    pub fn file_info(&self) -> Option<&proto::FileInfo> {
        self.segments.first().map(SegmentHandle::file_info)
    }
}

impl SegmentHandle {
    pub(super) fn new(segment: Segment) -> Self {
        Self::of(Body::Segment(segment))
    }

    pub(super) fn of_import(file: CaptureFile) -> Self {
        Self::of(Body::Import(Box::new(file)))
    }

    fn of(body: Body) -> Self {
        Self { body, clock: OnceLock::new(), damage: Damage::default(), has_dictionaries: OnceLock::new() }
    }

    /// The path of the segment's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.body {
            Body::Segment(segment) => segment.path(),
            Body::Import(file) => file.path(),
        }
    }

    /// What the FILE block says.
    #[must_use]
    pub fn file_info(&self) -> &proto::FileInfo {
        match &self.body {
            Body::Segment(segment) => segment.file_info(),
            Body::Import(file) => file.file_info(),
        }
    }

    /// The recorder's payload tasks: bit `n` of a packet's TASKS is that of task `n`.
    #[must_use]
    pub fn payload_tasks(&self) -> &[proto::PayloadTask] {
        self.file_info().recorder.as_ref().map_or(&[], |recorder| &recorder.payload_tasks)
    }

    /// The name of a payload task, by its bit; the number of the bit where the segment has none that a recorder takes.
    #[must_use]
    pub fn payload_task_name(&self, bit: u32) -> Cow<'_, str> {
        let name = self.payload_tasks().get(bit as usize).map(|task| task.name.as_str());
        match name.filter(|name| name.len() <= proto::PayloadTask::NAME_LEN_MAX) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(bit.to_string()),
        }
    }

    /// Sequence number in the recording, from 1; the files of one command are counted through.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.file_info().segment_sequence
    }

    /// Bytes on disk.
    #[must_use]
    pub fn disk_len(&self) -> u64 {
        match &self.body {
            Body::Segment(segment) => segment.len(),
            Body::Import(file) => file.len(),
        }
    }

    /// The capture file of another program that this is.
    #[must_use]
    pub fn import(&self) -> Option<&CaptureFile> {
        match &self.body {
            Body::Segment(_) => None,
            Body::Import(file) => Some(file),
        }
    }

    /// Whether the packets come from a capture file of another program, directly or by way of a segment: they have no owners,
    /// and each is one of its own.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        self.file_info().origin() == proto::file_info::Origin::Import
    }

    /// In which state the file was found, as far as it was read.
    #[must_use]
    pub fn state(&self) -> SegmentState {
        match &self.body {
            Body::Segment(segment) => segment.state(),
            Body::Import(file) => file.state(),
        }
    }

    /// Where the file is cut or damaged, and what of it is used; `None` when it is whole as far as it was read.
    #[must_use]
    pub fn damage_text(&self) -> Option<String> {
        let (blocks, skipped) = match &self.body {
            Body::Segment(segment) => (segment.blocks(), segment.skipped_len()),
            Body::Import(_) => (&[][..], 0),
        };
        match self.state() {
            SegmentState::Torn { offset } if blocks.iter().any(|block| block.offset > offset) => {
                Some(format!("damaged at offset {offset}, {skipped} bytes skipped; the rest is used"))
            }
            SegmentState::Torn { offset } => {
                Some(format!("cut short at offset {offset}; everything before it is used"))
            }
            SegmentState::Corrupt { offset, what } if self.import().is_some() => {
                Some(format!("damaged at offset {offset} ({what}); everything before it is used"))
            }
            SegmentState::Corrupt { offset, what } => Some(format!(
                "damaged at offset {offset} ({what}), {skipped} bytes skipped; the rest is used"
            )),
            // It is whole, and was made of one that was not.
            _ => self
                .file_info()
                .repair
                .as_ref()?
                .lost_text()
                .map(|lost| format!("repaired; lost before: {lost}")),
        }
    }

    /// All blocks, in their order. A capture file of another program is walked to its end for that.
    ///
    /// # Errors
    /// When such a file cannot be read.
    pub fn all_blocks(&self) -> Result<&[BlockEntry]> {
        match &self.body {
            Body::Segment(segment) => Ok(segment.blocks()),
            Body::Import(file) => Ok(file.blocks()?),
        }
    }

    /// The boot that the segment was recorded in: the scope of process ids, cookies and times.
    #[must_use]
    pub fn boot_id(&self) -> &[u8] {
        self.file_info().host.as_ref().map_or(&[], |host| &host.boot_id)
    }

    /// The segment's blocks of one type, in order. Fails as [`Self::all_blocks`].
    pub fn blocks(&self, block_type: BlockType) -> Result<impl DoubleEndedIterator<Item = &BlockEntry>> {
        Ok(self.all_blocks()?.iter().filter(move |block| block.block_type == block_type))
    }

    /// Turns times since boot into wall time, from the clock samples of this segment.
    pub fn clock(&self) -> Result<&ClockMap> {
        if let Some(clock) = self.clock.get() {
            return Ok(clock);
        }
        let clock = match &self.body {
            Body::Segment(segment) => {
                segment.clock_map(|block, error| self.without_damage(block, Err(error)))?
            }
            // Times of imported packets are wall times already.
            Body::Import(_) => ClockMap::from_samples(self.file_info().clock.as_slice()),
        };
        Ok(self.clock.get_or_init(|| clock))
    }

    /// The segment's events, block by block: first what was alive when it began, then what happened.
    pub fn events(&self) -> Result<impl Iterator<Item = Result<Vec<proto::Event>>>> {
        let blocks = self.blocks(BlockType::SNAPSHOT)?.chain(self.blocks(BlockType::EVENTS)?);
        Ok(blocks.map(|block| self.block_events(block)))
    }

    /// The events of one block; none when it is damaged.
    ///
    /// # Errors
    /// As [`Segment::events`], save for damage.
    pub fn block_events(&self, block: &BlockEntry) -> Result<Vec<proto::Event>> {
        match &self.body {
            Body::Segment(segment) => self.without_damage(block, segment.events(block)),
            Body::Import(file) => Ok(file.interface_events()?),
        }
    }

    /// The comments of one block's packets, where they came from a capture file.
    ///
    /// # Errors
    /// As [`Self::block_events`].
    pub fn block_comments(&self, block: &BlockEntry) -> Result<Comments> {
        match &self.body {
            Body::Segment(segment) => Comments::of_segment(self, segment.blocks(), block),
            Body::Import(file) => Ok(Comments::of_file(file.comments(block)?)),
        }
    }

    /// The loss reports of one block; none when it is damaged.
    ///
    /// # Errors
    /// As [`Segment::losses`], save for damage.
    pub fn block_losses(&self, block: &BlockEntry) -> Result<Vec<proto::LossReport>> {
        match &self.body {
            Body::Segment(segment) => self.without_damage(block, segment.losses(block)),
            Body::Import(file) => Ok(file.losses()?.into_iter().collect()),
        }
    }

    /// The packets of one block; `None` when a wanted section of it is damaged. Their headers come decoded where reading them
    /// took that.
    ///
    /// # Errors
    /// As [`Segment::packets`], save for damage.
    pub fn block_packets(&self, block: &BlockEntry, columns: PacketColumns) -> Result<Option<Packets>> {
        match &self.body {
            Body::Segment(segment) => {
                let batch = self.without_damage(block, segment.packets(block, columns).map(Some))?;
                Ok(batch.map(|batch| Packets { batch, decoded: Vec::new() }))
            }
            Body::Import(file) => Ok(Some(file.packets(block, columns)?)),
        }
    }

    /// The payloads of one block's packets; `None` when they are damaged, though the packets may be whole otherwise.
    ///
    /// # Errors
    /// As [`Segment::packets`], save for damage.
    pub fn block_payloads(&self, block: &BlockEntry) -> Result<Option<PacketBatch>> {
        match &self.body {
            Body::Segment(segment) => {
                let read = segment.packets(block, PacketColumns::PAYLOAD).map(Some);
                self.noting(block, Missing::Payloads, read)
            }
            Body::Import(file) => Ok(Some(file.packets(block, PacketColumns::PAYLOAD)?.batch)),
        }
    }

    /// Whether a block's payloads can be read, as far as checksums tell without decompressing anything. Where not, they may
    /// still be readable.
    #[must_use]
    pub fn payloads_are_whole(&self, block: &BlockEntry) -> bool {
        let Body::Segment(segment) = &self.body else { return true };
        let has_dictionaries = || {
            let mut dictionaries =
                segment.blocks().iter().filter(|block| block.block_type == BlockType::DICTIONARY);
            self.damage_text().is_none() && dictionaries.all(|block| segment.check_block(block).is_ok())
        };
        *self.has_dictionaries.get_or_init(has_dictionaries) && segment.check_block(block).is_ok()
    }

    /// How many blocks were found damaged so far. A block is checked when it is read.
    #[must_use]
    pub fn damaged_blocks(&self) -> u64 {
        self.damage.block_count()
    }

    /// What damage left out since this was last asked, as a line for a person.
    #[must_use]
    pub fn take_damage_line(&self) -> Option<String> {
        // How a capture file ends is known when it was read to its end.
        if self.import().is_some()
            && let Some(damage) = self.damage_text()
            && self.damage.tell_state()
        {
            return Some(format!("{}: {damage}", self.path().display()));
        }
        self.damage.take_line(self.path())
    }

    fn without_damage<T: Default>(&self, block: &BlockEntry, read: kcap_format::Result<T>) -> Result<T> {
        self.noting(block, Missing::Records, read)
    }

    /// Notes damage, and gives nothing in place of what it made unreadable.
    fn noting<T: Default>(
        &self,
        block: &BlockEntry,
        missing: Missing,
        read: kcap_format::Result<T>,
    ) -> Result<T> {
        match read {
            Err(kcap_format::Error::Corrupt { what, .. }) => {
                self.damage.note(block, missing, what);
                Ok(T::default())
            }
            other => Ok(other?),
        }
    }
}

/// Sixteen bytes as a UUID; other lengths as plain hexadecimal digits.
#[must_use]
pub fn uuid_text(bytes: &[u8]) -> String {
    match uuid::Uuid::from_slice(bytes) {
        Ok(uuid) => uuid.hyphenated().to_string(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
