//! The segments that are written, one after the other.

use std::sync::{Mutex, PoisonError};

use kcap_format::{BlockEncoder, BlockType, EncodedBlock, SegmentWriter, Storage, proto, split_events};

use super::{ConvertOptions, InterfaceNumbers, file_texts};
use crate::capture::CaptureFile;
use crate::error::Result;

/// Encoders that learned about the traffic, for whichever thread wants one.
#[derive(Default)]
pub(super) struct Encoders(Mutex<Vec<BlockEncoder>>);

impl Encoders {
    pub(super) fn with<T>(&self, encode: impl FnOnce(&mut BlockEncoder) -> T) -> T {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = idle.unwrap_or_default();
        let encoded = encode(&mut encoder);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
        encoded
    }
}

/// The recording that is made.
pub(super) struct Output<'a, S: Storage, C> {
    options: &'a ConvertOptions,
    create: C,
    /// What all FILE blocks say.
    file: proto::FileInfo,
    /// The interfaces of all files, with their numbers in the recording.
    interfaces: Vec<proto::Event>,
    /// What is known of losses; goes to the last segment, and to each what it stores.
    losses: Option<proto::LossReport>,
    sequence: u64,
    previous_digest: Vec<u8>,
    /// `None` only between two segments.
    open: Option<SegmentWriter<S>>,
}

impl<'a, S: Storage, C: FnMut(u64) -> kcap_format::Result<S>> Output<'a, S, C> {
    pub(super) fn new(
        files: &[&CaptureFile],
        numbers: &[InterfaceNumbers],
        options: &'a ConvertOptions,
        create: C,
    ) -> Result<Self> {
        let mut file = proto::FileInfo {
            capture_id: options.capture_id.to_vec(),
            host: files.first().and_then(|file| file.file_info().host.clone()),
            recorder: Some(options.recorder.clone()),
            origin: proto::file_info::Origin::Import.into(),
            ..proto::FileInfo::default()
        };
        file_texts::fit(&mut file);
        let mut output = Self {
            options,
            create,
            file,
            interfaces: interfaces(files, numbers)?,
            losses: losses(files)?,
            sequence: 0,
            previous_digest: Vec::new(),
            open: None,
        };
        output.begin()?;
        Ok(output)
    }

    /// Writes blocks that belong together, in a new segment when there is enough in the last.
    pub(super) fn blocks(&mut self, blocks: &[EncodedBlock]) -> Result<()> {
        if self.open.as_ref().is_none_or(|writer| writer.len() >= self.options.segment_len) {
            self.end(true)?;
            self.begin()?;
        }
        if let Some(writer) = &mut self.open {
            for block in blocks {
                writer.append(block)?;
            }
        }
        Ok(())
    }

    /// Ends the last segment.
    pub(super) fn finish(mut self) -> Result<()> {
        self.end(false)
    }

    fn begin(&mut self) -> Result<()> {
        self.sequence += 1;
        let file = proto::FileInfo {
            segment_sequence: self.sequence,
            previous_digest: std::mem::take(&mut self.previous_digest),
            ..self.file.clone()
        };
        let mut writer = SegmentWriter::create((self.create)(self.sequence)?, &file)?;
        let mut encoder = BlockEncoder::new();
        for events in split_events(&self.interfaces) {
            writer.append(&encoder.snapshot(events, self.options.effort))?;
        }
        self.open = Some(writer);
        Ok(())
    }

    fn end(&mut self, is_followed: bool) -> Result<()> {
        let Some(mut writer) = self.open.take() else { return Ok(()) };
        if let Some(losses) = &self.losses {
            let packets = || writer.blocks().iter().filter(|block| block.block_type == BlockType::PACKETS);
            let stored: u64 = packets().map(|block| u64::from(block.record_count)).sum();
            let elsewhere = losses.seen.saturating_sub(losses.stored);
            let begin_ns = packets().map(|block| block.first_time_ns).min().unwrap_or(losses.begin_ns);
            let end_ns = packets().map(|block| block.last_time_ns).max().unwrap_or(losses.end_ns);
            let report =
                proto::LossReport { begin_ns, end_ns, seen: stored, stored, ..proto::LossReport::default() };
            let report = if is_followed {
                report
            } else {
                let seen = stored.saturating_add(elsewhere);
                proto::LossReport { stored, seen, begin_ns, end_ns, ..losses.clone() }
            };
            writer.append(&BlockEncoder::new().losses(&[report]))?;
        }
        self.previous_digest = writer.seal()?.digest.to_vec();
        Ok(())
    }
}

fn interfaces(files: &[&CaptureFile], numbers: &[InterfaceNumbers]) -> Result<Vec<proto::Event>> {
    let mut events = Vec::new();
    for (file, numbers) in files.iter().zip(numbers) {
        for mut event in file.interface_events()? {
            if let Some(proto::event::Event::Interface(interface)) = &mut event.event {
                interface.index = numbers.in_recording(interface.index);
            }
            events.push(event);
        }
    }
    Ok(events)
}

/// The sum of what the files know; `None` when none knows anything. Files can state any counts: sums stop at the largest.
fn losses(files: &[&CaptureFile]) -> Result<Option<proto::LossReport>> {
    let mut sum: Option<proto::LossReport> = None;
    for file in files {
        let Some(losses) = file.losses()? else { continue };
        let Some(sum) = &mut sum else {
            sum = Some(losses);
            continue;
        };
        sum.begin_ns = sum.begin_ns.min(losses.begin_ns);
        sum.end_ns = sum.end_ns.max(losses.end_ns);
        sum.seen = sum.seen.saturating_add(losses.seen);
        sum.filtered = sum.filtered.saturating_add(losses.filtered);
        sum.stored = sum.stored.saturating_add(losses.stored);
        sum.kernel_seen = sum.kernel_seen.saturating_add(losses.kernel_seen);
        for lost in losses.lost {
            match sum.lost.iter_mut().find(|known| known.cause == lost.cause) {
                Some(known) => known.count = known.count.saturating_add(lost.count),
                None => sum.lost.push(lost),
            }
        }
    }
    Ok(sum)
}
