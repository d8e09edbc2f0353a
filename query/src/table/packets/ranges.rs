//! Which blocks a scan reads, and how they are cut into partitions.

use std::ops::Range;
use std::path::PathBuf;

use kcap_format::BlockType;

use super::time_filter::TimeRange;
use crate::error::Result;
use crate::source::Library;

/// Neighbouring blocks of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The segment's file.
    pub segment: PathBuf,
    /// Places in the segment's list of blocks; those that hold no packets do not count.
    pub blocks: Range<usize>,
}

/// What a scan reads, and what it could leave out.
#[derive(Debug, Default)]
pub struct Selection {
    /// Ranges of each partition, in the order of recording.
    pub partitions: Vec<Vec<BlockRange>>,
    /// Blocks of packets that are read.
    pub blocks: usize,
    /// Blocks of packets that the filters on time ruled out.
    pub pruned: usize,
}

/// Chooses the blocks that can hold packets of a time range and cuts them into partitions of about equal rows.
pub fn select(library: &Library, times: &TimeRange, partitions_max: usize) -> Result<Selection> {
    let mut chosen: Vec<(BlockRange, u64)> = Vec::new();
    let mut selection = Selection::default();
    for handle in library.segments() {
        // Without a filter no clock is needed, and no block of an unread segment is touched.
        let clock = if times.is_unbounded() { None } else { Some(handle.clock()?) };
        for (place, entry) in handle.segment.blocks().iter().enumerate() {
            if entry.block_type != BlockType::PACKETS {
                continue;
            }
            let inside = clock.is_none_or(|clock| {
                let (earliest, latest) = clock.range(entry.first_time_ns, entry.last_time_ns);
                times.intersects(earliest, latest)
            });
            if !inside {
                selection.pruned += 1;
                continue;
            }
            selection.blocks += 1;
            chosen.push((
                BlockRange { segment: handle.path().to_owned(), blocks: place..place + 1 },
                u64::from(entry.record_count),
            ));
        }
    }
    selection.partitions = cut(chosen, partitions_max.max(1));
    Ok(selection)
}

/// Cuts blocks into runs of about equal rows, and joins neighbours of a run.
fn cut(blocks: Vec<(BlockRange, u64)>, partitions_max: usize) -> Vec<Vec<BlockRange>> {
    let rows_total: u64 = blocks.iter().map(|(_, rows)| rows).sum();
    let rows_each = rows_total.div_ceil(partitions_max as u64).max(1);
    let mut partitions: Vec<Vec<BlockRange>> = vec![Vec::new()];
    let mut rows_before = 0;
    for (block, rows) in blocks {
        if rows_before >= rows_each * partitions.len() as u64 {
            partitions.push(Vec::new());
        }
        rows_before += rows;
        let Some(ranges) = partitions.last_mut() else { continue };
        match ranges.last_mut() {
            // Blocks between that hold no packets may be joined over: the reader passes them by.
            Some(last) if last.segment == block.segment && last.blocks.end == block.blocks.start => {
                last.blocks.end = block.blocks.end;
            }
            _ => ranges.push(block),
        }
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(segment: &str, place: usize) -> BlockRange {
        BlockRange { segment: segment.into(), blocks: place..place + 1 }
    }

    #[test]
    fn blocks_are_cut_into_runs_of_about_equal_rows() {
        let blocks = vec![(block("a", 3), 10), (block("a", 4), 10), (block("a", 6), 10), (block("b", 2), 30)];
        let range = |segment: &str, blocks| BlockRange { segment: segment.into(), blocks };
        let halves = cut(blocks.clone(), 2);
        assert_eq!(halves, [vec![range("a", 3..5), range("a", 6..7)], vec![range("b", 2..3)]]);
        assert_eq!(cut(blocks.clone(), 1).len(), 1);
        let each = cut(blocks, 100);
        assert_eq!(each.len(), 4);
        assert_eq!(cut(Vec::new(), 2), [Vec::new()]);
    }
}
