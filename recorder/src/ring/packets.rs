//! Packets out of their ring.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use kcap_recorder_ebpf::{PACKET_HEAD_LEN, PacketHead};

use super::{Drained, RingGauge, mapping::Mapping};
use crate::probe::Error;

/// The ring of the packet programs.
#[derive(Debug)]
pub struct PacketRing(Mapping);

impl PacketRing {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Mapping::take(ebpf, "PACKETS").map(Self)
    }

    /// Hands up to `max` packets to `each`: head and captured bytes, in the order in which they were reserved.
    /// Returns early when the ring is empty or its next record is still being written.
    pub fn drain(&mut self, max: u64, mut each: impl FnMut(&PacketHead, &[u8])) -> Drained {
        let mut drained = Drained::default();
        self.0.drain(max, |record| match parse(record) {
            Some((head, bytes)) => {
                drained.records += 1;
                each(head, bytes);
            }
            None => drained.bad += 1,
        });
        drained
    }

    /// Bytes that wait in the ring.
    pub fn backlog_len(&self) -> usize {
        self.0.backlog_len()
    }

    /// What tells others how full the ring is.
    ///
    /// # Errors
    /// When the kernel refuses to map its positions.
    pub fn gauge(&self) -> std::io::Result<RingGauge> {
        self.0.gauge()
    }

    /// Bytes that the ring holds.
    pub fn capacity_len(&self) -> usize {
        self.0.len()
    }
}

impl AsFd for PacketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
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
