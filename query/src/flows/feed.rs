//! From rows of blocks to the flow table: tunnels, and fragments that are put together.

use std::sync::Arc;

use kcap_dissect::decode::{Decoded, Defragmenter, Fragment, Ip, Overlap, decode, decode_outer, link_type};
use kcap_dissect::flow::{FlowTable, PacketView};
use kcap_dissect::flow_id;

use super::PacketConsumer;
use super::fragments::{FragmentFinding, FragmentName};
use super::payload::transport_payload;
use crate::table::FlowIds;
use crate::table::packets::PacketBlock;

/// Gives packets to a flow table.
#[derive(Debug, Default)]
pub struct Feeder {
    /// Whether payloads were read: without, there is nothing to put together.
    payloads: bool,
    /// Flows that are wanted, when not all are.
    flow_ids: Option<FlowIds>,
    defragmenter: Defragmenter<FragmentName>,
    scratch: Vec<u8>,
}

impl Feeder {
    /// A feeder of one recording's packets, with their payloads or without, all or only those of some flows.
    #[must_use]
    pub fn new(payloads: bool, flow_ids: Option<FlowIds>) -> Self {
        Self { payloads, flow_ids, ..Self::default() }
    }

    /// Gives a row's packet to a table.
    pub fn feed<C: PacketConsumer>(
        &mut self,
        table: &mut FlowTable<C>,
        block: &Arc<PacketBlock>,
        row: usize,
    ) {
        let Some(time_ns) = block.realtime_ns(row) else { return };
        let batch = &block.batch;
        let decoded = &block.decoded[row];
        let header = batch.header.get(row).unwrap_or_default();
        let outer = outer_packets(batch.link_type[row], header, batch.wire_len[row], decoded);
        let is_fragment = decoded.ip().is_some_and(Ip::is_fragment);
        if let Some(wanted) = &self.flow_ids
            && !is_fragment
        {
            let mut flows = outer.iter().chain([decoded]);
            let netns_cookie = batch.netns_cookie[row];
            if !flows.any(|of| flow_id(of, netns_cookie).is_some_and(|id| wanted.contains(id))) {
                return;
            }
        }
        table.consumer().begin(block, row);
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
        };
        if !self.payloads || !is_fragment {
            table.packet(&view(transport_payload(block, row, &mut self.scratch)));
            return;
        }
        let bytes = [header, batch.payload.get(row).unwrap_or_default()].concat();
        let name = FragmentName::of(block, row);
        let fed = self.defragmenter.feed(batch.time_ns[row], name.clone(), decoded, &bytes);
        self.tell_given_up(table.consumer());
        match fed {
            Fragment::Waiting => {
                table.fragment(&view(&[]));
            }
            Fragment::Whole(whole) => {
                if whole.overlap == Overlap::Different {
                    table.consumer().fragments(FragmentFinding::Disagreement(&name));
                }
                let view = view(&[]);
                table.fragment(&view);
                reassembled(table, &view, &whole.bytes);
            }
            // What there is of it is better than nothing.
            other => {
                if let Fragment::Rejected(error) = other {
                    table.consumer().fragments(FragmentFinding::Rejected(&name, error));
                }
                table.packet(&view(transport_payload(block, row, &mut self.scratch)));
            }
        }
    }

    /// There are no more packets: tells of the fragments that still wait for others.
    pub fn finish<C: PacketConsumer>(&mut self, table: &mut FlowTable<C>) {
        self.defragmenter.finish();
        self.tell_given_up(table.consumer());
    }

    fn tell_given_up(&mut self, consumer: &mut impl PacketConsumer) {
        for packet in self.defragmenter.take_given_up() {
            consumer.fragments(FragmentFinding::Incomplete(&packet));
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
        ..*fragment
    });
}

/// The packets around one in tunnels, outermost first. Few are: nothing is allocated for the others.
fn outer_packets(link_type: u16, header: &[u8], wire_len: u32, decoded: &Decoded) -> Vec<Decoded> {
    (0..decoded.tunnel_depth).map(|depth| decode_outer(link_type, header, wire_len, depth)).collect()
}
