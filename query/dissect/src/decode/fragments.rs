//! Reassembly of IP fragments (RFC 791, RFC 8200 section 4.5) in bounded memory.
//!
//! What comes first wins where fragments overlap, as for streams; that they do, and whether they disagree, is told with the
//! packet. Hosts drop such packets (RFC 5722), so that one is either an attack or a broken device.

use std::collections::{HashMap, VecDeque};

use super::incomplete::{GivenUp, IncompletePacket};
use super::model::{Decoded, Ip, ip_protocol};

/// Bounds of a [`Defragmenter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentOptions {
    /// Memory for fragments that wait, in bytes; the oldest packets give way.
    pub memory_bytes_max: usize,
    /// How long the first fragment of a packet waits for the last, in nanoseconds.
    pub timeout_ns: u64,
}

impl Default for FragmentOptions {
    /// 4 MiB, which is `ipfrag_high_thresh` of Linux, and 30 s, which is `ipfrag_time`.
    fn default() -> Self {
        Self { memory_bytes_max: 4 << 20, timeout_ns: 30_000_000_000 }
    }
}

/// What became of a packet that was fed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fragment {
    /// It is no fragment.
    None,
    /// Others are missing.
    Waiting,
    /// It was the last that was missing.
    Whole(Reassembled),
    /// It cannot be a part of a packet, and what came before of the packet was given up.
    Rejected(FragmentError),
}

/// A packet that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// From the IP header on, as if it had never been cut: to be decoded with [`link_type::RAW`](super::link_type::RAW).
    pub bytes: Vec<u8>,
    /// How many fragments it came in.
    pub fragments: u32,
    /// Whether some of them overlapped.
    pub overlap: Overlap,
}

/// How fragments of a packet overlapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlap {
    /// They did not, or one came twice.
    #[default]
    None,
    /// They did, with the same bytes.
    Same,
    /// They did, with other bytes: what came first was kept.
    Different,
}

/// Why a fragment cannot be a part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// Not all its bytes were captured.
    #[error("a fragment that was not wholly captured")]
    NotCaptured,
    /// A fragment that others follow has no multiple of eight bytes.
    #[error("a fragment of {len} bytes that others follow, which is no multiple of 8")]
    Length {
        /// Bytes that it carries.
        len: u32,
    },
    /// The packet would be longer than one can be.
    #[error("fragments of a packet of {len} bytes, and no packet has more than 65535")]
    TooLong {
        /// Bytes that it would have.
        len: u32,
    },
    /// Two fragments say that they are the last, at different places, or one lies behind the last.
    #[error("fragments that disagree about where their packet ends")]
    End,
    /// There are more gaps between the fragments than are kept in mind.
    #[error("fragments with too many gaps between them")]
    Gaps,
}

/// How many packets had which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Packets that were put together.
    pub reassembled: u64,
    /// Packets of which a fragment did not come in time.
    pub timed_out: u64,
    /// Packets that were given up for want of memory.
    pub evicted: u64,
    /// Packets of which a fragment was rejected.
    pub rejected: u64,
    /// Packets of those that were put together with overlaps that disagree.
    pub disagreeing: u64,
}

/// Most bytes of an IP packet, and so of its fragments together.
const PACKET_LEN_MAX: u32 = 65_535;
/// Most runs of bytes with gaps between them that a packet may consist of while it waits.
const RUNS_MAX: usize = 64;
/// Bytes that a packet takes beside those of its fragments, about.
const WAITING_BYTES: usize = 512;
/// Places in the order of packets that may be of none that waits, beside as many as wait.
const PLACES_SPARE: usize = 64;
/// Where an IPv4 header has its protocol.
const IPV4_PROTOCOL_AT: usize = 9;
/// Bytes of an IPv6 header.
const IPV6_HEADER_LEN: usize = 40;

/// Puts packets together. `P` is what names a packet to whoever feeds it.
#[derive(Debug)]
pub struct Defragmenter<P = u64> {
    options: FragmentOptions,
    /// With keys that packets choose: its hashes can't be foreseen.
    waiting: HashMap<Key, Waiting<P>>,
    /// The packets that wait, oldest first, with those that do no longer.
    order: VecDeque<(Key, u64)>,
    memory_bytes: usize,
    counts: FragmentCounts,
    /// Given up by the last call.
    given_up: Vec<IncompletePacket<P>>,
}

impl<P: Clone> Default for Defragmenter<P> {
    fn default() -> Self {
        Self::new(FragmentOptions::default())
    }
}

/// What fragments of a packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// IPv6 can have the addresses that IPv4 is mapped to.
    version: u8,
    source: [u8; 16],
    destination: [u8; 16],
    id: u32,
    /// 0 for IPv6, where only the first fragment has to tell.
    protocol: u8,
    /// Packets of other VLANs and tunnels may have the same addresses.
    vlan_tags: [u16; super::VLAN_TAGS_MAX],
    tunnel_id: Option<u32>,
    tunnel_depth: u8,
}

/// A packet of which something is missing.
#[derive(Debug)]
struct Waiting<P> {
    first_ns: u64,
    /// The fragments that came first and last.
    first: P,
    last: P,
    /// The IP header, of the fragment at the beginning.
    header: Option<Vec<u8>>,
    data: Vec<u8>,
    /// Begin and end of what is there in `data`, sorted, with gaps between them.
    runs: Vec<(u32, u32)>,
    /// Where the packet ends, when its last fragment came.
    end: Option<u32>,
    fragments: u32,
    overlap: Overlap,
}

impl<P: Clone> Defragmenter<P> {
    /// One with these bounds.
    #[must_use]
    pub fn new(options: FragmentOptions) -> Self {
        Self {
            options,
            waiting: HashMap::default(),
            order: VecDeque::new(),
            memory_bytes: 0,
            counts: FragmentCounts::default(),
            given_up: Vec::new(),
        }
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn counts(&self) -> FragmentCounts {
        self.counts
    }

    /// Memory that packets take that wait, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The packets that the last call of [`feed`](Self::feed) or [`finish`](Self::finish) gave up.
    pub fn take_given_up(&mut self) -> Vec<IncompletePacket<P>> {
        std::mem::take(&mut self.given_up)
    }

    /// Gives up all that waits: there are no more packets.
    pub fn finish(&mut self) {
        self.given_up.clear();
        while self.remove_oldest(GivenUp::Ended) {}
    }

    /// Takes a packet: its name, what was decoded, and in `bytes` all that was captured of it.
    pub fn feed(&mut self, time_ns: u64, name: P, decoded: &Decoded, bytes: &[u8]) -> Fragment {
        self.given_up.clear();
        let Some(ip) = decoded.ip().filter(|ip| ip.is_fragment()) else { return Fragment::None };
        self.expire(time_ns);
        let key = Key {
            version: ip.version,
            source: ip.source,
            destination: ip.destination,
            id: ip.id.unwrap_or(0),
            // As the header has it: in the first fragment alone, an authentication header was passed.
            protocol: bytes
                .get(decoded.network_offset as usize + IPV4_PROTOCOL_AT)
                .filter(|_| ip.version == 4)
                .map_or(0, |protocol| *protocol),
            vlan_tags: decoded.link.vlan_tags.map(|tag| tag & 0x0fff),
            tunnel_id: decoded.tunnel.and_then(|tunnel| tunnel.id),
            tunnel_depth: decoded.tunnel_depth,
        };
        let before = self.waiting.remove(&key);
        let waited_bytes = before.as_ref().map_or(0, Waiting::memory_bytes);
        self.memory_bytes -= waited_bytes;
        let is_new = before.is_none();
        let mut packet = before.unwrap_or_else(|| Waiting::new(time_ns, name.clone()));
        match part(ip, decoded, bytes).and_then(|part| packet.add(ip, &part)) {
            Err(error) => {
                self.counts.rejected += 1;
                if !is_new {
                    self.given_up.push(packet.into_incomplete(key, GivenUp::Rejected));
                }
                Fragment::Rejected(error)
            }
            Ok(()) if packet.is_whole() => {
                self.counts.reassembled += 1;
                self.counts.disagreeing += u64::from(packet.overlap == Overlap::Different);
                Fragment::Whole(packet.into_whole(ip.version))
            }
            Ok(()) => {
                if is_new {
                    self.order.push_back((key, packet.first_ns));
                }
                packet.last = name;
                self.memory_bytes += packet.memory_bytes();
                self.waiting.insert(key, packet);
                self.forget_places();
                while self.memory_bytes > self.options.memory_bytes_max
                    && self.remove_oldest(GivenUp::Evicted)
                {
                    self.counts.evicted += 1;
                }
                Fragment::Waiting
            }
        }
    }

    /// Drops places of packets that wait no longer, when there are more of these than others.
    fn forget_places(&mut self) {
        if self.order.len() > 2 * self.waiting.len() + PLACES_SPARE {
            let waiting = &self.waiting;
            self.order.retain(|(key, first_ns)| {
                waiting.get(key).is_some_and(|packet| packet.first_ns == *first_ns)
            });
        }
    }

    /// Places in the order of packets.
    #[cfg(test)]
    pub(super) fn place_count(&self) -> usize {
        self.order.len()
    }

    /// Gives up what waited too long.
    fn expire(&mut self, time_ns: u64) {
        while let Some((key, first_ns)) = self.order.front().copied() {
            let is_waiting = self.waiting.get(&key).is_some_and(|packet| packet.first_ns == first_ns);
            if is_waiting && first_ns.saturating_add(self.options.timeout_ns) >= time_ns {
                return;
            }
            self.order.pop_front();
            if is_waiting && let Some(packet) = self.waiting.remove(&key) {
                self.memory_bytes -= packet.memory_bytes();
                self.counts.timed_out += 1;
                self.given_up.push(packet.into_incomplete(key, GivenUp::TimedOut));
            }
        }
    }

    /// Gives up the packet that waits longest; false when none waits.
    fn remove_oldest(&mut self, reason: GivenUp) -> bool {
        while let Some((key, first_ns)) = self.order.pop_front() {
            if self.waiting.get(&key).is_none_or(|packet| packet.first_ns != first_ns) {
                continue;
            }
            if let Some(packet) = self.waiting.remove(&key) {
                self.memory_bytes -= packet.memory_bytes();
                self.given_up.push(packet.into_incomplete(key, reason));
                return true;
            }
        }
        false
    }
}

/// What a fragment brings.
struct Part<'a> {
    /// The header as that of the whole packet, but for its length.
    header: Vec<u8>,
    data: &'a [u8],
}

/// Finds what a fragment brings in the bytes that were captured of it.
fn part<'a>(ip: &Ip, decoded: &Decoded, bytes: &'a [u8]) -> Result<Part<'a>, FragmentError> {
    let start = decoded.network_offset as usize;
    let packet = start.checked_add(ip.total_len as usize).and_then(|end| bytes.get(start..end));
    let packet = packet.ok_or(FragmentError::NotCaptured)?;
    let split = if ip.version == 4 {
        let header_len = usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4;
        packet.split_at_checked(header_len).filter(|(header, _)| header.len() >= 20).map(|(header, data)| {
            let mut header = header.to_vec();
            // No longer a fragment.
            header[6] &= 0x40;
            header[7] = 0;
            Part { header, data }
        })
    } else {
        ipv6_part(packet)
    };
    split.ok_or(FragmentError::NotCaptured)
}

/// Splits an IPv6 packet at its fragment header, and takes that out of the chain of headers.
fn ipv6_part(packet: &[u8]) -> Option<Part<'_>> {
    let mut next_header_at = 6;
    let mut at = IPV6_HEADER_LEN;
    for _ in 0..super::IPV6_EXTENSIONS_MAX {
        let extension = packet.get(at..)?;
        match *packet.get(next_header_at)? {
            ip_protocol::FRAGMENT => {
                let mut header = packet[..at].to_vec();
                header[next_header_at] = *extension.first()?;
                return Some(Part { header, data: extension.get(8..)? });
            }
            ip_protocol::HOP_BY_HOP | ip_protocol::ROUTING | ip_protocol::DESTINATION_OPTIONS => {
                next_header_at = at;
                at += (usize::from(*extension.get(1)?) + 1) * 8;
            }
            _ => return None,
        }
    }
    None
}

impl<P: Clone> Waiting<P> {
    fn new(first_ns: u64, first: P) -> Self {
        Self {
            first_ns,
            last: first.clone(),
            first,
            header: None,
            data: Vec::new(),
            runs: Vec::new(),
            end: None,
            fragments: 0,
            overlap: Overlap::None,
        }
    }

    fn memory_bytes(&self) -> usize {
        WAITING_BYTES + self.data.capacity() + self.header.as_ref().map_or(0, Vec::capacity)
    }

    fn add(&mut self, ip: &Ip, part: &Part<'_>) -> Result<(), FragmentError> {
        let len = super::model::saturate(part.data.len());
        let start = u32::from(ip.fragment_offset);
        let end = start + len;
        if ip.more_fragments && !len.is_multiple_of(8) {
            return Err(FragmentError::Length { len });
        }
        let whole_len = end + super::model::saturate(part.header.len());
        if whole_len > PACKET_LEN_MAX {
            return Err(FragmentError::TooLong { len: whole_len });
        }
        if !ip.more_fragments {
            if self.end.is_some_and(|known| known != end) || self.runs.last().is_some_and(|run| run.1 > end) {
                return Err(FragmentError::End);
            }
            self.end = Some(end);
        }
        if self.end.is_some_and(|known| end > known) {
            return Err(FragmentError::End);
        }
        self.fragments += 1;
        if start == 0 {
            self.header.get_or_insert_with(|| part.header.clone());
        }
        // The header of the whole is that of the first fragment, which may be longer than this one's.
        let header_len = self.header.as_ref().map_or(0, |header| super::model::saturate(header.len()));
        let reach = end.max(self.end.unwrap_or(0)).max(self.runs.last().map_or(0, |run| run.1));
        if header_len + reach > PACKET_LEN_MAX {
            return Err(FragmentError::TooLong { len: header_len + reach });
        }
        self.put(start, part.data);
        if self.runs.len() > RUNS_MAX { Err(FragmentError::Gaps) } else { Ok(()) }
    }

    /// Puts bytes at their place, where there are none yet.
    fn put(&mut self, start: u32, bytes: &[u8]) {
        let end = start + super::model::saturate(bytes.len());
        if self.data.len() < end as usize {
            self.data.resize(end as usize, 0);
        }
        // A fragment that came twice, wholly as before, is a retransmission or a second sight, and no overlap.
        let is_there = self.runs.iter().any(|run| run.0 <= start && end <= run.1);
        let mut at = start;
        let mut overlap = Overlap::None;
        for run in self.runs.iter().filter(|run| run.0 < end && start < run.1) {
            let common = run.0.max(start) as usize..run.1.min(end) as usize;
            let offered = &bytes[common.start - start as usize..common.end - start as usize];
            let is_same = self.data[common.clone()] == *offered;
            overlap = overlap.max(if is_same { Overlap::Same } else { Overlap::Different });
            copy(&mut self.data, bytes, start, at..run.0);
            at = at.max(run.1);
        }
        copy(&mut self.data, bytes, start, at..end);
        if !(is_there && overlap == Overlap::Same) {
            self.overlap = self.overlap.max(overlap);
        }
        let (mut first, mut last) = (start, end);
        self.runs.retain(|run| {
            let touches = run.0 <= last && first <= run.1;
            if touches {
                first = first.min(run.0);
                last = last.max(run.1);
            }
            !touches
        });
        let place = self.runs.partition_point(|run| run.0 < first);
        self.runs.insert(place, (first, last));
    }

    fn is_whole(&self) -> bool {
        self.header.is_some() && self.end.is_some_and(|end| self.runs == [(0, end)])
    }

    fn into_incomplete(self, key: Key, reason: GivenUp) -> IncompletePacket<P> {
        IncompletePacket {
            first: self.first,
            last: self.last,
            source: key.source,
            destination: key.destination,
            id: key.id,
            fragments: self.fragments,
            present: self.runs,
            len: self.end,
            reason,
        }
    }

    fn into_whole(self, version: u8) -> Reassembled {
        let mut bytes = self.header.unwrap_or_default();
        let header_len = bytes.len();
        bytes.extend(self.data);
        if version == 4 {
            // The sum of both limits is checked: it fits.
            let total_len = (bytes.len() as u16).to_be_bytes();
            bytes[2..4].copy_from_slice(&total_len);
            bytes[10..12].fill(0);
            let checksum = super::checksum::internet_checksum(&bytes[..header_len]);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            let payload_len = ((bytes.len() - IPV6_HEADER_LEN) as u16).to_be_bytes();
            bytes[4..6].copy_from_slice(&payload_len);
        }
        Reassembled { bytes, fragments: self.fragments, overlap: self.overlap }
    }
}

/// Copies what a fragment that begins at `start` has of a range.
fn copy(data: &mut [u8], bytes: &[u8], start: u32, range: std::ops::Range<u32>) {
    if range.start < range.end {
        let from = (range.start - start) as usize..(range.end - start) as usize;
        data[range.start as usize..range.end as usize].copy_from_slice(&bytes[from]);
    }
}
