//! Comments of the packets of a block, of those that came from a capture file.

use kcap_format::{BlockEntry, BlockType, proto};

use super::recording::SegmentHandle;
use crate::error::Result;

/// Comments, and which packet has which.
#[derive(Debug, Default)]
pub struct Comments {
    /// What they say.
    pub texts: Vec<String>,
    /// For each packet the place of its comment, counted from 1; 0 for those without. Empty when no packet has one.
    pub of_packet: Vec<u32>,
}

impl Comments {
    /// Those of a capture file, one for each packet.
    pub(super) fn of_file(texts: Vec<String>) -> Self {
        let of_packet = (1..=u32::try_from(texts.len()).unwrap_or(u32::MAX)).collect();
        Self { texts, of_packet }
    }

    /// Those that a segment has of the packets of a block, in the EVENTS blocks behind it.
    pub(super) fn of_segment(
        handle: &SegmentHandle,
        blocks: &[BlockEntry],
        packets: &BlockEntry,
    ) -> Result<Self> {
        let mut comments = Self::default();
        let behind = blocks.partition_point(|block| block.offset <= packets.offset);
        let following = blocks[behind..].iter().take_while(|block| block.block_type != BlockType::PACKETS);
        for block in following.filter(|block| block.block_type == BlockType::EVENTS) {
            for event in handle.block_events(block)? {
                if event.time_ns == packets.first_time_ns
                    && let Some(proto::event::Event::PacketComments(told)) = event.event
                    && told.packet_count == packets.record_count
                {
                    comments.add(told);
                }
            }
        }
        Ok(comments)
    }

    /// Adds what an event tells; places that are not there are no comments.
    fn add(&mut self, told: proto::PacketComments) {
        let before = self.texts.len();
        self.texts.extend(told.comments);
        self.of_packet.resize(told.packet_count as usize, 0);
        let packets = self.of_packet.iter_mut().skip(told.first_packet as usize);
        for (packet, place) in packets.zip(told.comment_of) {
            let place = before + place as usize;
            let is_there = place > before && place <= self.texts.len();
            *packet = if is_there { u32::try_from(place).unwrap_or(0) } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together() {
        let told = |first_packet, comments: &[&str], comment_of: &[u32]| proto::PacketComments {
            packet_count: 5,
            first_packet,
            comments: comments.iter().map(|text| (*text).to_owned()).collect(),
            comment_of: comment_of.to_vec(),
        };
        let mut comments = Comments::default();
        comments.add(told(0, &["a", "b"], &[2, 0, 1]));
        comments.add(told(3, &["c"], &[1, 9, 1, 1, 1]));
        assert_eq!(comments.texts, ["a", "b", "c"]);
        assert_eq!(comments.of_packet, [2, 0, 1, 3, 0], "what is not there is left out");
    }
}
