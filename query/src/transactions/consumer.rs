//! Turns what happens in flows into transactions.

use std::sync::Arc;

use kcap_dissect::decode::Decoded;
use kcap_dissect::flow::{
    COMMUNITY_ID_SEED, CloseReason, Datagram, Flow, FlowConsumer, FlowReport, Side, community_id,
};
use kcap_dissect::protocol::{self, Chunk, Conversation, Endpoint, Moment, Protocols, Sender, Transaction};
use kcap_dissect::stream::{EndReason, Gap, PacketRef, StreamData};

use super::{FlowReportRecord, Found, TransactionRecord};
use crate::flows::{CurrentPacket, Finder, FlowBegin, FlowEnds, PacketConsumer};
use crate::source::EndFacts;
use crate::table::packets::PacketBlock;

/// What is known of a flow beside its packets.
#[derive(Clone, Debug, Default)]
pub struct FlowFacts {
    /// The flow as protocols see it: addresses and hardware addresses of both ends.
    pub flow: Arc<protocol::Flow>,
    /// Of ICMP, what its Community ID has in the place of ports: type and code of its messages.
    icmp: Option<(u8, u8)>,
    /// The recording.
    pub capture_id: Arc<str>,
    /// The processes at the ends; the client is the end that began the flow.
    pub ends: FlowEnds,
}

impl FlowFacts {
    /// The process at one end.
    #[must_use]
    pub fn end(&self, end: Sender) -> &EndFacts {
        let side = match end {
            Sender::Originator => Side::Client,
            Sender::Responder => Side::Server,
        };
        self.ends.end(side).unwrap_or(&EndFacts::NOBODY)
    }

    /// Community ID. It takes a hash: not to be asked for lightly.
    #[must_use]
    pub fn community_id(&self) -> String {
        let [originator, responder] = [&self.flow.originator, &self.flow.responder];
        let (from, to) = match self.icmp {
            Some((kind, code)) => (kind.into(), code.into()),
            None => (originator.port, responder.port),
        };
        community_id(COMMUNITY_ID_SEED, (&originator.ip, from), (&responder.ip, to), self.flow.ip_protocol)
    }
}

/// Keeps a conversation for each flow.
pub(super) struct Collector {
    protocols: Protocols,
    /// The packet that the table is at.
    current: CurrentPacket,
    transactions: Vec<Transaction>,
    found: Vec<(FlowBegin, Found)>,
}

/// What is kept of a flow.
#[derive(Default)]
pub(super) struct State {
    conversation: Option<Conversation>,
    facts: Option<Arc<FlowFacts>>,
}

impl Collector {
    pub(super) fn new(protocols: Protocols) -> Self {
        Self { protocols, current: CurrentPacket::default(), transactions: Vec::new(), found: Vec::new() }
    }

    fn decoded(&self) -> Option<&Decoded> {
        self.current.get().map(|(block, row)| &block.decoded[row])
    }

    fn learn_ends(&self, state: &mut State, side: Side) {
        let (Some((block, row)), Some(facts)) = (self.current.get(), &mut state.facts) else { return };
        if block.owners().is_none() {
            return;
        }
        let mut ends = facts.ends.clone();
        if ends.learn(block, row, side) {
            Arc::make_mut(facts).ends = ends;
        }
    }

    fn facts(&self, flow: &Flow, side: Side) -> FlowFacts {
        let macs = self.decoded().map(|decoded| (decoded.link.source_mac, decoded.link.destination_mac));
        let (source_mac, destination_mac) = macs.unwrap_or_default();
        let (client_mac, server_mac) = match side {
            Side::Client => (source_mac, destination_mac),
            Side::Server => (destination_mac, source_mac),
        };
        let key = &flow.key;
        // Echoes have their identifier in the place of ports, other messages their type.
        let (client_port, server_port) =
            if flow.icmp.is_some() { (0, 0) } else { (key.source_port, key.destination_port) };
        FlowFacts {
            flow: Arc::new(protocol::Flow {
                flow_id: flow.flow_id,
                conversation: flow.first_packet_id,
                originator: Endpoint { ip: key.source, port: client_port, mac: client_mac },
                responder: Endpoint { ip: key.destination, port: server_port, mac: server_mac },
                ip_version: flow.ip_version,
                ip_protocol: key.protocol,
                vlan_ids: key.vlan_ids,
                netns_cookie: key.netns_cookie,
                originator_known: flow.initiator_known,
            }),
            icmp: flow.icmp,
            capture_id: self
                .current
                .get()
                .map_or_else(|| Arc::from(""), |(block, _)| Arc::clone(block.shared_capture_id())),
            ends: FlowEnds::default(),
        }
    }

    /// Hands on what a conversation gave.
    fn collect(&mut self, flow: &Flow, state: &State) {
        let Some(facts) = &state.facts else { return };
        self.found.extend(self.transactions.drain(..).map(|transaction| {
            let record = TransactionRecord { transaction, facts: Arc::clone(facts) };
            (begin_of(flow), Found::Transaction(Box::new(record)))
        }));
    }
}

impl PacketConsumer for Collector {
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.current.set(block, row);
    }
}

impl Finder for Collector {
    type Found = Found;

    fn take(&mut self, mut place: impl FnMut(FlowBegin, Found)) {
        self.found.drain(..).for_each(|(begin, found)| place(begin, found));
    }
}

impl FlowConsumer for Collector {
    type State = State;

    fn packet(&mut self, flow: &Flow, state: &mut State, side: Side, _packet: PacketRef) {
        if state.conversation.is_none() {
            let facts = self.facts(flow, side);
            state.conversation = Some(Conversation::new(Arc::clone(&facts.flow)));
            state.facts = Some(Arc::new(facts));
        }
        self.learn_ends(state, side);
    }

    fn data(&mut self, flow: &Flow, state: &mut State, side: Side, data: StreamData<'_>) {
        let Some(conversation) = &mut state.conversation else { return };
        let chunk = Chunk { sender: sender(side), bytes: data.bytes, at: moment(data.packet) };
        conversation.data(&self.protocols, chunk, &mut self.transactions);
        self.collect(flow, state);
    }

    fn gap(&mut self, flow: &Flow, state: &mut State, side: Side, gap: Gap) {
        let Some(conversation) = &mut state.conversation else { return };
        conversation.gap(&self.protocols, sender(side), gap.len, moment(gap.packet), &mut self.transactions);
        self.collect(flow, state);
    }

    fn end(
        &mut self,
        flow: &Flow,
        state: &mut State,
        side: Side,
        reason: EndReason,
        _offset: u64,
        packet: PacketRef,
    ) {
        // Only a FIN says that all was sent; the other ends come with the end of the flow.
        if reason != EndReason::Fin {
            return;
        }
        let Some(conversation) = &mut state.conversation else { return };
        conversation.end(&self.protocols, sender(side), moment(packet), &mut self.transactions);
        self.collect(flow, state);
    }

    fn datagram(&mut self, flow: &Flow, state: &mut State, side: Side, datagram: Datagram<'_>) {
        let Some(conversation) = &mut state.conversation else { return };
        let datagram = protocol::Datagram {
            sender: sender(side),
            bytes: datagram.payload,
            wire_len: datagram.payload_len as usize,
            icmp: datagram.icmp,
            at: moment(datagram.packet),
        };
        conversation.datagram(&self.protocols, datagram, &mut self.transactions);
        self.collect(flow, state);
    }

    fn closed(&mut self, flow: &Flow, mut state: State, _reason: CloseReason) {
        if let Some(conversation) = &mut state.conversation {
            conversation.finish(&self.protocols, &mut self.transactions);
        }
        self.collect(flow, &state);
    }

    fn report(&mut self, flow: &Flow, state: &mut State, report: &FlowReport) {
        let Some(facts) = &state.facts else { return };
        let record = FlowReportRecord { report: *report, facts: Arc::clone(facts) };
        self.found.push((begin_of(flow), Found::Flow(Box::new(record))));
    }
}

fn begin_of(flow: &Flow) -> FlowBegin {
    (flow.first_ns, flow.first_packet_id)
}

fn sender(side: Side) -> Sender {
    match side {
        Side::Client => Sender::Originator,
        Side::Server => Sender::Responder,
    }
}

fn moment(packet: PacketRef) -> Moment {
    Moment { ts_ns: packet.time_ns, packet_id: packet.packet_id }
}
