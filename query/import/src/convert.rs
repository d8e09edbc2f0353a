//! From capture files to segments.

mod comments;
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
    /// What made it, for the FILE blocks.
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
    let first_interface = first_interfaces(files);
    let encoders = Encoders::default();
    let encode = |group: &[Step]| -> Result<Vec<Vec<EncodedBlock>>> {
        let encode = |step: &Step| {
            let mut batch = files[step.file].packets(&step.entry, PacketColumns::ALL)?.batch;
            batch.interface_index.iter_mut().for_each(|index| *index += first_interface[step.file]);
            let comments = comments::events(&step.entry, &files[step.file].comments(&step.entry)?);
            Ok(encoders.with(|encoder| {
                let mut blocks = vec![encoder.packets(&batch, options.effort)];
                blocks.extend(split_events(&comments).map(|run| encoder.events(run, options.effort)));
                blocks
            }))
        };
        group.par_iter().map(encode).collect()
    };
    let mut output = Output::new(files, &first_interface, options, create)?;
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

/// What to add to the interface numbers of each file, so that no two have the same.
fn first_interfaces(files: &[&CaptureFile]) -> Vec<u32> {
    let mut next = 0;
    let first = |file: &&CaptureFile| {
        let first = next;
        next += file.interface_count();
        first
    };
    files.iter().map(first).collect()
}
