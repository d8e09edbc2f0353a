//! Messages made by hand.

use std::sync::Arc;

use crate::decode::samples::{CLIENT_V4, SERVER_V4, ipv4, udp};
use crate::decode::{Icmp, decode, ip_protocol, link_type, map_ipv4};
use crate::flow_id::flow_id;
use crate::protocol::conversation::Conversation;
use crate::protocol::flow::{Endpoint, Flow, Moment, Sender};
use crate::protocol::parser::Datagram;
use crate::protocol::registry::Protocols;
use crate::protocol::transaction::{Incomplete, Status, Transaction};
use crate::protocol::value::Value;

const REQUEST: Icmp = Icmp { kind: 8, code: 0, echo: Some((1, 1)) };
const REPLY: Icmp = Icmp { kind: 0, ..REQUEST };

fn transactions(protocol: u8, messages: &[(Sender, i64, Icmp, &[u8])]) -> Vec<Transaction> {
    let end = |last| Endpoint { ip: map_ipv4([10, 0, 0, last]), ..Endpoint::default() };
    let flow = Flow { originator: end(1), responder: end(2), ip_protocol: protocol, ..Flow::default() };
    transactions_of(flow, messages)
}

fn transactions_of(flow: Flow, messages: &[(Sender, i64, Icmp, &[u8])]) -> Vec<Transaction> {
    let protocols = Protocols::default();
    let flow = Arc::new(flow);
    let mut conversation = Conversation::new(flow);
    let mut transactions = Vec::new();
    for &(sender, ts_ns, icmp, bytes) in messages {
        let at = Moment { ts_ns, packet_id: 0 };
        let datagram = Datagram { sender, bytes, wire_len: bytes.len(), icmp: Some(icmp), at };
        conversation.datagram(&protocols, datagram, &mut transactions);
    }
    conversation.finish(&protocols, &mut transactions);
    transactions
}

fn text<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a str> {
    transaction.fields.value(path).and_then(Value::as_text)
}

#[test]
fn an_echo_is_matched_with_its_reply() {
    let echo = transactions(
        ip_protocol::ICMP,
        &[(Sender::Originator, 0, REQUEST, b"ping"), (Sender::Responder, 5, REPLY, b"ping")],
    );
    let [echo] = &echo[..] else { panic!("{echo:?}") };
    assert_eq!((echo.status, echo.incomplete, echo.duration_ns()), (Status::Ok, None, Some(5)));
    assert_eq!(text(echo, "icmp.request.message"), Some("EchoRequest(0)"));
    assert_eq!(text(echo, "icmp.response.message"), Some("EchoReply(0)"));
    assert_eq!((echo.request.unwrap().bytes, echo.response.unwrap().bytes), (4, 4));
}

#[test]
fn other_sequence_numbers_do_not_match() {
    let other = Icmp { echo: Some((1, 2)), ..REPLY };
    let found = transactions(
        ip_protocol::ICMP,
        &[
            (Sender::Originator, 0, REQUEST, b""),
            (Sender::Responder, 5, other, b""),
            // A reply that the requester itself sends isn't one.
            (Sender::Originator, 6, REPLY, b""),
        ],
    );
    let reasons: Vec<_> = found.iter().map(|one| one.incomplete.unwrap()).collect();
    assert_eq!(reasons, [Incomplete::NoRequest, Incomplete::NoRequest, Incomplete::NoResponse]);
    assert!(found.iter().all(|one| one.status == Status::Error && one.errors.len() == 1));
}

#[test]
fn errors_are_tied_to_the_flow_that_they_speak_of() {
    let original = ipv4(CLIENT_V4, SERVER_V4, ip_protocol::UDP, 1, &udp(40_000, 53, 4));
    let unreachable = Icmp { kind: 3, code: 3, echo: None };
    for len in 0..=original.len() {
        let carried = &original[..len];
        let found = transactions(ip_protocol::ICMP, &[(Sender::Originator, 0, unreachable, carried)]);
        assert_eq!(found[0].status, Status::Error);
        assert_eq!(text(&found[0], "icmp.request.message"), Some("DestinationUnreachable(Port)"));
        // Errors carry at least the first eight bytes after the header (RFC 792): the ports are among them.
        if len >= 28 {
            let decoded = decode(link_type::RAW, &original, original.len() as u32);
            let id = found[0].fields.value("icmp.original.flow_id").and_then(Value::as_u64);
            assert_eq!(id, flow_id(&decoded, 0));
            let port = found[0].fields.value("icmp.original.destination.port");
            assert_eq!(port, Some(&Value::Uint(53)));
        }
    }
}

#[test]
fn types_without_names_have_numbers() {
    let odd = Icmp { kind: 200, code: 7, echo: None };
    let found = transactions(ip_protocol::ICMPV6, &[(Sender::Responder, 0, odd, b"")]);
    assert_eq!(text(&found[0], "icmp.request.message"), Some("200(7)"));
    assert_eq!(found[0].client, Sender::Responder);
    assert_eq!(found[0].incomplete, None);
}

#[test]
fn a_host_may_ask_itself() {
    let flow = Flow { ip_protocol: ip_protocol::ICMP, ..Flow::default() };
    // Both come from the same address, which is the originator's.
    let messages = [(Sender::Originator, 0, REQUEST, &b"x"[..]), (Sender::Originator, 5, REPLY, &b"x"[..])];
    let found = transactions_of(flow, &messages);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].incomplete, found[0].duration_ns()), (None, Some(5)));
}
