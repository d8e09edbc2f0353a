//! Reassembly of one stream, every byte of which is known by its sequence number: whatever order segments come in, the bytes that are
//! told are those of their places. The input is a series of steps: what, a distance of sequence numbers, a length, how much of it
//! was captured.
#![no_main]

use kcap_dissect::stream::{
    EndReason, PacketRef, Reassembler, Segment, StreamBudget, StreamEvent, StreamOptions,
};

/// The SYN's, a little before sequence numbers wrap.
const START: u32 = u32::MAX - 300;

/// The byte that a sequence number has.
fn byte_at(sequence: u32) -> u8 {
    (sequence.wrapping_mul(2_654_435_761) >> 24) as u8
}

/// Bytes that were told so far, gaps included.
#[derive(Default)]
struct Listener(u64);

impl Listener {
    fn hear(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Data(data) => {
                assert_eq!(data.offset, self.0);
                for (place, byte) in (data.offset..).zip(data.bytes) {
                    assert_eq!(*byte, byte_at(START.wrapping_add(1).wrapping_add(place as u32)));
                }
                self.0 += data.bytes.len() as u64;
            }
            StreamEvent::Gap(gap) => {
                assert_eq!(gap.offset, self.0);
                self.0 += gap.len;
            }
            StreamEvent::Disagreement(fact) => panic!("bytes that agree are said not to: {fact:?}"),
            StreamEvent::End { offset, .. } => assert_eq!(offset, self.0),
            _ => {}
        }
    }
}

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let options = StreamOptions { total_bytes_max: 2048, ..StreamOptions::default() };
    let mut budget = StreamBudget::new(options.total_bytes_max);
    let (mut stream, mut listener) = (Reassembler::default(), Listener::default());
    stream.start(START, true);
    let mut packet = PacketRef::default();
    let mut next = START.wrapping_add(1);
    for step in data.chunks_exact(5) {
        packet.packet_id += 1;
        packet.time_ns += 1_000_000;
        let distance = i32::from(i16::from_le_bytes([step[1], step[2]]));
        let sequence = next.wrapping_add_signed(distance);
        let mut hear = |event: StreamEvent<'_>| listener.hear(event);
        match step[0] % 8 {
            0 => {
                stream.acknowledge(sequence, &mut budget);
            }
            1 => stream.give_up(packet, &options, &mut budget, &mut hear),
            2 => stream.fin(sequence, packet, &options, &mut budget, &mut hear),
            _ => {
                let bytes: Vec<u8> =
                    (0..u32::from(step[3])).map(|place| byte_at(sequence.wrapping_add(place))).collect();
                let captured = bytes.len().min(usize::from(step[4]));
                let payload_len = bytes.len() as u32;
                let segment = Segment { sequence, payload: &bytes[..captured], payload_len, packet };
                stream.segment(&segment, &options, &mut budget, &mut hear);
                next = sequence.wrapping_add(payload_len);
            }
        }
    }
    stream.finish(EndReason::EndOfCapture, &options, &mut budget, &mut |event| listener.hear(event));
    assert_eq!(budget.left(), options.total_bytes_max, "all memory is given back");
});
