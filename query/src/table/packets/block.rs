//! A block of packets with everything that a query wants to know of them.

mod complete;

use std::borrow::Cow;
use std::sync::Arc;

use kcap_dissect::attribute::PacketFacts;
use kcap_dissect::decode::{decode_outer, decode_parts, may_go_on};
use kcap_dissect::{Decoded, Direction, decode, flow_id};
use kcap_format::proto::LossProgram;
use kcap_format::{BlockEntry, PacketBatch, PacketColumns, PacketId};
use kcap_import::Packets;

use super::needs::{Needs, Payloads};
use crate::error::Result;
use crate::source::{End, EndFacts, Library, SegmentHandle, SegmentOwners, uuid_text};
use complete::Taken;

/// Packets of one block, as far as their columns were needed.
#[derive(Debug)]
pub struct PacketBlock {
    library: Arc<Library>,
    recording: usize,
    position: usize,
    entry: BlockEntry,
    capture_id: Arc<str>,
    /// The sections that were read.
    pub batch: PacketBatch,
    /// Decoded headers, when they were needed.
    pub decoded: Vec<Decoded>,
    /// For the arriving copy of a local packet, the id of the leaving one, and for a frame of a packet that was seen at
    /// another interface before, the id of the first; 0 otherwise.
    pub duplicate_of: Vec<u64>,
    /// Cookie of the socket at the other end of a local packet; 0 when not known.
    pub peer_cookie: Vec<u64>,
    /// Whether the payloads were looked at, so that those without bytes have none.
    payloads_are_read: bool,
    /// False when they were compared with their checksum, and differ.
    payloads_are_whole: bool,
    owners: Option<Arc<SegmentOwners>>,
    ends: Vec<End>,
    peers: Vec<Option<End>>,
    /// Sender and receiver, as the comments of a capture file tell of them; empty when it has none.
    told: Vec<[Option<End>; 2]>,
    /// Payloads of copies that are still to be brought in.
    taken: Vec<Taken>,
}

/// Blocks of capture files have large buffers, which the next ones use again.
impl Drop for PacketBlock {
    fn drop(&mut self) {
        if self.handle().import().is_some() {
            let (batch, decoded) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.decoded));
            Packets { batch, decoded }.recycle();
        }
    }
}

impl PacketBlock {
    /// Reads a block's sections but the payload, and decodes its headers, as needed. `None` when the block is damaged.
    pub(super) fn read(
        library: &Arc<Library>,
        (recording, position): (usize, usize),
        entry: &BlockEntry,
        needs: Needs,
        payloads: &Payloads,
    ) -> Result<Option<Self>> {
        let handle = &library.recordings[recording].segments[position];
        // Packets of imported files are read at once, unless few payloads are wanted: what takes time is to find where they
        // begin.
        let payloads_are_read = needs.payload && handle.import().is_some() && !payloads.are_few();
        // Before anything is read: what was looked at is given back then.
        let are_compared = needs.payload && matches!(payloads, Payloads::OfFragmentsAndDamaged);
        let payloads_are_whole = !are_compared || handle.payloads_are_whole(entry);
        let columns = if payloads_are_read { needs.columns | PacketColumns::PAYLOAD } else { needs.columns };
        let Some(packets) = handle.block_packets(entry, columns)? else { return Ok(None) };
        let batch = packets.batch;
        let mut block = Self {
            library: Arc::clone(library),
            recording,
            position,
            entry: *entry,
            capture_id: uuid_text(&handle.file_info().capture_id).into(),
            batch,
            decoded: packets.decoded,
            duplicate_of: Vec::new(),
            peer_cookie: Vec::new(),
            payloads_are_read,
            payloads_are_whole,
            owners: None,
            ends: Vec::new(),
            peers: Vec::new(),
            told: Vec::new(),
            taken: Vec::new(),
        };
        if needs.decode && block.decoded.len() != block.batch.len {
            let headers = &block.batch;
            block.decoded = (0..headers.len)
                .map(|row| {
                    let header = headers.header.get(row).unwrap_or_default();
                    decode(headers.link_type[row], header, headers.wire_len[row])
                })
                .collect();
            block.decode_into_payloads()?;
        }
        if needs.duplicates {
            block.duplicate_of = vec![0; block.batch.len];
            block.peer_cookie = vec![0; block.batch.len];
        }
        Ok(Some(block))
    }

    /// Decodes again what does not end with the header section: recorders keep the headers apart that their kernel side
    /// follows, and those in tunnels lie behind them. Only blocks with such packets have their payloads read for it.
    fn decode_into_payloads(&mut self) -> Result<()> {
        if !self.decoded.iter().any(may_go_on) {
            return Ok(());
        }
        let has_more = match self.handle().block_packets(&self.entry, PacketColumns::PAYLOAD_LEN)? {
            Some(packets) => packets.batch.payload_len,
            None => return Ok(()),
        };
        let rows: Vec<usize> = (0..self.len())
            .filter(|row| may_go_on(&self.decoded[*row]) && has_more.get(*row).is_some_and(|len| *len > 0))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let Some(payloads) = self.handle().block_payloads(&self.entry)? else { return Ok(()) };
        for row in rows {
            let header = self.batch.header.get(row).unwrap_or_default();
            let payload = payloads.payload.get(row).unwrap_or_default();
            self.decoded[row] =
                decode_parts(self.batch.link_type[row], header, payload, self.batch.wire_len[row]);
        }
        Ok(())
    }

    /// For a packet in a tunnel that the header section does not reach into, the headers of the outermost packet.
    pub(super) fn outermost(&self, row: usize) -> Option<Decoded> {
        let decoded = &self.decoded[row];
        let header = self.batch.header.get(row).unwrap_or_default();
        let is_beyond = decoded.tunnel_depth > 0 && decoded.header_len as usize > header.len();
        is_beyond.then(|| decode_outer(self.batch.link_type[row], header, self.batch.wire_len[row], 0))
    }

    /// Reads the payload, which only blocks that give rows need. Damaged payloads are none.
    pub(super) fn read_payload(&mut self) -> Result<()> {
        if self.payloads_are_read {
            return Ok(());
        }
        self.payloads_are_read = true;
        if let Some(batch) = self.handle().block_payloads(&self.entry)? {
            self.batch.payload = batch.payload;
            // What copies add was counted before.
            if self.taken.is_empty() {
                self.batch.payload_len = batch.payload_len;
            }
        }
        self.take_payloads()
    }

    /// Finds the processes at the ends.
    pub(super) fn find_ends(&mut self, needs: Needs) -> Result<()> {
        if self.is_imported() {
            let comments = self.handle().block_comments(&self.entry)?;
            let (owners, told) = SegmentOwners::told(&comments);
            self.ends = (0..self.len()).map(|row| self.told_local_end(&owners, &told, row)).collect();
            self.told = told;
            self.owners = Some(Arc::new(owners));
            return Ok(());
        }
        let owners = self.library.owners(self.recording, self.position)?;
        self.ends = (0..self.len()).map(|row| owners.local_end(&self.facts(row))).collect();
        if needs.peer {
            let peer = |row: usize| {
                let cookie = match self.peer_cookie.get(row) {
                    Some(0) | None => self.far_sender_cookie(row),
                    Some(cookie) => *cookie,
                };
                owners
                    .end_of_cookie(cookie, self.batch.time_ns[row])
                    .or_else(|| owners.other_end(&self.facts(row)))
            };
            self.peers = (0..self.len()).map(peer).collect();
        }
        self.owners = Some(owners);
        Ok(())
    }

    /// The end at the hook, of those that a comment told of.
    fn told_local_end(&self, owners: &SegmentOwners, told: &[[Option<End>; 2]], row: usize) -> End {
        let [sender, receiver] = told.get(row).copied().unwrap_or_default();
        let local = match self.direction(row) {
            Direction::Egress => sender,
            Direction::Ingress => receiver,
            Direction::Unknown => sender.or(receiver),
        };
        local.unwrap_or_else(|| owners.local_end(&self.facts(row)))
    }

    fn facts(&self, row: usize) -> PacketFacts<'_> {
        PacketFacts {
            time_ns: self.batch.time_ns[row],
            direction: self.direction(row),
            socket_cookie: match self.far_sender_cookie(row) {
                0 => self.batch.socket_cookie[row],
                _ => 0,
            },
            netns_cookie: self.batch.netns_cookie[row],
            at_interface: self.at_interface(row).is_some(),
            decoded: &self.decoded[row],
        }
    }

    /// Number of packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len
    }

    /// True when there is no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.len == 0
    }

    /// See [`SegmentHandle::is_imported`].
    #[must_use]
    pub fn is_imported(&self) -> bool {
        self.handle().is_imported()
    }

    /// The segment of the block.
    #[must_use]
    pub fn handle(&self) -> &SegmentHandle {
        &self.library.recordings[self.recording].segments[self.position]
    }

    /// The block's place in its segment.
    #[must_use]
    pub fn entry(&self) -> &BlockEntry {
        &self.entry
    }

    /// The recording's id as text.
    #[must_use]
    pub fn capture_id(&self) -> &str {
        &self.capture_id
    }

    /// The same, for whoever keeps it.
    #[must_use]
    pub(crate) fn shared_capture_id(&self) -> &Arc<str> {
        &self.capture_id
    }

    /// Whether the payloads were read, damaged ones included; otherwise only their lengths are known.
    #[must_use]
    pub(crate) fn payloads_are_read(&self) -> bool {
        self.payloads_are_read
    }

    /// Whether the payloads are as they were written, as far as anybody wanted to know.
    pub(super) fn payloads_are_whole(&self) -> bool {
        self.payloads_are_whole
    }

    /// The id of a row.
    #[must_use]
    pub fn packet_id(&self, row: usize) -> u64 {
        let sequence = self.handle().file_info().segment_sequence;
        PacketId::new(sequence, self.entry.sequence, u32::try_from(row).unwrap_or(u32::MAX)).as_u64()
    }

    /// The row with this id, if it is one of this block. Ids come again in a recording of very many segments, where the block may
    /// be a shorter one.
    pub(super) fn row_of(&self, packet_id: u64) -> Option<usize> {
        let (_, _, row) = PacketId::from_u64(packet_id).parts();
        Some(row as usize).filter(|row| *row < self.len() && self.packet_id(*row) == packet_id)
    }

    /// Wall time of a row in nanoseconds since 1970; `None` when the segment's clock cannot be read.
    #[must_use]
    pub fn realtime_ns(&self, row: usize) -> Option<i64> {
        self.realtime_of(self.batch.time_ns[row])
    }

    /// Wall time of a time since boot, as [`Self::realtime_ns`].
    #[must_use]
    pub fn realtime_of(&self, time_ns: u64) -> Option<i64> {
        Some(self.handle().clock().ok()?.realtime_ns(time_ns))
    }

    /// True for the arriving copy of a packet whose leaving copy is in the recording, and for a packet that was recorded at
    /// another interface before.
    #[must_use]
    pub fn is_copy(&self, row: usize) -> bool {
        self.duplicate_of.get(row).is_some_and(|id| *id != 0)
    }

    /// Which way a row's packet went.
    #[must_use]
    pub fn direction(&self, row: usize) -> Direction {
        match kcap_format::Direction::from_u8(self.batch.direction[row]) {
            kcap_format::Direction::Ingress => Direction::Ingress,
            kcap_format::Direction::Egress => Direction::Egress,
            kcap_format::Direction::Unknown => Direction::Unknown,
        }
    }

    /// Cookie of the sender's socket when a frame comes from another network namespace of the host: it still has that one where
    /// it arrives. 0 for all others.
    fn far_sender_cookie(&self, row: usize) -> u64 {
        let arrives = self.direction(row) == Direction::Ingress && self.at_interface(row).is_some();
        if arrives { self.batch.socket_cookie[row] } else { 0 }
    }

    /// The interface at which a row's packet was seen; `None` when that was at its socket.
    pub(super) fn at_interface(&self, row: usize) -> Option<u32> {
        const AT_INTERFACES: [LossProgram; 3] =
            [LossProgram::InterfaceIngress, LossProgram::InterfaceEgress, LossProgram::PacketSocket];
        let program = LossProgram::try_from(i32::from(self.batch.program[row])).ok()?;
        AT_INTERFACES.contains(&program).then(|| self.batch.interface_index[row])
    }

    /// Names of the payload tasks that asked for a row's packet: [`SegmentHandle::payload_task_name`].
    #[must_use]
    pub fn payload_tasks(&self, row: usize) -> Vec<Cow<'_, str>> {
        let bits = self.batch.tasks.get(row).copied().unwrap_or(0);
        let chosen = (0..u32::BITS).filter(|bit| bits >> bit & 1 != 0);
        chosen.map(|bit| self.handle().payload_task_name(bit)).collect()
    }

    /// The flow of a row's packet.
    #[must_use]
    pub fn flow_id(&self, row: usize) -> Option<u64> {
        flow_id(&self.decoded[row], self.batch.netns_cookie[row])
    }

    /// Whose ends [`Self::local_end`] and the others give; present when owners were needed.
    #[must_use]
    pub fn owners(&self) -> Option<&SegmentOwners> {
        self.owners.as_deref()
    }

    /// All of an end of a row's packet.
    #[must_use]
    pub fn end_facts(&self, row: usize, end: &End) -> EndFacts {
        self.owners().map(|owners| owners.facts_of(end, self.batch.time_ns[row])).unwrap_or_default()
    }

    /// The end at the hook.
    #[must_use]
    pub fn local_end(&self, row: usize) -> Option<&End> {
        self.ends.get(row)
    }

    /// The end that sent the packet, if it is on this host.
    #[must_use]
    pub fn source_end(&self, row: usize) -> Option<&End> {
        if let Some([sender, _]) = self.told.get(row) {
            return sender.as_ref();
        }
        match self.direction(row) {
            Direction::Egress => self.ends.get(row),
            Direction::Ingress => self.peers.get(row)?.as_ref(),
            Direction::Unknown => None,
        }
    }

    /// The end that receives the packet, if it is on this host.
    #[must_use]
    pub fn destination_end(&self, row: usize) -> Option<&End> {
        if let Some([_, receiver]) = self.told.get(row) {
            return receiver.as_ref();
        }
        match self.direction(row) {
            Direction::Egress => self.peers.get(row)?.as_ref(),
            Direction::Ingress => self.ends.get(row),
            Direction::Unknown => None,
        }
    }
}
