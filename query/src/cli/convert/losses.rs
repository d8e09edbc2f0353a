//! Which packets of a capture file stand behind lost ones.

use std::collections::VecDeque;

use kcap_format::{BlockType, proto::LossProgram};

use crate::error::Result;
use crate::export::PacketDirection;
use crate::source::Library;

/// Lost packets by the end of the account they are in, for each direction. Which interface they were on is not known: they
/// are counted at the next packet of their direction.
#[derive(Debug, Default)]
pub(super) struct Losses {
    inbound: VecDeque<(i64, u64)>,
    outbound: VecDeque<(i64, u64)>,
}

impl Losses {
    /// Reads the accounts of the programs that record packets.
    pub(super) fn of(library: &Library) -> Result<Self> {
        let mut losses = Self::default();
        for handle in library.segments() {
            let clock = handle.clock()?;
            for block in handle.blocks(BlockType::LOSS)? {
                for report in handle.block_losses(block)? {
                    let side = match report.program() {
                        // A packet socket doesn't tell which way those went that it lost.
                        LossProgram::PacketIngress
                        | LossProgram::InterfaceIngress
                        | LossProgram::PacketSocket => &mut losses.inbound,
                        LossProgram::PacketEgress | LossProgram::InterfaceEgress => &mut losses.outbound,
                        _ => continue,
                    };
                    let lost = report.lost.iter().map(|lost| lost.count).fold(0, u64::saturating_add);
                    if lost > 0 {
                        side.push_back((clock.realtime_ns(report.end_ns), lost));
                    }
                }
            }
        }
        losses.inbound.make_contiguous().sort_unstable();
        losses.outbound.make_contiguous().sort_unstable();
        Ok(losses)
    }

    /// How many were lost before a packet, and not counted at one before.
    pub(super) fn before(&mut self, time_ns: i64, direction: PacketDirection) -> u64 {
        let side = match direction {
            PacketDirection::Inbound => &mut self.inbound,
            PacketDirection::Outbound => &mut self.outbound,
            PacketDirection::Unknown => return 0,
        };
        let mut lost = 0_u64;
        while let Some((_, count)) = side.pop_front_if(|(end_ns, _)| *end_ns <= time_ns) {
            lost = lost.saturating_add(count);
        }
        lost
    }

    /// Those that no packet came after.
    pub(super) fn rest(&self) -> u64 {
        self.inbound.iter().chain(&self.outbound).map(|(_, lost)| *lost).fold(0, u64::saturating_add)
    }
}
