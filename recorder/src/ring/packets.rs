//! Packets out of their ring.

use std::os::fd::AsFd;

use aya::Ebpf;
use kcap_recorder_ebpf::{PACKET_HEAD_LEN, PacketHead};

use super::{Drained, RingGauge, mapping::Mapping};
use crate::probe::Error;

/// The rings of the packet programs, read as one.
///
/// Short packets have a small ring that stays in a processor's cache; what it has no room for, and all other packets, go
/// through the large one.
#[derive(Debug)]
pub struct PacketRing {
    short: Mapping,
    all: Mapping,
}

/// Records that are read of one ring before the other is looked at again, while that is empty.
const RUN_LEN: u64 = 64;

impl PacketRing {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self { short: Mapping::take(ebpf, "SHORT_PACKETS")?, all: Mapping::take(ebpf, "PACKETS")? })
    }

    /// Hands up to `max` packets to `each`: head and captured bytes, those of each ring in the order in which they were
    /// reserved, the rings merged by time. Returns early when both are empty or wait for a record that is still being
    /// written.
    pub fn drain(&mut self, max: u64, mut each: impl FnMut(&PacketHead, &[u8])) -> Drained {
        let mut drained = Drained::default();
        let mut hand_out = |record: &[u8]| match parse(record) {
            Some((head, bytes)) => {
                drained.records += 1;
                each(head, bytes);
            }
            None => drained.bad += 1,
        };
        let mut left = max;
        while left > 0 {
            let count = match (self.short.peek(), self.all.peek()) {
                (None, None) => break,
                (Some(_), None) => self.short.drain(left.min(RUN_LEN), &mut hand_out),
                (None, Some(_)) => self.all.drain(left.min(RUN_LEN), &mut hand_out),
                (Some(short), Some(other)) => {
                    let (short_bytes, other_bytes) = (self.short.data(&short), self.all.data(&other));
                    if time_ns(short_bytes) <= time_ns(other_bytes) {
                        hand_out(short_bytes);
                        self.short.consume(&short);
                    } else {
                        hand_out(other_bytes);
                        self.all.consume(&other);
                    }
                    1
                }
            };
            left -= count;
        }
        self.short.publish();
        self.all.publish();
        drained
    }

    /// What [`Wakeups`](super::Wakeups) listens to.
    pub fn parts(&self) -> [&dyn AsFd; 2] {
        [&self.short, &self.all]
    }

    /// Bytes that wait in both rings.
    pub fn backlog_len(&self) -> usize {
        self.short.backlog_len() + self.all.backlog_len()
    }

    /// What tells others how full the large ring is; the other one is meant to be.
    ///
    /// # Errors
    /// When the kernel refuses to map its positions.
    pub fn gauge(&self) -> std::io::Result<RingGauge> {
        self.all.gauge()
    }

    /// Bytes that both rings hold.
    pub fn capacity_len(&self) -> usize {
        self.short.len() + self.all.len()
    }
}

/// When the packet was seen, the first field of its head; 0 for a record that makes no sense.
fn time_ns(record: &[u8]) -> u64 {
    const { assert!(std::mem::offset_of!(PacketHead, time_ns) == 0) };
    record.first_chunk().map_or(0, |time| u64::from_ne_bytes(*time))
}

/// Head and captured bytes of a record; `None` when the lengths contradict each other.
fn parse(record: &[u8]) -> Option<(&PacketHead, &[u8])> {
    let (head, rest) = record.split_at_checked(PACKET_HEAD_LEN)?;
    let head = bytemuck::try_from_bytes::<PacketHead>(head).ok()?;
    let bytes = rest.get(..head.captured_len as usize)?;
    let consistent = head.captured_len <= head.wire_len && u32::from(head.header_len) <= head.captured_len;
    consistent.then_some((head, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the ring gives it: aligned to 8 bytes.
    fn record(head: PacketHead, data_len: usize) -> Vec<u64> {
        let mut bytes = bytemuck::bytes_of(&head).to_vec();
        bytes.resize((PACKET_HEAD_LEN + data_len).next_multiple_of(8), 7);
        bytes.chunks_exact(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap())).collect()
    }

    #[test]
    fn captured_bytes_end_where_the_head_says() {
        let head = PacketHead { wire_len: 100, captured_len: 60, header_len: 28, ..PacketHead::default() };
        let record = record(head, 64);
        let (parsed, bytes) = parse(bytemuck::cast_slice(&record)).unwrap();
        assert_eq!((*parsed, bytes.len()), (head, 60));
    }

    #[test]
    fn contradicting_lengths_are_refused() {
        let good = PacketHead { wire_len: 60, captured_len: 60, header_len: 28, ..PacketHead::default() };
        for bad in [
            PacketHead { captured_len: 65, wire_len: 65, ..good },
            PacketHead { wire_len: 59, ..good },
            PacketHead { header_len: 61, ..good },
        ] {
            assert!(parse(bytemuck::cast_slice(&record(bad, 64))).is_none(), "{bad:?}");
        }
        assert!(parse(&bytemuck::cast_slice::<u64, u8>(&record(good, 64))[..PACKET_HEAD_LEN - 1]).is_none());
    }
}
