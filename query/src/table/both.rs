//! Two that are told of the same packets and flows.

use std::sync::Arc;

use kcap_dissect::flow::{CloseReason, Datagram, Flow, FlowConsumer, FlowReport, Side};
use kcap_dissect::stream::{DisagreementFact, Dropped, EndReason, Gap, PacketRef, StreamData};

use crate::flows::{FragmentFinding, PacketConsumer};
use crate::table::packets::PacketBlock;

/// Tells both; each keeps its own of a flow.
pub(super) struct Both<A, B>(pub(super) A, pub(super) B);

impl<A: PacketConsumer, B: PacketConsumer> PacketConsumer for Both<A, B> {
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.0.begin(block, row);
        self.1.begin(block, row);
    }

    fn fragments(&mut self, finding: FragmentFinding<'_>) {
        self.0.fragments(finding);
        self.1.fragments(finding);
    }
}

impl<A: FlowConsumer, B: FlowConsumer> FlowConsumer for Both<A, B> {
    type State = (A::State, B::State);

    fn opened(&mut self, flow: &Flow, (a, b): &mut Self::State) {
        self.0.opened(flow, a);
        self.1.opened(flow, b);
    }

    fn packet(&mut self, flow: &Flow, (a, b): &mut Self::State, side: Side, packet: PacketRef) {
        self.0.packet(flow, a, side, packet);
        self.1.packet(flow, b, side, packet);
    }

    fn data(&mut self, flow: &Flow, (a, b): &mut Self::State, side: Side, data: StreamData<'_>) {
        self.0.data(flow, a, side, data);
        self.1.data(flow, b, side, data);
    }

    fn gap(&mut self, flow: &Flow, (a, b): &mut Self::State, side: Side, gap: Gap) {
        self.0.gap(flow, a, side, gap);
        self.1.gap(flow, b, side, gap);
    }

    fn end(
        &mut self,
        flow: &Flow,
        (a, b): &mut Self::State,
        side: Side,
        reason: EndReason,
        offset: u64,
        packet: PacketRef,
    ) {
        self.0.end(flow, a, side, reason, offset, packet);
        self.1.end(flow, b, side, reason, offset, packet);
    }

    fn datagram(&mut self, flow: &Flow, (a, b): &mut Self::State, side: Side, datagram: Datagram<'_>) {
        self.0.datagram(flow, a, side, datagram);
        self.1.datagram(flow, b, side, datagram);
    }

    fn disagreement(&mut self, flow: &Flow, (a, b): &mut Self::State, side: Side, fact: DisagreementFact) {
        self.0.disagreement(flow, a, side, fact);
        self.1.disagreement(flow, b, side, fact);
    }

    fn dropped(&mut self, flow: &Flow, (a, b): &mut Self::State, side: Side, dropped: Dropped) {
        self.0.dropped(flow, a, side, dropped);
        self.1.dropped(flow, b, side, dropped);
    }

    fn report(&mut self, flow: &Flow, (a, b): &mut Self::State, report: &FlowReport) {
        self.0.report(flow, a, report);
        self.1.report(flow, b, report);
    }

    fn closed(&mut self, flow: &Flow, (a, b): Self::State, reason: CloseReason) {
        self.0.closed(flow, a, reason);
        self.1.closed(flow, b, reason);
    }
}
