//! Both streams of a TCP connection, in causal order.
//!
//! A side that acknowledged bytes has seen them: what it sends from then on may be an answer. So when bytes are acknowledged
//! that have not been recorded, whatever the acknowledging side sends is held until they come (recordings are a little out
//! of order) or are given up, and consumers see the gap before the answer.

use super::model::Side;
use super::options::{FlowOptions, HOLD_PACKETS_MAX, HOLD_TIME_MAX_NS, HOLDS_FAILED_MAX};
use super::packet::PacketView;
use crate::decode::{Tcp, tcp_flag};
use crate::stream::{EndReason, PacketRef, Reassembler, Segment, StreamBudget, StreamEvent};

/// Both directions.
#[derive(Debug, Default)]
pub(super) struct Streams {
    sides: [Reassembler; 2],
    hold: Option<Hold>,
    holds_failed: u8,
}

/// A side is held.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// The side whose bytes are missing.
    debtor: Side,
    since_ns: i64,
    packets: u32,
}

impl Streams {
    /// Takes a packet that `side` sent.
    pub(super) fn packet(
        &mut self,
        side: Side,
        tcp: &Tcp,
        view: &PacketView<'_>,
        options: &FlowOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(Side, StreamEvent<'_>),
    ) {
        let stream = &options.stream;
        let (packet, payload_len) = (view.packet(), view.decoded.payload_len);
        let has = |flag| tcp.flags & flag != 0;
        let (own, other) = (side.index(), side.other().index());
        self.end_overdue_hold(packet, options, budget, sink);
        self.sides[other].told_by(packet);
        if has(tcp_flag::RST) {
            if self.sides[own].accepts_reset(tcp.sequence) {
                self.finish(EndReason::Reset, options, budget, sink);
            }
            return;
        }
        if has(tcp_flag::SYN) {
            self.sides[own].start(tcp.sequence, true);
        }
        if has(tcp_flag::ACK) && self.sides[other].acknowledge(tcp.acknowledgement, budget) {
            match self.hold {
                None if self.holds_failed < HOLDS_FAILED_MAX => {
                    self.hold = Some(Hold { debtor: side.other(), since_ns: packet.time_ns, packets: 0 });
                    self.sides[own].hold();
                }
                Some(hold) if hold.debtor != side => {}
                _ => {
                    self.sides[other].give_up(packet, stream, budget, &mut |event| sink(side.other(), event));
                }
            }
        }
        let sequence = tcp.sequence.wrapping_add(u32::from(has(tcp_flag::SYN)));
        let mut tell = |event: StreamEvent<'_>| sink(side, event);
        let segment = Segment { sequence, payload: view.transport_payload(), payload_len, packet };
        self.sides[own].segment(&segment, stream, budget, &mut tell);
        if has(tcp_flag::FIN) {
            let end = sequence.wrapping_add(payload_len);
            self.sides[own].fin(end, packet, stream, budget, &mut tell);
        }
        self.settle(options, budget, sink);
    }

    /// Gives the missing bytes up, before a packet is looked at, when they were waited for long enough.
    fn end_overdue_hold(
        &mut self,
        packet: PacketRef,
        options: &FlowOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(Side, StreamEvent<'_>),
    ) {
        let Some(hold) = &mut self.hold else { return };
        hold.packets += 1;
        let is_overdue = hold.packets > HOLD_PACKETS_MAX
            || packet.time_ns.saturating_sub(hold.since_ns) > HOLD_TIME_MAX_NS;
        if !is_overdue {
            return;
        }
        let debtor = hold.debtor;
        self.holds_failed = self.holds_failed.saturating_add(1);
        let stream = &mut self.sides[debtor.index()];
        stream.give_up(packet, &options.stream, budget, &mut |event| sink(debtor, event));
        self.release(debtor.other(), options, budget, sink);
    }

    /// Releases the side that is held when the bytes came that were missing.
    fn settle(
        &mut self,
        options: &FlowOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(Side, StreamEvent<'_>),
    ) {
        let Some(Hold { debtor, .. }) = self.hold else { return };
        if !self.sides[debtor.index()].owes_acknowledged() {
            self.holds_failed = 0;
            self.release(debtor.other(), options, budget, sink);
        }
    }

    fn release(
        &mut self,
        creditor: Side,
        options: &FlowOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(Side, StreamEvent<'_>),
    ) {
        self.hold = None;
        let stream = &mut self.sides[creditor.index()];
        stream.release(&options.stream, budget, &mut |event| sink(creditor, event));
    }

    /// Ends both directions.
    pub(super) fn finish(
        &mut self,
        reason: EndReason,
        options: &FlowOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(Side, StreamEvent<'_>),
    ) {
        let first = self.hold.take().map_or(Side::Client, |hold| hold.debtor);
        for side in [first, first.other()] {
            let stream = &mut self.sides[side.index()];
            stream.finish(reason, &options.stream, budget, &mut |event| sink(side, event));
        }
    }
}
