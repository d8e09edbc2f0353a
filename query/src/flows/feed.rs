//! From rows of blocks to the flow table: tunnels, and fragments that are put together.
//!
//! Fragments tell of their flow only together, so that they are put together by whoever sees all packets ([`Fragments`]), before
//! these are given to a table, or dealt out to several ([`give`]).

use std::sync::Arc;

use kcap_dissect::FlowKey;
use kcap_dissect::decode::{Decoded, Defragmenter, Fragment, Ip, Overlap, decode, decode_outer, link_type};
use kcap_dissect::flow::{FlowTable, PacketView};

use super::PacketConsumer;
use super::fragments::{FragmentFinding, FragmentName};
use super::payload::{Scratch, transport_payload};
use crate::table::FlowIds;
use crate::table::packets::PacketBlock;

/// Gives packets to a flow table.
#[derive(Debug, Default)]
pub struct Feeder {
    fragments: Fragments,
    /// Flows that are wanted, when not all are.
    flow_ids: Option<FlowIds>,
    scratch: Scratch,
}

impl Feeder {
    /// A feeder of one recording's packets, all or only those of some flows.
    #[must_use]
    pub fn new(flow_ids: Option<FlowIds>) -> Self {
        Self { flow_ids, ..Self::default() }
    }

    /// Gives a row's packet to a table.
    pub fn feed<C: PacketConsumer>(
        &mut self,
        table: &mut FlowTable<C>,
        block: &Arc<PacketBlock>,
        row: usize,
    ) {
        if let Some(wanted) = &self.flow_ids
            && !block.decoded[row].ip().is_some_and(Ip::is_fragment)
            && !flow_keys(block, row).any(|key| wanted.contains(key.id()))
        {
            return;
        }
        table.consumer().begin(block, row);
        let consumer = table.consumer();
        let piece = self.fragments.piece(block, row, |finding| consumer.fragments(finding));
        give(table, block, row, None, &piece, &mut self.scratch);
    }

    /// There are no more packets: tells of the fragments that still wait for others.
    pub fn finish<C: PacketConsumer>(&mut self, table: &mut FlowTable<C>) {
        let consumer = table.consumer();
        self.fragments.finish(|finding| consumer.fragments(finding));
    }
}

/// What a row's packet is.
#[derive(Debug)]
pub(super) enum Piece {
    /// A packet; also a fragment that nothing can be done with.
    Packet,
    /// A fragment of a packet of which more is to come.
    Fragment,
    /// The last fragment of a packet, and all bytes of that, from the IP header on.
    Last(Vec<u8>),
}

/// Puts the fragments of one recording together.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    defragmenter: Defragmenter<FragmentName>,
}

impl Fragments {
    /// To be asked for each row in the order of time. Tells what is wrong with fragments.
    pub(super) fn piece(
        &mut self,
        block: &Arc<PacketBlock>,
        row: usize,
        mut tell: impl FnMut(FragmentFinding<'_>),
    ) -> Piece {
        let decoded = &block.decoded[row];
        if !decoded.ip().is_some_and(Ip::is_fragment) {
            return Piece::Packet;
        }
        let batch = &block.batch;
        let header = batch.header.get(row).unwrap_or_default();
        let bytes = [header, batch.payload.get(row).unwrap_or_default()].concat();
        let name = FragmentName::of(block, row);
        let fed = self.defragmenter.feed(batch.time_ns[row], name.clone(), decoded, &bytes);
        self.tell_given_up(&mut tell);
        match fed {
            Fragment::Waiting => Piece::Fragment,
            Fragment::Whole(whole) => {
                if whole.overlap == Overlap::Different {
                    tell(FragmentFinding::Disagreement(&name));
                }
                Piece::Last(whole.bytes)
            }
            // What there is of it is better than nothing.
            other => {
                if let Fragment::Rejected(error) = other {
                    tell(FragmentFinding::Rejected(&name, error));
                }
                Piece::Packet
            }
        }
    }

    /// There are no more packets.
    fn finish(&mut self, mut tell: impl FnMut(FragmentFinding<'_>)) {
        self.defragmenter.finish();
        self.tell_given_up(&mut tell);
    }

    fn tell_given_up(&mut self, tell: &mut impl FnMut(FragmentFinding<'_>)) {
        for packet in self.defragmenter.take_given_up() {
            tell(FragmentFinding::Incomplete(&packet));
        }
    }
}

/// The flows that a row's packet is of: those of the tunnels around it, outermost first, and its own.
pub(super) fn flow_keys(block: &PacketBlock, row: usize) -> impl Iterator<Item = FlowKey> {
    let decoded = &block.decoded[row];
    let netns_cookie = block.batch.netns_cookie[row];
    let around = (0..decoded.tunnel_depth).map(move |depth| {
        let header = block.batch.header.get(row).unwrap_or_default();
        decode_outer(block.batch.link_type[row], header, block.batch.wire_len[row], depth)
    });
    let around = around.filter_map(move |outer| FlowKey::of(&outer, netns_cookie));
    around.chain(FlowKey::of(decoded, netns_cookie))
}

/// Gives a row's packet to a table, whose consumer was told that it comes; with the id of its flow, where it is known.
pub(super) fn give<C: PacketConsumer>(
    table: &mut FlowTable<C>,
    block: &Arc<PacketBlock>,
    row: usize,
    flow_id: Option<u64>,
    piece: &Piece,
    scratch: &mut Scratch,
) {
    let Some(time_ns) = block.realtime_ns(row) else { return };
    let batch = &block.batch;
    let decoded = &block.decoded[row];
    let header = batch.header.get(row).unwrap_or_default();
    let outer = outer_packets(batch.link_type[row], header, batch.wire_len[row], decoded);
    let captured_len = header.len() + batch.payload_len[row] as usize;
    let captured_payload_len = captured_len.saturating_sub(decoded.header_len as usize);
    let view = |payload| PacketView {
        packet_id: block.packet_id(row),
        time_ns,
        decoded,
        outer: &outer,
        payload,
        captured_payload_len: u32::try_from(captured_payload_len).unwrap_or(u32::MAX),
        wire_len: batch.wire_len[row],
        netns_cookie: batch.netns_cookie[row],
        flow_id,
        tag: batch.tasks.get(row).copied().unwrap_or(0),
    };
    match piece {
        Piece::Packet => {
            table.packet(&view(transport_payload(block, row, captured_payload_len, scratch)));
        }
        Piece::Fragment => {
            table.fragment(&view(&[]));
        }
        Piece::Last(bytes) => {
            let view = view(&[]);
            table.fragment(&view);
            reassembled(table, &view, bytes);
        }
    }
}

/// Tells a table what a packet carries whose last fragment it was given.
fn reassembled<C: PacketConsumer>(table: &mut FlowTable<C>, fragment: &PacketView<'_>, bytes: &[u8]) {
    let wire_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut decoded = decode(link_type::RAW, bytes, wire_len);
    // VLANs are a part of a flow's key.
    decoded.link = fragment.decoded.link;
    let outer: Vec<_> = outer_packets(link_type::RAW, bytes, wire_len, &decoded)
        .into_iter()
        .map(|outer| Decoded { link: fragment.decoded.link, ..outer })
        .collect();
    let payload = bytes.get(decoded.header_len as usize..).unwrap_or_default();
    table.reassembled(&PacketView {
        decoded: &decoded,
        outer: &outer,
        payload,
        captured_payload_len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        wire_len,
        flow_id: None,
        ..*fragment
    });
}

/// The packets around one in tunnels, outermost first. Few are: nothing is allocated for the others.
fn outer_packets(link_type: u16, header: &[u8], wire_len: u32, decoded: &Decoded) -> Vec<Decoded> {
    (0..decoded.tunnel_depth).map(|depth| decode_outer(link_type, header, wire_len, depth)).collect()
}
