//! Conversations and their streams. The input is a series of packets: link type, tenths of a second since the one before, captured
//! length, bytes. Every packet counts in a flow, fragments and tunnels too, and streams are told without holes.
#![no_main]

use kcap_dissect::decode::{Decoded, Defragmenter, Fragment, decode, decode_outer, link_type};
use kcap_dissect::flow::{CloseReason, Flow, FlowConsumer, FlowOptions, FlowTable, PacketView, Side};
use kcap_dissect::stream::{EndReason, Gap, PacketRef, StreamData, StreamOptions};

const FLOWS_MAX: usize = 4;

#[derive(Default)]
struct Checker {
    packets: u64,
    packets_of_closed: u64,
}

impl FlowConsumer for Checker {
    /// Length of both streams so far.
    type State = [u64; 2];

    fn packet(&mut self, _: &Flow, _: &mut [u64; 2], _: Side, _: PacketRef) {
        self.packets += 1;
    }

    fn data(&mut self, _: &Flow, lens: &mut [u64; 2], side: Side, data: StreamData<'_>) {
        assert_eq!(data.offset, lens[side.index()]);
        lens[side.index()] += data.bytes.len() as u64;
    }

    fn gap(&mut self, _: &Flow, lens: &mut [u64; 2], side: Side, gap: Gap) {
        assert_eq!(gap.offset, lens[side.index()]);
        lens[side.index()] += gap.len;
    }

    fn end(&mut self, _: &Flow, lens: &mut [u64; 2], side: Side, _: EndReason, offset: u64, _: PacketRef) {
        assert_eq!(offset, lens[side.index()]);
    }

    fn closed(&mut self, flow: &Flow, _: [u64; 2], _: CloseReason) {
        self.packets_of_closed += flow.sides.iter().map(|side| side.packets).sum::<u64>();
    }
}

fn outer(link: u16, bytes: &[u8], decoded: &Decoded) -> Vec<Decoded> {
    (0..decoded.tunnel_depth).map(|depth| decode_outer(link, bytes, bytes.len() as u32, depth)).collect()
}

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let stream = StreamOptions { total_bytes_max: 4096, ..StreamOptions::default() };
    let options = FlowOptions { flows_max: FLOWS_MAX, reports: true, stream, ..FlowOptions::default() };
    let mut table = FlowTable::new(options, Checker::default());
    let mut defragmenter = Defragmenter::default();
    let (mut rest, mut time_ns, mut packet_id) = (data, 0_i64, 0);
    while let Some((&[low, high, tenths, captured], packets)) = rest.split_first_chunk() {
        let (packet, following) = packets.split_at(packets.len().min(usize::from(captured)));
        rest = following;
        packet_id += 1;
        time_ns += i64::from(tenths) * 100_000_000;
        let link = u16::from_le_bytes([low, high]);
        let decoded = decode(link, packet, packet.len() as u32);
        let around = outer(link, packet, &decoded);
        let payload = &packet[packet.len().min(decoded.header_len as usize)..];
        let view = PacketView {
            packet_id,
            time_ns,
            decoded: &decoded,
            outer: &around,
            payload,
            captured_payload_len: payload.len() as u32,
            wire_len: packet.len() as u32,
            netns_cookie: 0,
            flow_id: None,
            tag: 0,
        };
        match defragmenter.feed(time_ns as u64, packet_id, &decoded, packet) {
            Fragment::Waiting => table.fragment(&view),
            Fragment::Whole(whole) => {
                table.fragment(&view);
                let decoded = decode(link_type::RAW, &whole.bytes, whole.bytes.len() as u32);
                let around = outer(link_type::RAW, &whole.bytes, &decoded);
                let payload = &whole.bytes[whole.bytes.len().min(decoded.header_len as usize)..];
                let captured_payload_len = payload.len() as u32;
                table.reassembled(&PacketView {
                    decoded: &decoded,
                    outer: &around,
                    payload,
                    captured_payload_len,
                    ..view
                })
            }
            _ => table.packet(&view),
        };
        assert!(table.len() <= FLOWS_MAX);
    }
    let checker = table.finish();
    assert_eq!(checker.packets, checker.packets_of_closed);
});
