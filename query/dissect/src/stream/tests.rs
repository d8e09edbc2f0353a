//! Reassembly, with segments made here.

use super::*;
use crate::decode::samples::SplitMix;

/// What a stream told, in short.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Bytes with `_` for each missing one.
    text: String,
    events: Vec<String>,
    /// Packet of each byte.
    packets: Vec<u64>,
}

struct Stream {
    inner: Reassembler,
    options: StreamOptions,
    budget: StreamBudget,
    heard: Heard,
    packet_id: u64,
}

impl Stream {
    fn new(options: StreamOptions) -> Self {
        let budget = StreamBudget::new(options.total_bytes_max);
        Self { inner: Reassembler::default(), options, budget, heard: Heard::default(), packet_id: 0 }
    }

    fn started(sequence: u32) -> Self {
        let mut stream = Self::new(StreamOptions::default());
        stream.inner.start(sequence, false);
        stream
    }

    fn packet(&mut self) -> PacketRef {
        self.packet_id += 1;
        PacketRef { packet_id: self.packet_id, ..PacketRef::default() }
    }

    fn send(&mut self, sequence: u32, text: &str) -> &mut Self {
        self.send_cut(sequence, text, text.len())
    }

    fn send_cut(&mut self, sequence: u32, text: &str, len: usize) -> &mut Self {
        let packet = self.packet();
        let segment = Segment { sequence, payload: text.as_bytes(), payload_len: len as u32, packet };
        let heard = &mut self.heard;
        self.inner.segment(&segment, &self.options, &mut self.budget, &mut |event| heard.hear(event));
        self
    }

    fn acknowledge(&mut self, acknowledgement: u32) -> bool {
        self.inner.acknowledge(acknowledgement, &mut self.budget)
    }

    fn give_up(&mut self) {
        let packet = self.packet();
        let heard = &mut self.heard;
        self.inner.give_up(packet, &self.options, &mut self.budget, &mut |event| heard.hear(event));
    }

    fn fin(&mut self, sequence: u32) -> &mut Self {
        let packet = self.packet();
        let heard = &mut self.heard;
        self.inner.fin(sequence, packet, &self.options, &mut self.budget, &mut |event| heard.hear(event));
        self
    }

    fn finish(mut self) -> Heard {
        let heard = &mut self.heard;
        let end = EndReason::EndOfCapture;
        self.inner.finish(end, &self.options, &mut self.budget, &mut |event| heard.hear(event));
        assert_eq!(self.budget.left(), self.options.total_bytes_max, "all memory is given back");
        self.heard
    }
}

impl Heard {
    fn hear(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Data(data) => {
                assert_eq!(data.offset, self.text.len() as u64, "no byte is left out or told twice");
                assert!(!data.bytes.is_empty());
                self.text.push_str(std::str::from_utf8(data.bytes).unwrap());
                self.packets.extend(data.bytes.iter().map(|_| data.packet.packet_id));
            }
            StreamEvent::Gap(gap) => {
                assert_eq!(gap.offset, self.text.len() as u64);
                self.text.push_str(&"_".repeat(gap.len as usize));
                self.packets.extend((0..gap.len).map(|_| 0));
                self.events.push(format!("gap {} {}", gap.len, gap.reason.as_str()));
            }
            StreamEvent::Disagreement(fact) => self.events.push(format!(
                "disagreement at {}, {} bytes, packet {} over {}",
                fact.offset, fact.len, fact.kept.packet_id, fact.rejected.packet_id
            )),
            StreamEvent::Dropped(dropped) => {
                self.events.push(format!("dropped {} {}", dropped.len, dropped.reason.as_str()));
            }
            StreamEvent::End { reason, offset, .. } => {
                assert_eq!(offset, self.text.len() as u64);
                self.events.push(format!("end {}", reason.as_str()));
            }
        }
    }
}

#[test]
fn in_order_out_of_order_and_again() {
    let mut stream = Stream::started(100);
    stream
        .send(100, "one ")
        .send(108, "three ")
        .send(104, "two ")
        .send(100, "one ")
        .send(114, "four")
        .fin(118);
    let heard = stream.finish();
    assert_eq!(heard.text, "one two three four");
    assert_eq!(heard.events, ["end fin"]);
    assert_eq!(heard.packets, [[1; 4].as_slice(), &[3; 4], &[2; 6], &[5; 4]].concat());
}

#[test]
fn sequence_numbers_wrap() {
    let mut stream = Stream::started(u32::MAX - 2);
    stream.send(u32::MAX - 2, "abc").send(3, "ghi").send(0, "def").fin(6);
    assert_eq!(stream.finish().text, "abcdefghi");
}

#[test]
fn the_first_bytes_win_unless_the_last_are_to() {
    let run = |overlaps| {
        let mut stream = Stream::new(StreamOptions { overlaps, ..StreamOptions::default() });
        stream.inner.start(0, false);
        stream.send(4, "BBBB").send(2, "aaaaaaaa").send(0, "00");
        stream.finish()
    };
    let first = run(Overlaps::FirstWins);
    assert_eq!(first.text, "00aaBBBBaa");
    assert_eq!(first.events, ["disagreement at 4, 4 bytes, packet 1 over 2", "end end_of_capture"]);
    let last = run(Overlaps::LastWins);
    assert_eq!(last.text, "00aaaaaaaa");
    assert_eq!(last.events, ["disagreement at 4, 4 bytes, packet 2 over 1", "end end_of_capture"]);
}

#[test]
fn a_retransmission_that_says_something_else_is_told() {
    let mut stream = Stream::started(0);
    stream.send(0, "GET /a HTTP/1.1").send(0, "GET /b HTTP/1.1").send(5, "a HTTP");
    assert!(!stream.acknowledge(15));
    stream.send(0, "GET /c HTTP/1.1");
    let heard = stream.finish();
    assert_eq!(heard.text, "GET /a HTTP/1.1");
    // What was acknowledged is not kept for comparing.
    assert_eq!(heard.events, ["disagreement at 5, 1 bytes, packet 1 over 2", "end end_of_capture"]);
}

#[test]
fn what_was_acknowledged_and_never_came_is_a_gap() {
    let mut stream = Stream::started(0);
    stream.send(0, "ab").send(5, "fg");
    assert!(stream.acknowledge(7));
    assert_eq!(stream.heard.text, "ab", "it may come late");
    stream.give_up();
    assert_eq!(stream.heard.text, "ab___fg");
    stream.send(2, "cde");
    let heard = stream.finish();
    assert_eq!(heard.events, ["gap 3 not_captured", "dropped 3 late", "end end_of_capture"]);
}

#[test]
fn an_acknowledgement_before_its_data_costs_nothing() {
    let mut stream = Stream::started(0);
    assert!(stream.acknowledge(4));
    stream.send(0, "abcd");
    assert!(!stream.inner.owes_acknowledged());
    assert_eq!(stream.finish().events, ["end end_of_capture"]);
}

#[test]
fn holes_at_the_end_are_told() {
    let mut stream = Stream::started(0);
    stream.send(2, "cd").send(6, "gh").fin(10);
    let heard = stream.finish();
    assert_eq!(heard.text, "__cd__gh__");
    assert_eq!(heard.events, ["gap 2 never_seen", "gap 2 never_seen", "gap 2 never_seen", "end fin"]);
}

#[test]
fn the_acknowledgement_of_a_fin_is_no_gap() {
    let mut stream = Stream::started(0);
    stream.send(0, "ab");
    assert!(!stream.acknowledge(3));
    assert_eq!(stream.finish().events, ["end end_of_capture"]);
}

#[test]
fn keep_alives_are_no_data() {
    let mut stream = Stream::started(0);
    stream.send(0, "ab").send(1, "x").send(1, "").send(2, "c");
    let heard = stream.finish();
    assert_eq!((heard.text.as_str(), heard.events.len()), ("abc", 1));
}

#[test]
fn cut_packets_leave_gaps() {
    let mut stream = Stream::started(0);
    stream.send_cut(0, "ab", 4).send_cut(8, "ij", 4).send(4, "efgh").send_cut(12, "", 3);
    let heard = stream.finish();
    assert_eq!(heard.text, "ab__efghij_____");
    let truncated = ["gap 2 truncated", "gap 2 truncated", "gap 3 truncated", "end end_of_capture"];
    assert_eq!(heard.events, truncated);
}

#[test]
fn a_waiting_cut_segment_is_filled_by_a_whole_one() {
    let mut stream = Stream::started(0);
    stream.send_cut(2, "c", 3).send(2, "cde").send(0, "ab");
    let heard = stream.finish();
    assert_eq!((heard.text.as_str(), heard.events.len()), ("abcde", 1));
}

#[test]
fn joined_late() {
    let mut stream = Stream::new(StreamOptions::default());
    stream.send(5000, "abc").send(4990, "old data").send(4999, "xabcd");
    let heard = stream.finish();
    assert_eq!(heard.text, "abcd");
    assert_eq!(heard.events, ["dropped 8 before_start", "dropped 1 before_start", "end end_of_capture"]);
}

#[test]
fn joined_late_by_an_acknowledgement() {
    // Data that was on its way while the other side acknowledged older data is no loss.
    let mut stream = Stream::new(StreamOptions::default());
    assert!(!stream.acknowledge(1000));
    stream.send(1500, "abc");
    assert_eq!(stream.finish().text, "abc");
    // Data that comes after its own acknowledgement is all there.
    let mut stream = Stream::new(StreamOptions::default());
    assert!(!stream.acknowledge(1003));
    stream.send(1000, "abc");
    let heard = stream.finish();
    assert_eq!((heard.text.as_str(), heard.events.len()), ("abc", 1));
}

#[test]
fn nothing_after_the_end() {
    let mut stream = Stream::started(0);
    stream.send(0, "ab").fin(2).send(0, "ab").send(1, "bc").send(2, "tail");
    let heard = stream.finish();
    assert_eq!(heard.text, "ab");
    assert_eq!(heard.events, ["end fin", "dropped 1 after_end", "dropped 4 after_end"]);
}

#[test]
fn a_hole_of_two_gibibytes_takes_no_memory() {
    let hole = 1_u64 << 31;
    let mut stream = Reassembler::default();
    let options = StreamOptions::default();
    let mut budget = StreamBudget::new(1 << 20);
    stream.start(7, false);
    let mut told = Vec::new();
    let mut send = |stream: &mut Reassembler, sequence, payload: &[u8]| {
        let packet = PacketRef::default();
        let segment = Segment { sequence, payload, payload_len: payload.len() as u32, packet };
        stream.segment(&segment, &options, &mut budget, &mut |event| match event {
            StreamEvent::Data(data) => told.push((data.offset, data.bytes.len() as u64)),
            StreamEvent::Gap(gap) => told.push((gap.offset, gap.len)),
            _ => {}
        });
        let ack = sequence.wrapping_add(payload.len() as u32);
        if stream.acknowledge(ack, &mut budget) {
            stream.give_up(packet, &options, &mut budget, &mut |event| match event {
                StreamEvent::Data(data) => told.push((data.offset, data.bytes.len() as u64)),
                StreamEvent::Gap(gap) => told.push((gap.offset, gap.len)),
                _ => {}
            });
        }
    };
    send(&mut stream, 7, b"ab");
    send(&mut stream, 9 + (1 << 31), b"cd");
    assert_eq!(told, [(0, 2), (2, hole), (hole + 2, 2)]);
}

#[test]
fn waiting_bytes_are_limited() {
    let options = StreamOptions { stream_bytes_max: 1000, ..StreamOptions::default() };
    let mut stream = Stream::new(options);
    stream.inner.start(0, false);
    for place in 1..=10 {
        stream.send(place * 100, &"x".repeat(50));
    }
    assert!(stream.heard.events.iter().all(|event| event == "gap 100 budget" || event == "gap 50 budget"));
    assert!(!stream.heard.events.is_empty());
    let heard = stream.finish();
    assert_eq!(heard.text.len(), 1050);
    assert_eq!(heard.text.matches('x').count(), 500, "what was given up is the waiting, not what came");
}

#[test]
fn many_tiny_segments_are_limited() {
    let mut stream = Stream::started(0);
    for place in 1..=2 * PENDING_SEGMENTS_MAX as u32 {
        stream.send(place * 2, "x");
    }
    let heard = stream.finish();
    assert_eq!(heard.text.matches('x').count(), 2 * PENDING_SEGMENTS_MAX);
}

#[test]
fn no_memory_at_all_still_tells_everything() {
    let options = StreamOptions { total_bytes_max: 0, ..StreamOptions::default() };
    let mut stream = Stream::new(options);
    stream.inner.start(0, false);
    stream.send(0, "ab").send(4, "ef").send(6, "gh").send(2, "cd");
    let heard = stream.finish();
    assert_eq!(heard.text, "ab__efgh");
    assert_eq!(heard.events, ["gap 2 budget", "dropped 2 late", "end end_of_capture"]);
}

/// Cuts a text into segments, shuffles and repeats them, and loses some: what comes out is the text, with what was lost
/// missing, whatever the order.
#[test]
fn any_order_gives_the_same_stream() {
    let mut random = SplitMix(7);
    let text: String = (0..400).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
    for round in 0..500 {
        let start = random.next() as u32;
        let mut segments = Vec::new();
        let mut covered = vec![false; text.len()];
        let mut at = 0;
        while at < text.len() {
            let len = 1 + random.below(40).min(text.len() - at - 1);
            let first = at.saturating_sub(random.below(3) * random.below(20));
            let end = (at + len + random.below(2) * random.below(30)).min(text.len());
            at += len;
            if random.below(10) == 0 {
                continue;
            }
            covered[first..end].fill(true);
            (0..=random.below(3) / 2).for_each(|_| segments.push((first, end)));
        }
        for place in (1..segments.len()).rev() {
            segments.swap(place, random.below(place + 1));
        }
        let overlaps = if round % 2 == 0 { Overlaps::FirstWins } else { Overlaps::LastWins };
        let mut stream = Stream::new(StreamOptions { overlaps, ..StreamOptions::default() });
        stream.inner.start(start, false);
        for (first, end) in segments {
            // A single byte from before the next one is taken for a keep-alive.
            stream.send(start.wrapping_add(first as u32), &text[first..end]);
        }
        stream.fin(start.wrapping_add(text.len() as u32));
        let heard = stream.finish();
        let expected: String =
            text.chars().zip(&covered).map(|(byte, covered)| if *covered { byte } else { '_' }).collect();
        assert_eq!(heard.text, expected, "round {round}");
        assert!(!heard.events.iter().any(|event| event.contains("disagreement")), "round {round}");
    }
}

/// Nothing that comes makes it panic, loop, or tell a byte twice.
#[test]
fn any_numbers_at_all() {
    let mut random = SplitMix(11);
    for _ in 0..300 {
        let options = StreamOptions {
            stream_bytes_max: random.below(500),
            total_bytes_max: random.below(2000),
            recent_bytes_max: random.below(500),
            overlaps: if random.below(2) == 0 { Overlaps::FirstWins } else { Overlaps::LastWins },
        };
        let mut stream = Reassembler::default();
        let mut budget = StreamBudget::new(options.total_bytes_max);
        let mut next = 0;
        let mut check = |event: StreamEvent<'_>| match event {
            StreamEvent::Data(data) => {
                assert_eq!(data.offset, next);
                next += data.bytes.len() as u64;
            }
            StreamEvent::Gap(gap) => {
                assert_eq!(gap.offset, next);
                next += gap.len;
            }
            _ => {}
        };
        let base = random.next() as u32;
        for _ in 0..200 {
            let near = random.below(300) as u32;
            let number = if random.below(20) == 0 { random.next() as u32 } else { base.wrapping_add(near) };
            let packet = PacketRef::default();
            match random.below(12) {
                0 => stream.start(number, random.below(2) == 0),
                1 => {
                    stream.acknowledge(number, &mut budget);
                }
                2 => stream.give_up(packet, &options, &mut budget, &mut check),
                3 => stream.hold(),
                4 => stream.release(&options, &mut budget, &mut check),
                5 if random.below(10) == 0 => stream.fin(number, packet, &options, &mut budget, &mut check),
                _ => {
                    let payload = vec![random.next() as u8; random.below(60)];
                    let payload_len = (payload.len() + random.below(3) * random.below(9)) as u32;
                    let segment = Segment { sequence: number, payload: &payload, payload_len, packet };
                    stream.segment(&segment, &options, &mut budget, &mut check);
                }
            }
        }
        stream.finish(EndReason::Reset, &options, &mut budget, &mut check);
        assert!(stream.has_ended());
        assert_eq!(budget.left(), options.total_bytes_max);
    }
}
