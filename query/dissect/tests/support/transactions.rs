//! The transactions of a capture.

use std::path::Path;
use std::sync::Arc;

use super::Packet;
use kcap_dissect::decode::{Decoded, Icmp};
use kcap_dissect::flow::{CloseReason, Datagram, Flow, FlowConsumer, FlowOptions, Side};
use kcap_dissect::protocol::{self, Chunk, Conversation, Endpoint, Moment, Protocols, Sender, Transaction};
use kcap_dissect::stream::{EndReason, Gap, PacketRef, StreamData};

/// All transactions in a capture, with these options. Packets are named by their frame numbers.
pub fn of_capture(capture: &Path, options: &str) -> Vec<Transaction> {
    with(capture, Protocols::read(options.parse().unwrap()).unwrap())
}

/// The same.
pub fn with(capture: &Path, protocols: Protocols) -> Vec<Transaction> {
    with_packets(&super::packets(capture), protocols)
}

/// Of packets that were read.
pub fn with_packets(packets: &[Packet], protocols: Protocols) -> Vec<Transaction> {
    let collector = Collector { protocols, icmp: None, transactions: Vec::new() };
    let begin = |collector: &mut Collector, decoded: &Decoded| collector.icmp = decoded.icmp().copied();
    super::follow_each(packets, FlowOptions::default(), collector, begin).transactions
}

struct Collector {
    protocols: Protocols,
    /// Of the packet that the table is at.
    icmp: Option<Icmp>,
    transactions: Vec<Transaction>,
}

impl Collector {
    fn conversation<'a>(state: &'a mut Option<Conversation>, flow: &Flow) -> &'a mut Conversation {
        state.get_or_insert_with(|| {
            let end = |ip, port| Endpoint { ip, port, mac: None };
            Conversation::new(Arc::new(protocol::Flow {
                flow_id: flow.flow_id,
                conversation: flow.first_packet_id,
                originator: end(flow.key.source, flow.key.source_port),
                responder: end(flow.key.destination, flow.key.destination_port),
                ip_version: flow.ip_version,
                ip_protocol: flow.key.protocol,
                originator_known: flow.initiator_known,
                ..protocol::Flow::default()
            }))
        })
    }
}

impl FlowConsumer for Collector {
    type State = Option<Conversation>;

    fn data(&mut self, flow: &Flow, state: &mut Self::State, side: Side, data: StreamData<'_>) {
        let chunk = Chunk { sender: sender(side), bytes: data.bytes, at: moment(data.packet) };
        Self::conversation(state, flow).data(&self.protocols, chunk, &mut self.transactions);
    }

    fn gap(&mut self, flow: &Flow, state: &mut Self::State, side: Side, gap: Gap) {
        let conversation = Self::conversation(state, flow);
        conversation.gap(&self.protocols, sender(side), gap.len, moment(gap.packet), &mut self.transactions);
    }

    fn end(
        &mut self,
        flow: &Flow,
        state: &mut Self::State,
        side: Side,
        reason: EndReason,
        _offset: u64,
        packet: PacketRef,
    ) {
        if reason == EndReason::Fin {
            let conversation = Self::conversation(state, flow);
            conversation.end(&self.protocols, sender(side), moment(packet), &mut self.transactions);
        }
    }

    fn datagram(&mut self, flow: &Flow, state: &mut Self::State, side: Side, datagram: Datagram<'_>) {
        let conversation = Self::conversation(state, flow);
        let datagram = protocol::Datagram {
            sender: sender(side),
            bytes: datagram.payload,
            wire_len: datagram.payload_len as usize,
            icmp: self.icmp,
            at: moment(datagram.packet),
        };
        conversation.datagram(&self.protocols, datagram, &mut self.transactions);
    }

    fn closed(&mut self, _flow: &Flow, state: Self::State, _reason: CloseReason) {
        if let Some(mut conversation) = state {
            conversation.finish(&self.protocols, &mut self.transactions);
        }
    }
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
