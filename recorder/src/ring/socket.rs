//! Frames out of the ring of a packet socket: `TPACKET_V3` of the kernel's `Documentation/networking/packet_mmap.rst`.
//!
//! The ring is an array of blocks. The kernel fills one after the other and hands each over as a whole, when it is full
//! or after a while.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
};

use kcap_recorder_ebpf::{
    CAPTURE_COUNTS, CAPTURE_HEADERS, CAPTURE_MODE_MASK, ETH_P_8021Q, HEADER_OFFSET_MAX, LINK_TYPE_ETHERNET,
    PACKET_FLAG_EGRESS, PACKET_FLAG_ETHERNET, PACKET_FLAG_HEADERS_INCOMPLETE, PacketHead, measure_headers,
};

use super::{Drained, RingGauge, mapping::Pages};
use crate::clock;
use crate::drain::{ADDRESSES_LEN, TAG_LEN};
use crate::packet_socket::{Tallies, Wanted};

// `struct tpacket_block_desc`.
const BLOCK_STATUS: usize = 8;
const BLOCK_FRAME_COUNT: usize = 12;
const BLOCK_FIRST_FRAME: usize = 16;
/// Bytes of it.
const BLOCK_HEAD_LEN: usize = 48;

// `struct tpacket3_hdr`.
const FRAME_NEXT: usize = 0;
const FRAME_SECONDS: usize = 4;
const FRAME_NANOSECONDS: usize = 8;
const FRAME_CAPTURED_LEN: usize = 12;
const FRAME_LEN: usize = 16;
const FRAME_STATUS: usize = 20;
const FRAME_AT: usize = 24;
const FRAME_TAG: usize = 32;
const FRAME_TAG_PROTOCOL: usize = 36;
/// Bytes of it; behind it is a `struct sockaddr_ll`.
const FRAME_HEAD_LEN: usize = 48;
const ADDRESS_INTERFACE: usize = FRAME_HEAD_LEN + 4;
const ADDRESS_PACKET_TYPE: usize = FRAME_HEAD_LEN + 10;

/// The ring of a packet socket, read.
pub(crate) struct SocketRing {
    fd: OwnedFd,
    blocks: Blocks,
    /// The block that is read or comes next, and what is left of it.
    current: usize,
    frames_left: u32,
    next_frame: usize,
    /// What turns wall time into time since boot, for the block that is read.
    boot_minus_real_ns: i128,
    wanted: Wanted,
    tallies: Arc<Tallies>,
    /// A frame whose tag was put back.
    tagged: Vec<u8>,
}

/// The blocks, in memory that the kernel writes.
pub(super) struct Blocks {
    pages: Pages,
    block_len: usize,
    count: usize,
}

impl Blocks {
    fn map(fd: &OwnedFd, block_len: usize, count: usize) -> io::Result<Self> {
        let pages = Pages::map(fd, 0, block_len * count, libc::PROT_READ | libc::PROT_WRITE)?;
        Ok(Self { pages, block_len, count })
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        debug_assert!(block < self.count);
        // SAFETY: inside the mapping, aligned, and written as one word.
        unsafe { self.pages.at(block * self.block_len + BLOCK_STATUS).cast().as_ref() }
    }

    fn is_readable(&self, block: usize) -> bool {
        self.status(block).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// The bytes of a block that was handed over.
    fn bytes(&self, block: usize) -> &[u8] {
        debug_assert!(block < self.count);
        // SAFETY: inside the mapping. The kernel doesn't touch a block that was handed over until it is given back, which
        // takes `&mut` of the ring.
        unsafe { std::slice::from_raw_parts(self.pages.at(block * self.block_len).as_ptr(), self.block_len) }
    }

    /// The part of the blocks that wait for their reader, 0 to 1.
    pub(super) fn filled(&self) -> f64 {
        let readable = (0..self.count).filter(|block| self.is_readable(*block)).count();
        readable as f64 / self.count as f64
    }
}

impl SocketRing {
    /// The ring that was set up for a socket, as so many blocks of a length.
    pub(crate) fn new(
        fd: OwnedFd,
        (block_len, count): (usize, usize),
        wanted: Wanted,
        tallies: Arc<Tallies>,
    ) -> io::Result<Self> {
        let blocks = Blocks::map(&fd, block_len, count)?;
        Ok(Self {
            fd,
            blocks,
            current: 0,
            frames_left: 0,
            next_frame: 0,
            boot_minus_real_ns: 0,
            wanted,
            tallies,
            tagged: Vec::new(),
        })
    }

    /// Hands up to `max` frames to `each`, in their order, with the same head as the kernel programs make.
    pub(crate) fn drain(&mut self, max: u64, mut each: impl FnMut(&PacketHead, &[u8])) -> Drained {
        let mut drained = Drained::default();
        while drained.records + drained.bad < max && self.begin_block() {
            let block = self.blocks.bytes(self.current);
            let at = self.next_frame;
            self.frames_left -= 1;
            self.next_frame += word(block, at + FRAME_NEXT).map_or(0, |next| next as usize);
            match Frame::parse(block, at) {
                Some(frame) => {
                    let time_ns = (i128::from(frame.real_ns) + self.boot_minus_real_ns).max(0) as u64;
                    if hand_out(&frame, time_ns, &self.wanted, &self.tallies, &mut self.tagged, &mut each) {
                        drained.records += 1;
                    }
                }
                None => drained.bad += 1,
            }
            if self.frames_left == 0 {
                self.blocks.status(self.current).store(libc::TP_STATUS_KERNEL, Ordering::Release);
                self.current = (self.current + 1) % self.blocks.count;
            }
        }
        drained
    }

    /// Goes on to the next block if there is one; false when there is nothing to read.
    fn begin_block(&mut self) -> bool {
        while self.frames_left == 0 {
            if !self.blocks.is_readable(self.current) {
                return false;
            }
            let block = self.blocks.bytes(self.current);
            self.frames_left = word(block, BLOCK_FRAME_COUNT).unwrap_or(0);
            self.next_frame = word(block, BLOCK_FIRST_FRAME).map_or(BLOCK_HEAD_LEN, |at| at as usize);
            if self.frames_left == 0 {
                self.blocks.status(self.current).store(libc::TP_STATUS_KERNEL, Ordering::Release);
                self.current = (self.current + 1) % self.blocks.count;
            }
            let sample = clock::sample();
            let boot_ns = i128::midpoint(sample.boot_before_ns.into(), sample.boot_after_ns.into());
            self.boot_minus_real_ns = boot_ns - i128::from(sample.realtime_ns);
        }
        true
    }

    /// What tells others how full the ring is.
    pub(crate) fn gauge(&self) -> io::Result<RingGauge> {
        Blocks::map(&self.fd, self.blocks.block_len, self.blocks.count).map(RingGauge::of_blocks)
    }
}

impl AsFd for SocketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for SocketRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SocketRing").field("current", &self.current).finish_non_exhaustive()
    }
}

/// A frame as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame<'a> {
    real_ns: u64,
    /// On the wire, without the tag.
    len: u32,
    bytes: &'a [u8],
    tag: Option<Tag>,
    interface: u32,
    is_leaving: bool,
}

/// A VLAN tag that the kernel took out of the frame, or that the device is to put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    protocol: u16,
    tci: u16,
}

impl<'a> Frame<'a> {
    /// `None`: the lengths contradict each other.
    fn parse(block: &'a [u8], at: usize) -> Option<Self> {
        let field = |offset: usize| word(block, at.checked_add(offset)?);
        let status = field(FRAME_STATUS)?;
        let tag = (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(()).and_then(|()| {
            Some(Tag {
                protocol: match half(block, at + FRAME_TAG_PROTOCOL)? {
                    protocol if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 => protocol,
                    _ => ETH_P_8021Q,
                },
                tci: field(FRAME_TAG)? as u16,
            })
        });
        let begin = at.checked_add(usize::from(half(block, at + FRAME_AT)?))?;
        let bytes = block.get(begin..begin.checked_add(field(FRAME_CAPTURED_LEN)? as usize)?)?;
        let len = field(FRAME_LEN)?;
        if bytes.len() > len as usize {
            return None;
        }
        Some(Self {
            real_ns: u64::from(field(FRAME_SECONDS)?) * 1_000_000_000 + u64::from(field(FRAME_NANOSECONDS)?),
            len,
            bytes,
            tag,
            interface: field(ADDRESS_INTERFACE)?,
            is_leaving: *block.get(at + ADDRESS_PACKET_TYPE)? == libc::PACKET_OUTGOING,
        })
    }
}

/// Decides what is kept of a frame, as the kernel programs do (`recorder-ebpf/src/programs/packet.rs`). False when nothing is.
fn hand_out(
    frame: &Frame<'_>,
    time_ns: u64,
    wanted: &Wanted,
    tallies: &Tallies,
    tagged: &mut Vec<u8>,
    each: &mut impl FnMut(&PacketHead, &[u8]),
) -> bool {
    let Some(link_type) = wanted.link_type(frame.interface) else {
        tallies.filter();
        return false;
    };
    let (bytes, wire_len) = match (frame.tag, frame.bytes.split_at_checked(ADDRESSES_LEN)) {
        (Some(tag), Some((addresses, rest))) if link_type == LINK_TYPE_ETHERNET => {
            tagged.clear();
            tagged.extend_from_slice(addresses);
            tagged.extend_from_slice(&tag.protocol.to_be_bytes());
            tagged.extend_from_slice(&tag.tci.to_be_bytes());
            tagged.extend_from_slice(rest);
            (tagged.as_slice(), frame.len + TAG_LEN as u32)
        }
        _ => (frame.bytes, frame.len),
    };
    if !wanted.matches(link_type, bytes, wire_len) {
        tallies.filter();
        return false;
    }
    let mode = tallies.capture.load(Ordering::Relaxed) & CAPTURE_MODE_MASK;
    if mode == CAPTURE_COUNTS {
        tallies.lose_by_overload();
        return false;
    }
    let byte =
        |offset: u32| (offset <= HEADER_OFFSET_MAX).then(|| bytes.get(offset as usize).copied()).flatten();
    let headers = measure_headers(byte, link_type);
    let header_len = headers.len.min(wire_len);
    let payload_len = if wanted.headers_only || mode == CAPTURE_HEADERS { 0 } else { wanted.payload_len };
    let limit = match header_len {
        0 => wanted.snaplen,
        len => wanted.snaplen.min(len.saturating_add(payload_len)),
    };
    let bytes = &bytes[..bytes.len().min(limit as usize)];
    let head = PacketHead {
        time_ns,
        netns_cookie: wanted.netns_cookie,
        interface_index: frame.interface,
        wire_len,
        captured_len: bytes.len() as u32,
        header_len: header_len.min(bytes.len() as u32) as u16,
        program: Tallies::PROGRAM,
        flags: [
            (frame.is_leaving, PACKET_FLAG_EGRESS),
            (link_type == LINK_TYPE_ETHERNET, PACKET_FLAG_ETHERNET),
            (!headers.complete, PACKET_FLAG_HEADERS_INCOMPLETE),
        ]
        .iter()
        .fold(0, |flags, (is_set, flag)| if *is_set { flags | flag } else { flags }),
        ..PacketHead::default()
    };
    tallies.store();
    each(&head, bytes);
    true
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|half| u16::from_ne_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with a frame at an offset.
    fn block(at: usize, frame: &[u8], status: u32) -> Vec<u8> {
        let mut block = vec![0; at + 256 + frame.len()];
        let mut put = |offset: usize, bytes: &[u8]| {
            block[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        };
        put(FRAME_SECONDS, &3u32.to_ne_bytes());
        put(FRAME_NANOSECONDS, &5u32.to_ne_bytes());
        put(FRAME_CAPTURED_LEN, &(frame.len() as u32).to_ne_bytes());
        put(FRAME_LEN, &(frame.len() as u32 + 100).to_ne_bytes());
        put(FRAME_STATUS, &status.to_ne_bytes());
        put(FRAME_AT, &80u16.to_ne_bytes());
        put(FRAME_TAG, &0x2007u32.to_ne_bytes());
        put(FRAME_TAG_PROTOCOL, &0x88a8u16.to_ne_bytes());
        put(ADDRESS_INTERFACE, &7u32.to_ne_bytes());
        put(ADDRESS_PACKET_TYPE, &[libc::PACKET_OUTGOING]);
        put(80, frame);
        block
    }

    /// Addresses, EtherType, IPv4 with UDP, and five bytes.
    fn udp_frame() -> Vec<u8> {
        let mut frame = vec![0; 14 + 28 + 5];
        frame[..12].copy_from_slice(&[1; 12]);
        frame[12] = 8;
        frame[14] = 0x45;
        frame[23] = 17;
        frame[42..].copy_from_slice(b"hello");
        frame
    }

    fn wanted(snaplen: u32, payload_len: u32) -> Wanted {
        let wanted = Wanted { snaplen, payload_len, ..Wanted::default() };
        wanted.links.write().unwrap().insert(7, LINK_TYPE_ETHERNET);
        wanted
    }

    fn hand_out_with(wanted: &Wanted, tallies: &Tallies, block: &[u8]) -> Option<(PacketHead, Vec<u8>)> {
        let frame = Frame::parse(block, 48).unwrap();
        let mut found = None;
        hand_out(&frame, 1, wanted, tallies, &mut Vec::new(), &mut |head, bytes| {
            found = Some((*head, bytes.to_vec()));
        });
        found
    }

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(libc::tpacket3_hdr, tp_snaplen), FRAME_CAPTURED_LEN);
        assert_eq!(offset_of!(libc::tpacket3_hdr, tp_mac), FRAME_AT);
        assert_eq!(offset_of!(libc::tpacket3_hdr, hv1) + 4, FRAME_TAG);
        assert_eq!(offset_of!(libc::tpacket3_hdr, hv1) + 8, FRAME_TAG_PROTOCOL);
        assert_eq!(size_of::<libc::tpacket3_hdr>().next_multiple_of(16), FRAME_HEAD_LEN);
        let address = |offset| FRAME_HEAD_LEN + offset;
        assert_eq!(address(offset_of!(libc::sockaddr_ll, sll_pkttype)), ADDRESS_PACKET_TYPE);
        assert_eq!(address(offset_of!(libc::sockaddr_ll, sll_ifindex)), ADDRESS_INTERFACE);
        assert_eq!(offset_of!(libc::tpacket_block_desc, hdr), BLOCK_STATUS);
    }

    #[test]
    fn a_frame_is_divided_and_limited() {
        let (frame, tallies) = (udp_frame(), Tallies::default());
        let wanted = wanted(100, 2);
        let (head, bytes) = hand_out_with(&wanted, &tallies, &block(48, &frame, 0)).unwrap();
        assert_eq!((head.header_len, head.captured_len, head.wire_len), (42, 44, 147));
        assert_eq!((head.interface_index, head.flags), (7, PACKET_FLAG_EGRESS | PACKET_FLAG_ETHERNET));
        assert_eq!(bytes, &frame[..44]);
        let counted = tallies.counters();
        assert_eq!((counted.stored, counted.filtered), (1, 0));
    }

    #[test]
    fn a_tag_is_put_back() {
        let (frame, tallies) = (udp_frame(), Tallies::default());
        let status = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
        let wanted = wanted(1000, 1000);
        let (head, bytes) = hand_out_with(&wanted, &tallies, &block(48, &frame, status)).unwrap();
        assert_eq!((head.header_len, head.wire_len), (46, 151));
        assert_eq!(bytes, [&frame[..12], &[0x88, 0xa8, 0x20, 7], &frame[12..]].concat());
    }

    #[test]
    fn what_is_not_recorded_is_counted() {
        let (frame, tallies) = (udp_frame(), Tallies::default());
        assert!(hand_out_with(&Wanted::default(), &tallies, &block(48, &frame, 0)).is_none());
        tallies.capture.store(CAPTURE_COUNTS, Ordering::Relaxed);
        assert!(hand_out_with(&wanted(100, 100), &tallies, &block(48, &frame, 0)).is_none());
        let counted = tallies.counters();
        assert_eq!((counted.filtered, counted.lost_overload, counted.stored), (1, 1, 0));
    }

    #[test]
    fn lengths_that_contradict_are_refused() {
        let good = block(48, &udp_frame(), 0);
        assert!(Frame::parse(&good, 48).is_some());
        for len in 0..good.len() {
            if let Some(frame) = Frame::parse(&good[..len], 48) {
                assert_eq!(frame.bytes, udp_frame());
            }
        }
        assert!(Frame::parse(&good, usize::MAX - 60).is_none());
        let mut longer_than_on_the_wire = good.clone();
        longer_than_on_the_wire[48 + FRAME_LEN..][..4].fill(0);
        assert!(Frame::parse(&longer_than_on_the_wire, 48).is_none());
    }
}
