//! Messages made by hand.

use std::sync::Arc;

use super::message::COOKIE;
use crate::decode::ip_protocol;
use crate::protocol::conversation::Conversation;
use crate::protocol::flow::{Endpoint, Flow, Moment, Sender};
use crate::protocol::parser::Datagram;
use crate::protocol::registry::Protocols;
use crate::protocol::transaction::{Incomplete, Status, Transaction};
use crate::protocol::value::{Fields, Value};

const CLIENT: Sender = Sender::Originator;

fn message(operation: u8, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..4].copy_from_slice(&[operation, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&[0, 0, 0x3d, 0x1d]);
    bytes[28..34].copy_from_slice(&[0, 0x0b, 0x82, 1, 0xfc, 0x42]);
    bytes.extend(COOKIE);
    bytes.extend(options);
    bytes
}

fn transaction(bytes: &[u8], port: u16) -> Option<Transaction> {
    let flow = Flow {
        originator: Endpoint { port: 68, ..Endpoint::default() },
        responder: Endpoint { port, ..Endpoint::default() },
        ip_protocol: ip_protocol::UDP,
        ..Flow::default()
    };
    let mut conversation = Conversation::new(Arc::new(flow));
    let mut transactions = Vec::new();
    let datagram =
        Datagram { sender: CLIENT, bytes, wire_len: bytes.len(), icmp: None, at: Moment::default() };
    conversation.datagram(&Protocols::default(), datagram, &mut transactions);
    transactions.pop()
}

fn options(bytes: &[u8]) -> Fields {
    let transaction = transaction(&message(1, bytes), 67).unwrap();
    match transaction.fields.value("dhcpv4.option") {
        Some(Value::Object(fields)) => fields.clone(),
        other => panic!("{other:?}"),
    }
}

fn text_of<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.value(name).and_then(Value::as_text)
}

#[test]
fn a_discover() {
    let bytes = message(1, &[53, 1, 1, 50, 4, 0, 0, 0, 0, 55, 4, 1, 3, 6, 42, 255, 0, 0]);
    let transaction = transaction(&bytes, 67).unwrap();
    assert_eq!((transaction.client, transaction.source), (CLIENT, CLIENT));
    assert_eq!((transaction.status, transaction.incomplete), (Status::Ok, None));
    assert!(transaction.request.is_some() && transaction.response.is_none());
    let fields = &transaction.fields;
    for (name, expected) in [
        ("dhcpv4.op_code", "bootrequest"),
        ("dhcpv4.transaction_id", "0x00003d1d"),
        ("dhcpv4.client_mac", "00:0b:82:01:fc:42"),
        ("dhcpv4.flags", "unicast"),
        ("dhcpv4.hardware_type", "Ethernet"),
        ("dhcpv4.option.message_type", "discover"),
        ("dhcpv4.option.requested_ip_address", "0.0.0.0"),
    ] {
        assert_eq!(text_of(fields, name), Some(expected), "{name}");
    }
    assert_eq!(
        fields.value("dhcpv4.option.parameter_request_list"),
        Some(&Value::list(["Subnet Mask", "Router", "Domain Name Server", "NTP Servers"]))
    );
}

#[test]
fn a_refusal_is_an_error_of_the_server() {
    let bytes = message(2, b"\x35\x01\x06\x38\x07no room\xff");
    let transaction = transaction(&bytes, 67).unwrap();
    assert_eq!((transaction.client, transaction.source), (CLIENT.other(), CLIENT));
    assert_eq!(transaction.status, Status::Error);
    assert_eq!(transaction.errors, ["no room"]);
    assert!(transaction.response.is_some());
}

#[test]
fn forms_of_options() {
    let parts: [&[u8]; 9] = [
        &[121, 8, 24, 10, 0, 1, 10, 0, 0, 254],
        &[81, 5, 5, 0, 0, 1, b'a'],
        &[82, 6, 1, 4, b'e', b't', b'h', b'0'],
        &[61, 7, 1, 2, 3, 4, 5, 6, 7],
        &[119, 5, 1, b'x', 0, 0xc0, 0],
        &[2, 4, 0xff, 0xff, 0xff, 0xfe],
        &[3, 8, 10, 0, 0, 1, 10, 0, 0, 2],
        &[80, 0, 200, 2, 0xab, 0xcd],
        &[255],
    ];
    let fields = options(&parts.concat());
    assert_eq!(fields.value("classless_static_routes"), Some(&Value::list(["10.0.1.0/24 via 10.0.0.254"])));
    assert_eq!(text_of(&fields, "fqdn.name"), Some("a"));
    assert_eq!(fields.value("fqdn.server_updates"), Some(&Value::Bool(true)));
    assert_eq!(text_of(&fields, "relay_agent_information.circuit_id"), Some("eth0"));
    assert_eq!(text_of(&fields, "client_identifier"), Some("02:03:04:05:06:07"));
    assert_eq!(fields.value("domain_search"), Some(&Value::list(["x", "x"])));
    assert_eq!(fields.value("utc_time_offset_sec"), Some(&Value::Int(-2)));
    assert_eq!(fields.value("router"), Some(&Value::list(["10.0.0.1", "10.0.0.2"])));
    assert_eq!(fields.value("rapid_commit"), Some(&Value::Bool(true)));
    assert_eq!(text_of(&fields, "option_200"), Some("abcd"));
}

#[test]
fn values_that_are_cut_are_kept_as_bytes() {
    let fields = options(&[1, 3, 255, 255, 255, 121, 2, 24, 10, 255]);
    assert_eq!(text_of(&fields, "subnet_mask"), Some("ffffff"));
    assert_eq!(text_of(&fields, "classless_static_routes"), Some("180a"));
}

#[test]
fn long_options_come_in_parts() {
    let fields = options(b"\x0f\x03exa\x0f\x04mple\xff");
    assert_eq!(text_of(&fields, "domain_name"), Some("example"));
}

#[test]
fn names_that_are_pointers_to_a_long_one() {
    let search = |pointers: usize| {
        let name = [&[63][..], &[0xff; 63]].concat();
        let names = [&name.repeat(3)[..], &[0], &[0xc0, 0].repeat(pointers)].concat();
        let parts = names.chunks(254).flat_map(|part| [&[119, part.len() as u8][..], part].concat());
        let fields = options(&parts.chain([255]).collect::<Vec<_>>());
        fields.value("domain_search").unwrap().clone()
    };
    let Value::List(names) = search(127) else { panic!("a list") };
    assert_eq!(names.len(), 128);
    let bytes = search(10_000);
    assert_eq!(bytes.as_text().map(str::len), Some(2 * (193 + 20_000)), "the bytes are kept");
}

#[test]
fn options_may_lie_in_the_names() {
    let mut bytes = message(2, &[53, 1, 2, 52, 1, 3, 255]);
    bytes[44..50].copy_from_slice(b"\x0c\x02ab\xff\x00");
    bytes[108..114].copy_from_slice(b"\x0f\x02cd\xff\x00");
    let transaction = transaction(&bytes, 67).unwrap();
    assert_eq!(text_of(&transaction.fields, "dhcpv4.option.hostname"), Some("ab"));
    assert_eq!(text_of(&transaction.fields, "dhcpv4.option.domain_name"), Some("cd"));
    assert_eq!(transaction.fields.value("dhcpv4.server_name"), None);
}

#[test]
fn every_prefix_is_survived() {
    let whole = message(1, &[53, 1, 1, 82, 4, 1, 2, b'a', b'b', 81, 4, 4, 0, 0, 1, 255]);
    for len in 0..=whole.len() {
        let found = transaction(&whole[..len], 67);
        assert_eq!(found.is_some(), len >= 236, "{len}");
    }
    let cut = transaction(&whole[..whole.len() - 4], 67).unwrap();
    assert_eq!(cut.incomplete, Some(Incomplete::Malformed));
}

#[test]
fn on_any_port_by_its_cookie() {
    assert!(transaction(&message(1, &[53, 1, 1, 255]), 9999).is_some());
    let mut without = message(1, &[53, 1, 1, 255]);
    without[236] = 0;
    assert!(transaction(&without, 67).is_some(), "BOOTP, by its port");
}
