//! The threads that empty the rings. They copy and hand over; everything that may wait is on other threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use kcap_format::limits::PACKET_ROW_RAW_LEN;
use kcap_format::proto::Event;
use kcap_format::{Direction, PacketBatch, PacketRow, packet_flags};
use kcap_recorder_ebpf::{self as ebpf, PacketHead};

use crate::account::{Source, Tally};
use crate::clock;
use crate::condition::{Ended, Held};
use crate::container;
use crate::enrich::Translator;
use crate::pipeline::{
    BATCH_RAW_LEN_MAX, BATCH_RAW_LEN_MIN, EVENTS_PER_BATCH, JobSender, Taker, ToSink, Work,
};
use crate::ring::{Drained, EventRing, PacketRing, RingGauge, SocketRing, Wakeups};

/// Bytes of a frame's addresses, behind which its VLAN tag is.
pub(crate) const ADDRESSES_LEN: usize = 12;
/// Bytes of a VLAN tag (IEEE 802.1Q clause 9.6).
pub(crate) const TAG_LEN: usize = 4;
/// Packets are handed over at this age even if their batch is not full: with the time that compressing and writing
/// takes, a kill of the recorder costs less than the last second.
const PACKETS_AGE_MAX: Duration = Duration::from_millis(300);
/// Events are handed over at this age. A segment that ends waits for the events of its packets: keep it
/// short.
const EVENTS_AGE_MAX: Duration = Duration::from_millis(100);
/// How long the packet drainer sleeps when its ring is empty, unless the kernel calls.
const PACKET_WAIT: Duration = Duration::from_millis(10);
/// The same when it has been empty for a while: where nothing is to be recorded, the recorder is to cost nothing.
const PACKET_WAIT_MAX: Duration = Duration::from_millis(40);
/// The same for events. It and the one before are the longest times until a drainer sees that it is to stop.
const EVENT_WAIT: Duration = Duration::from_millis(50);
/// A batch that fills faster than this is followed by a larger one, and one that fills slower than the second
/// by a smaller one.
const BATCH_FILL_FAST: Duration = Duration::from_millis(10);
const BATCH_FILL_SLOW: Duration = Duration::from_millis(50);

/// Events are taken out of their ring in runs of so many, and handed over when so many bytes of records came: a batch of
/// the longest ones stays small.
const EVENTS_AT_ONCE: usize = 64;
const EVENTS_RAW_LEN_MAX: usize = 4 << 20;

// The numbers of the kernel programs are stored as they are.
const _: () = {
    assert!(ebpf::PACKET_FLAG_HEADERS_INCOMPLETE as u16 == packet_flags::HEADERS_INCOMPLETE);
    assert!(ebpf::PACKET_FLAG_PAYLOAD_ELIDED as u16 == packet_flags::PAYLOAD_WITH_LEAVING_COPY);
    assert!(ebpf::DIRECTION_INGRESS == Direction::Ingress as u8);
    assert!(ebpf::DIRECTION_EGRESS == Direction::Egress as u8);
};

/// What both drainers have.
pub(crate) struct Outlet {
    pub(crate) jobs: JobSender,
    pub(crate) sink: Sender<ToSink>,
    /// The programs are off: end when the ring is empty.
    pub(crate) stop: Arc<AtomicBool>,
}

/// Where packets come from.
#[derive(Debug)]
pub(crate) enum PacketSource {
    Programs(PacketRing),
    Socket(SocketRing),
}

impl PacketSource {
    fn drain(&mut self, max: u64, each: impl FnMut(&PacketHead, &[u8])) -> Drained {
        match self {
            Self::Programs(ring) => ring.drain(max, each),
            Self::Socket(ring) => ring.drain(max, each),
        }
    }

    fn wakeups(&self) -> io::Result<Wakeups> {
        match self {
            Self::Programs(ring) => Wakeups::new(&ring.parts()),
            Self::Socket(ring) => Wakeups::new(&[ring]),
        }
    }

    /// What tells others how full it is.
    pub(crate) fn gauge(&self) -> io::Result<RingGauge> {
        match self {
            Self::Programs(ring) => ring.gauge(),
            Self::Socket(ring) => ring.gauge(),
        }
    }
}

/// Empties the ring of packets.
pub(crate) struct PacketDrainer {
    pub(crate) ring: PacketSource,
    /// Most bytes that the programs capture of a packet.
    pub(crate) record_len_max: usize,
    pub(crate) pool: Taker<Box<PacketBatch>>,
    pub(crate) outlet: Outlet,
    /// Packets of which it isn't known yet whether they are wanted.
    pub(crate) held: Held,
}

impl PacketDrainer {
    /// Drains until told to stop and the ring is empty.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let wakeups = self.ring.wakeups()?;
        let mut target_len = BATCH_RAW_LEN_MIN;
        // Waits while everything is full.
        while let Some(mut batch) = self.pool.take() {
            let filled = self.fill(&mut batch, target_len, &wakeups)?;
            target_len = next_target_len(target_len, batch.raw_len(), filled.duration);
            if !batch.is_empty() {
                self.outlet.jobs.send(Work::Packets(batch));
            }
            if filled.ended {
                break;
            }
        }
        Ok(())
    }

    fn fill(&mut self, batch: &mut PacketBatch, target_len: usize, wakeups: &Wakeups) -> io::Result<Filled> {
        let mut begun = None;
        let mut wait = PACKET_WAIT;
        loop {
            // Read before the ring: what it holds after the programs are off is all that there will be.
            let stop = self.outlet.stop.load(Ordering::Acquire);
            let count = records_that_fit(batch, target_len, self.record_len_max);
            let held = &mut self.held;
            let drained = self.ring.drain(count, |head, bytes| {
                if !held.takes(head, bytes) {
                    push(batch, head, bytes);
                }
            });
            self.outlet.report_bad(drained.bad);
            let is_idle = drained.records + drained.bad == 0;
            self.settle_held(batch, is_idle && stop);
            if is_idle && stop && self.held.is_empty() {
                return Ok(Filled { duration: Duration::ZERO, ended: true });
            }
            if !batch.is_empty() {
                let age = begun.get_or_insert_with(Instant::now).elapsed();
                if batch.raw_len() >= target_len || age >= PACKETS_AGE_MAX {
                    return Ok(Filled { duration: age, ended: false });
                }
            }
            wait = if batch.is_empty() && self.held.is_empty() && is_idle { wait } else { PACKET_WAIT };
            if is_idle {
                wakeups.wait(wait)?;
                wait = (wait * 2).min(PACKET_WAIT_MAX);
            }
        }
    }
}

impl PacketDrainer {
    /// Takes those packets into the batch that turned out to be wanted, as far as there is room.
    fn settle_held(&mut self, batch: &mut PacketBatch, is_last: bool) {
        if self.held.is_empty() {
            return;
        }
        let mut dropped = Tally::default();
        let record_len_max = self.record_len_max + PACKET_ROW_RAW_LEN;
        self.held.settle(clock::boot_ns(), is_last, &mut dropped, |head, bytes| {
            push(batch, head, bytes);
            batch.raw_len() + record_len_max <= BATCH_RAW_LEN_MAX
        });
        if dropped.total() > 0 {
            let _ = self.outlet.sink.send(ToSink::Unwanted(dropped));
        }
    }
}

struct Filled {
    duration: Duration,
    ended: bool,
}

/// How many packets to take at once: what the target has room for if they are like those before, but no more
/// than certainly fit into the largest batch.
fn records_that_fit(batch: &PacketBatch, target_len: usize, record_len_max: usize) -> u64 {
    let raw_len = batch.raw_len();
    let record_len = raw_len / batch.len.max(1);
    let expected = target_len.saturating_sub(raw_len) / record_len.max(PACKET_ROW_RAW_LEN);
    let certain = BATCH_RAW_LEN_MAX.saturating_sub(raw_len) / (record_len_max + PACKET_ROW_RAW_LEN);
    expected.min(certain).max(1) as u64
}

/// Larger blocks cost less each, smaller ones are sooner on disk.
fn next_target_len(target_len: usize, filled_len: usize, duration: Duration) -> usize {
    if filled_len >= target_len && duration < BATCH_FILL_FAST {
        (target_len * 2).min(BATCH_RAW_LEN_MAX)
    } else if filled_len < target_len || duration > BATCH_FILL_SLOW {
        (target_len / 2).max(BATCH_RAW_LEN_MIN)
    } else {
        target_len
    }
}

fn push(batch: &mut PacketBatch, head: &PacketHead, bytes: &[u8]) {
    let (header, payload) = bytes.split_at(usize::from(head.header_len).min(bytes.len()));
    let row = PacketRow {
        time_ns: head.time_ns,
        socket_cookie: head.socket_cookie,
        netns_cookie: head.netns_cookie,
        interface_index: head.interface_index,
        wire_len: head.wire_len,
        link_type: head.link_type(),
        direction: Direction::from_u8(head.direction()),
        flags: u16::from(head.flags & ebpf::PACKET_FLAGS_RECORDED),
        program: head.program,
        cpu: head.cpu,
        gso_size: head.gso_size,
        gso_segments: head.gso_segments,
        mark: head.mark,
        // The bits of the rules behind the first, which is no task.
        tasks: (head.rules & !ebpf::RULE_RECORD) >> 1,
    };
    match header.split_at_checked(ADDRESSES_LEN) {
        // The kernel keeps the tag beside the frame: it is put back where it is on the wire.
        Some((addresses, rest)) if head.vlan_protocol() != 0 => {
            let (protocol, tci) = (head.vlan_protocol().to_be_bytes(), head.vlan_tci.to_be_bytes());
            let header = [addresses, &protocol, &tci, rest].concat();
            batch.push(&PacketRow { wire_len: head.wire_len + TAG_LEN as u32, ..row }, &header, payload);
        }
        _ => batch.push(&row, header, payload),
    }
}

/// Empties the ring of events.
pub(crate) struct EventDrainer {
    pub(crate) ring: EventRing,
    pub(crate) translator: Translator,
    pub(crate) pool: Taker<Vec<Event>>,
    pub(crate) outlet: Outlet,
    /// Who is told of cgroups too.
    pub(crate) containers: container::Tap,
    /// Processes that conditions can forget.
    pub(crate) ended: Ended,
}

impl EventDrainer {
    /// Drains until told to stop and the ring is empty.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let wakeups = Wakeups::new(&[&self.ring])?;
        while let Some(mut events) = self.pool.take() {
            let (begun, mut raw_len) = (Instant::now(), 0);
            let (through_ns, ended) = loop {
                let stop = self.outlet.stop.load(Ordering::Acquire);
                let now_ns = clock::boot_ns();
                let room = EVENTS_PER_BATCH.saturating_sub(events.len()).min(EVENTS_AT_ONCE) as u64;
                let drained = self.ring.drain(room, |record| {
                    raw_len += record.len();
                    let event = self.translator.translate(&record);
                    self.containers.note(&event);
                    self.ended.note(&event);
                    events.push(event);
                });
                self.outlet.report_bad(drained.bad);
                let is_idle = drained.records + drained.bad == 0;
                if is_idle && stop {
                    break (now_ns, true);
                }
                if events.len() >= EVENTS_PER_BATCH || raw_len >= EVENTS_RAW_LEN_MAX {
                    break (events.last().map_or(0, |last| last.time_ns), false);
                }
                // Also when there is none: a segment may wait to hear that.
                if is_idle && begun.elapsed() >= EVENTS_AGE_MAX {
                    break (now_ns, false);
                }
                if is_idle {
                    wakeups.wait(EVENT_WAIT)?;
                }
            };
            self.outlet.jobs.send(Work::Events { events, through_ns });
            if ended {
                break;
            }
        }
        Ok(())
    }
}

/// Stands in for a [`EventDrainer`] where nothing tells of events: segments that end don't wait for any.
pub(crate) struct NoEvents {
    pub(crate) pool: Taker<Vec<Event>>,
    pub(crate) outlet: Outlet,
}

impl NoEvents {
    /// Says so until told to stop.
    pub(crate) fn run(self) -> io::Result<()> {
        while let Some(events) = self.pool.take() {
            let stop = self.outlet.stop.load(Ordering::Acquire);
            self.outlet.jobs.send(Work::Events { events, through_ns: clock::boot_ns() });
            if stop {
                break;
            }
            thread::sleep(EVENTS_AGE_MAX);
        }
        Ok(())
    }
}

impl Outlet {
    /// A record that makes no sense doesn't say whose it is either: it is booked under no program.
    fn report_bad(&self, count: u64) {
        if count > 0 {
            let mut tally = Tally::default();
            tally.add(Source { program: 0, cpu: 0 }, count);
            let _ = self.sink.send(ToSink::Bad(tally));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_divided_where_its_headers_end() {
        let head = PacketHead {
            header_len: 28,
            captured_len: 31,
            wire_len: 99,
            flags: ebpf::PACKET_FLAG_EGRESS | ebpf::PACKET_FLAG_HEADERS_INCOMPLETE,
            ..PacketHead::default()
        };
        let bytes: Vec<u8> = (0..31).collect();
        let mut batch = PacketBatch::default();
        push(&mut batch, &head, &bytes);
        assert_eq!(batch.header.get(0), Some(&bytes[..28]));
        assert_eq!(batch.payload.get(0), Some(&bytes[28..]));
        assert_eq!(
            (batch.wire_len[0], batch.direction[0], batch.flags[0], batch.link_type[0]),
            (99, 2, 1, 101)
        );
    }

    #[test]
    fn a_tag_is_put_back_behind_the_addresses() {
        let head = PacketHead {
            header_len: 14,
            captured_len: 20,
            wire_len: 60,
            vlan_tci: 0x6007,
            flags: ebpf::PACKET_FLAG_ETHERNET | ebpf::PACKET_FLAG_TAG_8021Q,
            ..PacketHead::default()
        };
        let bytes: Vec<u8> = (0..20).collect();
        let mut batch = PacketBatch::default();
        push(&mut batch, &head, &bytes);
        let header = [&bytes[..12], &[0x81, 0, 0x60, 7], &bytes[12..14]].concat();
        assert_eq!(batch.header.get(0), Some(&header[..]));
        assert_eq!((batch.payload.get(0), batch.wire_len[0]), (Some(&bytes[14..]), 64));
    }

    #[test]
    fn a_batch_never_exceeds_its_most_by_a_packet() {
        let mut batch = PacketBatch::default();
        let certain = BATCH_RAW_LEN_MAX as u64 / 65_589;
        assert_eq!(records_that_fit(&batch, BATCH_RAW_LEN_MIN, 65_535), certain, "nothing is known of them");
        while batch.raw_len() < BATCH_RAW_LEN_MIN - 65_600 {
            batch.push(&PacketRow::default(), &[0; 54], &[0; 65_481]);
        }
        assert_eq!(records_that_fit(&batch, BATCH_RAW_LEN_MIN, 65_535), 1);
        while batch.raw_len() < BATCH_RAW_LEN_MAX {
            batch.push(&PacketRow::default(), &[0; 54], &[0; 65_481]);
        }
        assert_eq!(records_that_fit(&batch, BATCH_RAW_LEN_MAX, 65_535), 1);
        let largest = BATCH_RAW_LEN_MAX + ebpf::SNAPLEN_MAX as usize + PACKET_ROW_RAW_LEN;
        assert!(largest <= kcap_format::limits::BLOCK_RAW_LEN_MAX as usize);
    }

    #[test]
    fn batches_grow_with_the_rate_and_shrink_with_it() {
        let (fast, slow) = (Duration::from_millis(1), Duration::from_millis(200));
        let mut target_len = BATCH_RAW_LEN_MIN;
        for _ in 0..10 {
            target_len = next_target_len(target_len, target_len + 5, fast);
        }
        assert_eq!(target_len, BATCH_RAW_LEN_MAX);
        assert_eq!(next_target_len(target_len, target_len, Duration::from_millis(20)), target_len);
        for _ in 0..10 {
            target_len = next_target_len(target_len, target_len, slow);
        }
        assert_eq!(target_len, BATCH_RAW_LEN_MIN);
    }
}
