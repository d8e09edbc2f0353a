//! From capture files to segments.

mod comments;
mod file_texts;
mod output;

use kcap_format::{BlockEntry, BlockType, Effort, EncodedBlock, PacketColumns, Storage, proto, split_events};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::capture::CaptureFile;
use crate::error::Result;
use output::{Encoders, Output};

/// Blocks that are encoded side by side, on all processors, while those before are written: bounds the memory.
const GROUP_BLOCKS: usize = 32;

/// How segments are made.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Identifies the recording that is made.
    pub capture_id: [u8; 16],
    /// What made it, for the FILE blocks. Texts that have no room there are cut, and end in an ellipsis then.
    pub recorder: proto::Recorder,
    /// Bytes after which another segment is begun.
    pub segment_len: u64,
    /// How hard blocks are compressed.
    pub effort: Effort,
}

/// A block of packets of one of the files.
#[derive(Clone, Copy, Debug)]
struct Step {
    file: usize,
    entry: BlockEntry,
}

/// Writes the packets of files as segments of one recording: in the order of the file, and those of several files interleaved
/// by the times of their blocks. `create` opens the segment of a sequence number; `progress` hears how many bytes of the
/// files were written.
///
/// # Errors
/// When a file cannot be read, or a segment cannot be written.
pub fn to_segments<S: Storage + Send>(
    files: &[&CaptureFile],
    options: &ConvertOptions,
    create: impl FnMut(u64) -> kcap_format::Result<S> + Send,
    mut progress: impl FnMut(u64) + Send,
) -> Result<()> {
    let steps = steps(files)?;
    let numbers = interface_numbers(files);
    let encoders = Encoders::default();
    let encode = |group: &[Step]| -> Result<Vec<Vec<EncodedBlock>>> {
        let encode = |step: &Step| {
            let mut batch = files[step.file].packets(&step.entry, PacketColumns::ALL)?.batch;
            let numbers = numbers[step.file];
            batch.interface_index.iter_mut().for_each(|index| *index = numbers.in_recording(*index));
            let comments = comments::events(&step.entry, &files[step.file].comments(&step.entry)?);
            Ok(encoders.with(|encoder| {
                let mut blocks = vec![encoder.packets(&batch, options.effort)];
                blocks.extend(split_events(&comments).map(|run| encoder.events(run, options.effort)));
                blocks
            }))
        };
        group.par_iter().map(encode).collect()
    };
    let mut output = Output::new(files, &numbers, options, create)?;
    let mut encoded: Vec<Vec<EncodedBlock>> = Vec::new();
    let mut groups = std::iter::once(&[][..]).chain(steps.chunks(GROUP_BLOCKS)).peekable();
    while let Some(group) = groups.next() {
        let next = groups.peek().copied().unwrap_or_default();
        // One thread writes while all others compress.
        let (written, following) = rayon::join(
            || {
                group.iter().zip(&encoded).try_for_each(|(step, blocks)| {
                    progress(step.entry.stored_len.into());
                    output.blocks(blocks)
                })
            },
            || encode(next),
        );
        written?;
        encoded = following?;
    }
    output.finish()
}

/// The blocks of all files in the order in which they are written.
fn steps(files: &[&CaptureFile]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for (file, capture) in files.iter().enumerate() {
        let packets = capture.blocks()?.iter().filter(|block| block.block_type == BlockType::PACKETS);
        steps.extend(packets.map(|entry| Step { file, entry: *entry }));
    }
    if files.len() > 1 {
        // Stable: blocks of one file that begin at the same time stay in their order.
        steps.sort_by_key(|step| step.entry.first_time_ns);
    }
    Ok(steps)
}

/// The numbers that a file's interfaces have in the recording.
#[derive(Clone, Copy, Debug)]
struct InterfaceNumbers {
    /// Number of its first one.
    first: u32,
    /// How many it describes.
    count: u32,
    /// How many all files describe.
    total: u32,
}

impl InterfaceNumbers {
    /// What an interface of the file is called in the recording. Packets of the patched pcap format name interfaces by the
    /// kernel's numbers, which the file doesn't describe: these come behind those of all files, and are nobody's.
    fn in_recording(self, number: u32) -> u32 {
        let added = if number < self.count { self.first } else { self.total - self.count };
        number.saturating_add(added)
    }
}

/// The numbers of each file's interfaces, so that no two have the same.
fn interface_numbers(files: &[&CaptureFile]) -> Vec<InterfaceNumbers> {
    let counts: Vec<u32> = files.iter().map(|file| file.interface_count()).collect();
    let total = counts.iter().fold(0_u32, |total, count| total.saturating_add(*count));
    let mut next = 0_u32;
    let numbers_of = |count: u32| {
        let first = next;
        next = next.saturating_add(count);
        InterfaceNumbers { first, count, total }
    };
    counts.into_iter().map(numbers_of).collect()
}
