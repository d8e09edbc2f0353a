//! Which blocks a scan reads, and how they are cut into partitions.

use std::ops::Range;
use std::path::{Path, PathBuf};

use kcap_format::BlockType;

use super::time_filter::TimeRange;
use crate::error::Result;
use crate::source::Library;

/// Blocks of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The segment's file.
    pub segment: PathBuf,
    /// Places in the segment's list of blocks; those that hold no packets do not count. Those of a capture file of another
    /// program may reach behind its end, where that is not known.
    pub blocks: Range<usize>,
    /// Only each so many-th of them.
    pub step: usize,
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
    let mut imports = Vec::new();
    for handle in library.segments() {
        if let Some(file) = handle.import().filter(|_| times.is_unbounded()) {
            // Nothing of it was walked yet, and nothing has to be before the first row.
            imports.push((handle.path(), file.chunk_count_hint()));
            continue;
        }
        // Without a filter no clock is needed, and no block of an unread segment is touched.
        let clock = if times.is_unbounded() { None } else { Some(handle.clock()?) };
        // Blocks between that hold no packets belong to the next one that does: so ranges touch.
        let mut begin = 0;
        for (place, entry) in handle.all_blocks()?.iter().enumerate() {
            if entry.block_type != BlockType::PACKETS {
                continue;
            }
            let inside = clock.is_none_or(|clock| {
                let (earliest, latest) = clock.range(entry.first_time_ns, entry.last_time_ns);
                times.intersects(earliest, latest)
            });
            let blocks = begin..place + 1;
            begin = blocks.end;
            if !inside {
                selection.pruned += 1;
                continue;
            }
            selection.blocks += 1;
            chosen.push((
                BlockRange { segment: handle.path().to_owned(), blocks, step: 1 },
                u64::from(entry.record_count),
            ));
        }
    }
    selection.partitions = cut(chosen, partitions_max.max(1));
    selection.blocks += imports.iter().filter_map(|(_, blocks)| *blocks).sum::<usize>();
    deal(&imports, partitions_max.max(1), &mut selection.partitions);
    Ok(selection)
}

/// Deals the blocks of files, whose number is only about known, to partitions in turn: so they walk a file together from its
/// beginning, and none waits for blocks to be found far ahead.
fn deal(files: &[(&Path, Option<usize>)], partitions_max: usize, partitions: &mut Vec<Vec<BlockRange>>) {
    let blocks =
        files.iter().fold(0_usize, |sum, (_, blocks)| sum.saturating_add(blocks.unwrap_or(usize::MAX)));
    let count = partitions_max.min(blocks);
    if partitions.len() < count {
        partitions.resize(count, Vec::new());
    }
    // The first block of each file goes to another partition.
    let mut first = 0;
    for (path, blocks) in files {
        let turns = count.min(blocks.unwrap_or(usize::MAX));
        for turn in 0..turns {
            let range = BlockRange { segment: path.to_path_buf(), blocks: turn + 1..usize::MAX, step: turns };
            partitions[(first + turn) % count].push(range);
        }
        first += turns;
    }
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
        BlockRange { segment: segment.into(), blocks: place..place + 1, step: 1 }
    }

    #[test]
    fn blocks_are_cut_into_runs_of_about_equal_rows() {
        let blocks = vec![(block("a", 3), 10), (block("a", 4), 10), (block("a", 6), 10), (block("b", 2), 30)];
        let range = |segment: &str, blocks| BlockRange { segment: segment.into(), blocks, step: 1 };
        let halves = cut(blocks.clone(), 2);
        assert_eq!(halves, [vec![range("a", 3..5), range("a", 6..7)], vec![range("b", 2..3)]]);
        assert_eq!(cut(blocks.clone(), 1).len(), 1);
        let each = cut(blocks, 100);
        assert_eq!(each.len(), 4);
        assert_eq!(cut(Vec::new(), 2), [Vec::new()]);
    }

    #[test]
    fn blocks_of_files_are_dealt_in_turn() {
        let dealt = |files: &[(&str, Option<usize>)], partitions_max| {
            let files: Vec<_> = files.iter().map(|(path, blocks)| (Path::new(*path), *blocks)).collect();
            let mut partitions = vec![Vec::new()];
            deal(&files, partitions_max, &mut partitions);
            let turn =
                |range: &BlockRange| (range.segment.display().to_string(), range.blocks.start, range.step);
            let turns = |ranges: &Vec<BlockRange>| ranges.iter().map(turn).collect::<Vec<_>>();
            partitions.iter().map(turns).collect::<Vec<_>>()
        };
        let turn = |path: &str, start: usize, step: usize| (path.to_owned(), start, step);
        assert_eq!(dealt(&[("a", Some(9))], 2), [[turn("a", 1, 2)], [turn("a", 2, 2)]]);
        assert_eq!(dealt(&[("-", None)], 2), [[turn("-", 1, 2)], [turn("-", 2, 2)]]);
        assert_eq!(dealt(&[("a", Some(1)), ("b", Some(1))], 4), [[turn("a", 1, 1)], [turn("b", 1, 1)]]);
        assert_eq!(dealt(&[], 4), [Vec::new()]);
        assert_eq!(dealt(&[("empty", Some(0))], 4), [Vec::new()]);
    }
}
