//! What segments hold of packets, and what their LOSS blocks say of it. Read with the format's reader alone.

use std::collections::BTreeMap;

use kcap_format::proto::{LossCause, LossProgram};
use kcap_format::{BlockType, Direction, PacketColumns, Segment};

use crate::ledger;

/// The account of one kernel program over some segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Records that are there.
    pub there: u64,
    /// Records that are said to be there.
    pub stored: u64,
    /// Left out because a filter said so.
    pub filtered: u64,
    /// Lost, by cause.
    pub lost: BTreeMap<LossCause, u64>,
    /// Runs of the program whose fate is told.
    pub seen: u64,
    /// Runs as the program counted them itself, in the last report of each processor.
    pub kernel_seen: u64,
    /// End of the last report, nanoseconds since boot.
    pub told_until_ns: u64,
}

impl Books {
    /// Reads the account of a program. Each report must add up.
    #[track_caller]
    pub fn of(segments: &[Segment], program: LossProgram) -> Self {
        let mut books = Self::default();
        let mut kernel_seen: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for segment in segments {
            books.there += packets_of(segment, program);
            for report in segment.all_losses().expect("reports") {
                let lost: u64 = report.lost.iter().map(|lost| lost.count).sum();
                assert_eq!(report.seen, report.filtered + report.stored + lost, "{report:?}");
                if report.program() != program {
                    continue;
                }
                books.stored += report.stored;
                books.filtered += report.filtered;
                books.seen += report.seen;
                books.told_until_ns = books.told_until_ns.max(report.end_ns);
                for lost in &report.lost {
                    *books.lost.entry(lost.cause()).or_default() += lost.count;
                }
                let last = kernel_seen.entry(report.cpu).or_default();
                *last = (*last).max((report.end_ns, report.kernel_seen));
            }
        }
        books.kernel_seen = kernel_seen.values().map(|(_, seen)| seen).sum();
        books
    }

    /// Lost, whatever the cause.
    pub fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Checks that every run of the program is accounted for: in a record that is there, or in a report. For recordings
    /// that ended in order, also if some of their segments didn't.
    #[track_caller]
    pub fn check_complete(&self) {
        assert!(self.stored <= self.there, "no report claims what is not there: {self:?}");
        assert_eq!(self.kernel_seen, self.filtered + self.there + self.lost_total(), "{self:?}");
    }
}

fn packets_of(segment: &Segment, program: LossProgram) -> u64 {
    let programs = segment.blocks_of(BlockType::PACKETS).flat_map(|block| {
        segment.packets(block, PacketColumns::PROGRAM).expect("a whole block of packets").program
    });
    programs.filter(|number| i32::from(*number) == program as i32).count() as u64
}

/// Datagrams of a [`ledger`] that left for a port, in the order in which they lie in a segment: their numbers, each after
/// all its bytes were compared. `None` for those of which the payload was not captured.
pub fn ledger_numbers(segment: &Segment, port: u16) -> Vec<Option<u64>> {
    let mut numbers = Vec::new();
    for block in segment.blocks_of(BlockType::PACKETS) {
        let batch = segment.packets(block, PacketColumns::ALL).expect("a whole block of packets");
        for row in (0..batch.len).filter(|row| batch.direction[*row] == Direction::Egress as u8) {
            // IPv4 without options, and UDP.
            let Some(header @ [0x45, ..]) = batch.header.get(row) else { continue };
            if header.len() != 28 || header[9] != 17 || header[22..24] != port.to_be_bytes() {
                continue;
            }
            let payload = batch.payload.get(row).unwrap_or_default();
            if payload.is_empty() {
                numbers.push(None);
                continue;
            }
            let number = ledger::number_of(payload);
            assert!(number.is_some(), "every byte of a recorded datagram is one that was sent");
            numbers.push(number);
        }
    }
    numbers
}
