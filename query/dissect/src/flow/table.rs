//! The flows of a recording.

use std::collections::HashMap;

use super::consumer::{CloseReason, Datagram, FlowConsumer};
use super::history::History;
use super::key::{canonical, icmp_counterpart, is_icmp_request, reversed};
use super::model::{Counters, Flow, Side};
use super::options::{CLOSED_LINGER_NS, FlowOptions, FlowPart, HALF_OPEN_TIMEOUT_NS, OPEN_TIMEOUT_NS};
use super::packet::PacketView;
use super::recency::{Class, Recency};
use super::report::ReportState;
use super::role::sender_is_server;
use super::streams::Streams;
use crate::decode::{Ip, ip_protocol, tcp_flag};
use crate::flow_id::{FlowKey, flow_id};
use crate::stream::{StreamBudget, StreamEvent};

/// Follows flows; see the [module](super).
///
/// ```
/// use kcap_dissect::decode::{decode, link_type};
/// use kcap_dissect::flow::{CloseReason, Flow, FlowConsumer, FlowOptions, FlowTable, PacketView};
///
/// struct Names(Vec<String>);
/// impl FlowConsumer for Names {
///     type State = ();
///     fn closed(&mut self, flow: &Flow, _state: (), reason: CloseReason) {
///         self.0.push(format!("{} packets, {}", flow.sides[0].packets, reason.as_str()));
///     }
/// }
///
/// let bytes = [
///     0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IPv4
///     0x30, 0x39, 0, 53, 0, 9, 0, 0, // UDP from 12345 to 53
///     b'?',
/// ];
/// let decoded = decode(link_type::RAW, &bytes, 29);
/// let mut table = FlowTable::new(FlowOptions::default(), Names(Vec::new()));
/// for (packet_id, time_ns) in [(1, 1_000), (2, 2_000)] {
///     let payload = &bytes[decoded.header_len as usize..];
///     table.packet(&PacketView {
///         packet_id, time_ns, decoded: &decoded, outer: &[], payload, captured_payload_len: 1, wire_len: 29, netns_cookie: 0,
///         flow_id: None, tag: 0,
///     });
/// }
/// assert_eq!(table.finish().0, ["2 packets, end_of_capture"]);
/// ```
#[derive(Debug)]
pub struct FlowTable<C: FlowConsumer> {
    options: FlowOptions,
    consumer: C,
    by_key: HashMap<FlowKey, u32>,
    entries: Vec<Option<Entry<C::State>>>,
    free: Vec<u32>,
    recency: Recency,
    pub(super) budget: StreamBudget,
    /// The latest time seen.
    now_ns: i64,
}

#[derive(Debug)]
struct Entry<State> {
    flow: Flow,
    /// True when the client is the second end of the flow's key in `by_key`.
    client_is_second: bool,
    state: State,
    streams: Option<Box<Streams>>,
    reports: ReportState,
}

/// What is done with a packet beside finding its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handing {
    /// It is counted, and nobody is told of what it carries.
    Nothing,
    /// It is counted, and what it carries is told.
    Payload,
    /// What it carries is told; it was counted before, unless its flow is over.
    PayloadAlone,
}

impl<C: FlowConsumer> FlowTable<C> {
    /// A table without flows.
    #[must_use]
    pub fn new(options: FlowOptions, consumer: C) -> Self {
        Self {
            options,
            consumer,
            by_key: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            recency: Recency::default(),
            budget: StreamBudget::new(options.stream.total_bytes_max),
            now_ns: i64::MIN,
        }
    }

    /// Who is told.
    pub fn consumer(&mut self) -> &mut C {
        &mut self.consumer
    }

    /// Flows that are followed now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True when no flow is followed now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Takes a packet. Packets come in the order of time, or nearly so. Those without an IP header have no flow, and
    /// that of others may not be in [`FlowOptions::part`]: false then.
    ///
    /// A packet in tunnels is one of its own flow, and of the flow of each tunnel; nobody is told of it as a datagram of
    /// these.
    pub fn packet(&mut self, view: &PacketView<'_>) -> bool {
        self.outer_and_inner(view, Handing::Payload)
    }

    /// Takes a fragment of a packet, the whole of which is or will be given to [`Self::reassembled`]: it is counted as one of its
    /// flow, and its payload is nobody's yet. Fragments but the first have no ports, and so a flow of their own.
    pub fn fragment(&mut self, view: &PacketView<'_>) -> bool {
        self.outer_and_inner(view, Handing::Nothing)
    }

    /// Takes the whole of a packet whose fragments were counted: what it carries is told, and nothing counted again. When it is a
    /// tunnel's, the packets in it are counted in their own flows: no fragment told of these. So is a packet whose flow ended
    /// before its last fragment came: it begins another, which has no other packet.
    pub fn reassembled(&mut self, view: &PacketView<'_>) -> bool {
        // Bytes begin at the header that was cut: the first packet around is the one whose fragments were counted.
        let Some((around, others)) = view.outer.split_first() else {
            return self.one(view, None, Handing::PayloadAlone);
        };
        let mut parent_flow_id = flow_id(around, view.netns_cookie);
        for decoded in others {
            let outer = PacketView { decoded, outer: &[], payload: &[], flow_id: None, ..*view };
            self.one(&outer, parent_flow_id, Handing::Nothing);
            parent_flow_id = flow_id(decoded, view.netns_cookie).or(parent_flow_id);
        }
        self.one(view, parent_flow_id, Handing::Payload)
    }

    fn outer_and_inner(&mut self, view: &PacketView<'_>, handing: Handing) -> bool {
        self.now_ns = self.now_ns.max(view.time_ns);
        self.expire();
        let mut parent_flow_id = None;
        for decoded in view.outer {
            let inner_len = decoded.payload_len;
            let outer = PacketView {
                decoded,
                outer: &[],
                payload: &[],
                captured_payload_len: inner_len.saturating_sub(view.truncated_len()),
                flow_id: None,
                ..*view
            };
            self.one(&outer, parent_flow_id, Handing::Nothing);
            parent_flow_id = flow_id(decoded, view.netns_cookie).or(parent_flow_id);
        }
        self.one(view, parent_flow_id, handing)
    }

    fn one(&mut self, view: &PacketView<'_>, parent_flow_id: Option<u64>, handing: Handing) -> bool {
        let Some(key) = FlowKey::of(view.decoded, view.netns_cookie) else { return false };
        let part = self.options.part;
        if part != FlowPart::ALL && !part.has(view.flow_id_of(&key)) {
            return false;
        }
        let Some(ip) = view.decoded.ip() else { return false };
        let (canonical_key, source_is_second) = canonical(&key);
        let found = self.by_key.get(&canonical_key).copied();
        let known = found.filter(|slot| !self.begins_another(*slot, source_is_second, view));
        let slot = known.unwrap_or_else(|| {
            if let Some(slot) = found {
                self.close(slot, CloseReason::Reused);
            }
            self.open(&key, canonical_key, source_is_second, ip, view, parent_flow_id)
        });
        if handing != Handing::PayloadAlone || known.is_none() {
            self.count(slot, source_is_second, ip, view);
        }
        if handing != Handing::Nothing && self.options.streams {
            self.hand_on(slot, source_is_second, view);
        }
        true
    }

    /// Ends all flows, in the order in which they began, and gives the consumer back.
    pub fn finish(mut self) -> C {
        let mut slots: Vec<(i64, u64, u32)> = self
            .by_key
            .values()
            .filter_map(|slot| {
                let flow = &self.entries.get(*slot as usize)?.as_ref()?.flow;
                Some((flow.first_ns, flow.first_packet_id, *slot))
            })
            .collect();
        slots.sort_unstable();
        for (_, _, slot) in slots {
            self.close(slot, CloseReason::EndOfCapture);
        }
        self.consumer
    }

    fn begins_another(&self, slot: u32, source_is_second: bool, view: &PacketView<'_>) -> bool {
        let Some(entry) = self.entries.get(slot as usize).and_then(Option::as_ref) else { return false };
        let (Some(flow), Some(tcp)) = (&entry.flow.tcp, view.decoded.tcp()) else { return false };
        flow.is_reused_by(entry.side(source_is_second), tcp)
    }

    fn open(
        &mut self,
        key: &FlowKey,
        canonical_key: FlowKey,
        source_is_second: bool,
        ip: &Ip,
        view: &PacketView<'_>,
        parent_flow_id: Option<u64>,
    ) -> u32 {
        if self.by_key.len() >= self.options.flows_max.max(1) {
            self.evict();
        }
        let role = Role::of(key, ip, view);
        let mut history = History::default();
        if role.is_server && ip.protocol != ip_protocol::ICMP && ip.protocol != ip_protocol::ICMPV6 {
            history.push(Side::Server, b'^');
        }
        let client_key = if role.is_server { reversed(key) } else { *key };
        let flow = Flow {
            flow_id: view.flow_id_of(key),
            key: client_key,
            ip_version: ip.version,
            parent_flow_id,
            first_packet_id: view.packet_id,
            first_ns: view.time_ns,
            last_ns: view.time_ns,
            initiator_known: role.is_known,
            sides: [Counters::default(); 2],
            icmp: view.decoded.icmp().map(|icmp| {
                let answer = icmp_counterpart(ip.protocol, icmp.kind);
                match answer {
                    Some(answer) if role.is_server => (answer, icmp.kind),
                    answer => (icmp.kind, answer.unwrap_or(icmp.code)),
                }
            }),
            tcp: None,
            history,
        };
        let mut reports = ReportState::default();
        reports.begin(&flow.sides, view.time_ns, self.options.period_ns);
        let mut state = C::State::default();
        self.consumer.opened(&flow, &mut state);
        let client_is_second = source_is_second != role.is_server;
        let entry = Entry { flow, client_is_second, state, streams: None, reports };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        self.entries[slot as usize] = Some(entry);
        self.by_key.insert(canonical_key, slot);
        self.recency.push(slot, Class::default());
        slot
    }

    fn count(&mut self, slot: u32, source_is_second: bool, ip: &Ip, view: &PacketView<'_>) {
        let Self { options, consumer, entries, recency, .. } = self;
        let Some(Entry { flow, client_is_second, state, reports, .. }) =
            entries.get_mut(slot as usize).and_then(Option::as_mut)
        else {
            return;
        };
        let side = if source_is_second == *client_is_second { Side::Client } else { Side::Server };
        if options.reports {
            let times = (options.timeout_ns, options.period_ns);
            let is_first = flow.sides.iter().all(|side| side.packets == 0);
            let due =
                if is_first { None } else { reports.due(&flow.sides, flow.last_ns, view.time_ns, times) };
            if let Some(report) = due {
                consumer.report(flow, state, &report);
            }
        }
        let payload_len = view.decoded.payload_len;
        let counters = &mut flow.sides[side.index()];
        counters.packets += 1;
        counters.bytes += u64::from(view.wire_len);
        counters.ip_bytes += u64::from(ip.total_len);
        counters.payload_bytes += u64::from(payload_len);
        counters.truncated_bytes += u64::from(view.truncated_len());
        flow.last_ns = flow.last_ns.max(view.time_ns);
        let tcp = view.decoded.tcp();
        let class = if let Some(tcp) = tcp {
            flow.follow_tcp(side, tcp, payload_len, view.time_ns);
            let both_spoke = flow.sides.iter().all(|side| side.packets > 0);
            flow.tcp.as_ref().map_or(Class::Datagrams, |tcp| tcp.class(both_spoke))
        } else {
            if ip.protocol == ip_protocol::UDP {
                flow.history.push_once(side, b'd');
            }
            Class::Datagrams
        };
        recency.touch(slot, class);
        consumer.packet(flow, state, side, view.packet());
    }

    /// Tells what a packet carries.
    fn hand_on(&mut self, slot: u32, source_is_second: bool, view: &PacketView<'_>) {
        let Self { options, consumer, entries, budget, .. } = self;
        let Some(Entry { flow, client_is_second, state, streams, .. }) =
            entries.get_mut(slot as usize).and_then(Option::as_mut)
        else {
            return;
        };
        let side = if source_is_second == *client_is_second { Side::Client } else { Side::Server };
        let Some(tcp) = view.decoded.tcp() else {
            let datagram = Datagram {
                payload: view.transport_payload(),
                payload_len: view.decoded.payload_len,
                icmp: view.decoded.icmp().copied(),
                packet: view.packet(),
            };
            consumer.datagram(flow, state, side, datagram);
            return;
        };
        let mut tell = |side, event: StreamEvent<'_>| tell(consumer, flow, state, side, event);
        let streams = streams.get_or_insert_default();
        streams.packet(side, tcp, view, options, budget, &mut tell);
    }

    /// Ends flows that were silent too long.
    fn expire(&mut self) {
        let timeouts = [
            (Class::Closed, CLOSED_LINGER_NS, CloseReason::Closed),
            (Class::HalfOpen, HALF_OPEN_TIMEOUT_NS, CloseReason::Timeout),
            (Class::Datagrams, self.options.timeout_ns, CloseReason::Timeout),
            (Class::Open, OPEN_TIMEOUT_NS, CloseReason::Timeout),
        ];
        for (class, timeout_ns, reason) in timeouts {
            while let Some(slot) = self.recency.oldest(class) {
                let last_ns =
                    self.entries[slot as usize].as_ref().map_or(i64::MIN, |entry| entry.flow.last_ns);
                if self.now_ns.saturating_sub(last_ns) <= timeout_ns {
                    break;
                }
                self.close(slot, reason);
            }
        }
    }

    /// Makes room for a flow.
    fn evict(&mut self) {
        if let Some(slot) = Class::ALL.into_iter().find_map(|class| self.recency.oldest(class)) {
            self.close(slot, CloseReason::Evicted);
        }
    }

    fn close(&mut self, slot: u32, reason: CloseReason) {
        let Some(mut entry) = self.entries.get_mut(slot as usize).and_then(Option::take) else { return };
        self.recency.remove(slot);
        self.by_key.remove(&canonical(&entry.flow.key).0);
        self.free.push(slot);
        let Self { options, consumer, budget, .. } = self;
        if let Some(streams) = &mut entry.streams {
            let (flow, state) = (&entry.flow, &mut entry.state);
            let mut tell = |side, event: StreamEvent<'_>| tell(consumer, flow, state, side, event);
            streams.finish(reason.end_of_streams(), options, budget, &mut tell);
        }
        if options.reports {
            let report = entry.reports.finish(&entry.flow.sides, entry.flow.last_ns);
            consumer.report(&entry.flow, &mut entry.state, &report);
        }
        consumer.closed(&entry.flow, entry.state, reason);
    }
}

impl<State> Entry<State> {
    fn side(&self, source_is_second: bool) -> Side {
        if source_is_second == self.client_is_second { Side::Client } else { Side::Server }
    }
}

/// What the sender of a flow's first packet is.
struct Role {
    is_server: bool,
    /// Whether that is certain.
    is_known: bool,
}

impl Role {
    fn of(key: &FlowKey, ip: &Ip, view: &PacketView<'_>) -> Self {
        if let Some(tcp) = view.decoded.tcp()
            && tcp.flags & tcp_flag::SYN != 0
        {
            return Self { is_server: tcp.flags & tcp_flag::ACK != 0, is_known: true };
        }
        if let Some(icmp) = view.decoded.icmp() {
            let is_known = icmp_counterpart(ip.protocol, icmp.kind).is_some();
            return Self { is_server: is_known && !is_icmp_request(ip.protocol, icmp.kind), is_known };
        }
        let is_server = sender_is_server(ip, key.source_port, key.destination_port);
        Self { is_server, is_known: false }
    }
}

fn tell<C: FlowConsumer>(
    consumer: &mut C,
    flow: &Flow,
    state: &mut C::State,
    side: Side,
    event: StreamEvent<'_>,
) {
    match event {
        StreamEvent::Data(data) => consumer.data(flow, state, side, data),
        StreamEvent::Gap(gap) => consumer.gap(flow, state, side, gap),
        StreamEvent::Disagreement(fact) => consumer.disagreement(flow, state, side, fact),
        StreamEvent::Dropped(dropped) => consumer.dropped(flow, state, side, dropped),
        StreamEvent::End { reason, offset, packet } => {
            consumer.end(flow, state, side, reason, offset, packet);
        }
    }
}
