//! One recording: its segments in order, with what is worth keeping of each.

use std::path::Path;
use std::sync::OnceLock;

use kcap_format::{BlockEntry, BlockType, ClockMap, PacketBatch, PacketColumns, Segment, proto};

use super::damage::{Damage, Missing};
use crate::error::Result;

/// The segments of one recording.
#[derive(Debug)]
pub struct Recording {
    /// Segments by sequence number.
    pub segments: Vec<SegmentHandle>,
}

/// An open segment; what has to be read from it is read once, when it is first asked for.
#[derive(Debug)]
pub struct SegmentHandle {
    /// The segment.
    pub segment: Segment,
    clock: OnceLock<ClockMap>,
    damage: Damage,
}

impl Recording {
    /// The FILE block of the first segment: what the whole recording has in common.
    #[must_use]
    pub fn file_info(&self) -> Option<&proto::FileInfo> {
        self.segments.first().map(|handle| handle.segment.file_info())
    }
}

impl SegmentHandle {
    pub(super) fn new(segment: Segment) -> Self {
        Self { segment, clock: OnceLock::new(), damage: Damage::default() }
    }

    /// The path of the segment's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.segment.path()
    }

    /// The boot that the segment was recorded in: the scope of process ids, cookies and times.
    #[must_use]
    pub fn boot_id(&self) -> &[u8] {
        self.segment.file_info().host.as_ref().map_or(&[], |host| &host.boot_id)
    }

    /// The segment's blocks of one type, in order.
    pub fn blocks(&self, block_type: BlockType) -> impl Iterator<Item = &BlockEntry> {
        self.segment.blocks().iter().filter(move |block| block.block_type == block_type)
    }

    /// Turns times since boot into wall time, from the clock samples of this segment.
    pub fn clock(&self) -> Result<&ClockMap> {
        if let Some(clock) = self.clock.get() {
            return Ok(clock);
        }
        let mut samples: Vec<proto::ClockSample> = self.segment.file_info().clock.iter().copied().collect();
        for block in self.blocks(BlockType::CLOCK) {
            samples.extend(self.without_damage(block, self.segment.clocks(block))?);
        }
        Ok(self.clock.get_or_init(|| ClockMap::from_samples(&samples)))
    }

    /// The segment's events, block by block: first what was alive when it began, then what happened.
    pub fn events(&self) -> impl Iterator<Item = Result<Vec<proto::Event>>> {
        let kinds = [BlockType::SNAPSHOT, BlockType::EVENTS];
        let blocks = kinds.into_iter().flat_map(|kind| self.blocks(kind));
        blocks.map(|block| self.block_events(block))
    }

    /// The events of one block; none when it is damaged.
    ///
    /// # Errors
    /// As [`Segment::events`], save for damage.
    pub fn block_events(&self, block: &BlockEntry) -> Result<Vec<proto::Event>> {
        self.without_damage(block, self.segment.events(block))
    }

    /// The loss reports of one block; none when it is damaged.
    ///
    /// # Errors
    /// As [`Segment::losses`], save for damage.
    pub fn block_losses(&self, block: &BlockEntry) -> Result<Vec<proto::LossReport>> {
        self.without_damage(block, self.segment.losses(block))
    }

    /// The packets of one block; `None` when a wanted section of it is damaged.
    ///
    /// # Errors
    /// As [`Segment::packets`], save for damage.
    pub fn block_packets(&self, block: &BlockEntry, columns: PacketColumns) -> Result<Option<PacketBatch>> {
        self.without_damage(block, self.segment.packets(block, columns).map(Some))
    }

    /// The payloads of one block's packets; `None` when they are damaged, though the packets may be whole otherwise.
    ///
    /// # Errors
    /// As [`Segment::packets`], save for damage.
    pub fn block_payloads(&self, block: &BlockEntry) -> Result<Option<PacketBatch>> {
        let read = self.segment.packets(block, PacketColumns::PAYLOAD).map(Some);
        self.noting(block, Missing::Payloads, read)
    }

    /// How many blocks were found damaged so far. A block is checked when it is read.
    #[must_use]
    pub fn damaged_blocks(&self) -> u64 {
        self.damage.block_count()
    }

    /// What damage left out since this was last asked, as a line for a person.
    #[must_use]
    pub fn take_damage_line(&self) -> Option<String> {
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
