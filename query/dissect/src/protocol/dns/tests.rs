//! Conversations made by hand.

use std::sync::Arc;

use super::samples::{QUERY_MX, RESPONSE_MX};
use crate::decode::ip_protocol;
use crate::protocol::conversation::Conversation;
use crate::protocol::flow::{Endpoint, Flow, Moment, Sender};
use crate::protocol::parser::{Chunk, Datagram};
use crate::protocol::registry::Protocols;
use crate::protocol::transaction::{Incomplete, Status, Transaction};
use crate::protocol::value::Value;

const SECOND_NS: i64 = 1_000_000_000;

fn flow(ip_protocol: u8, port: u16) -> Arc<Flow> {
    Arc::new(Flow {
        originator: Endpoint { port: 40_000, ..Endpoint::default() },
        responder: Endpoint { port, ..Endpoint::default() },
        ip_version: 4,
        ip_protocol,
        originator_known: true,
        ..Flow::default()
    })
}

fn at(ts_ns: i64) -> Moment {
    Moment { ts_ns, packet_id: 0 }
}

fn over_udp(config: &str, port: u16, datagrams: &[(Sender, i64, &[u8])]) -> Vec<Transaction> {
    let protocols = Protocols::read(config.parse().unwrap()).unwrap();
    let mut conversation = Conversation::new(flow(ip_protocol::UDP, port));
    let mut transactions = Vec::new();
    for (sender, ts_ns, bytes) in datagrams {
        let datagram = Datagram { sender: *sender, bytes, wire_len: bytes.len(), icmp: None, at: at(*ts_ns) };
        conversation.datagram(&protocols, datagram, &mut transactions);
    }
    conversation.finish(&protocols, &mut transactions);
    transactions
}

fn text<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a str> {
    transaction.fields.value(path).and_then(Value::as_text)
}

#[test]
fn a_query_is_matched_with_its_response() {
    let transactions = over_udp(
        "[dns]\nsend_request = true\ninclude_additionals = true",
        53,
        &[(Sender::Originator, 0, QUERY_MX), (Sender::Responder, 20, RESPONSE_MX)],
    );
    let [transaction] = &transactions[..] else { panic!("{transactions:?}") };
    assert_eq!(transaction.query.as_deref(), Some("class IN, type MX, example.org"));
    assert_eq!(transaction.resource.as_deref(), Some("example.org"));
    assert_eq!(transaction.method.as_deref(), Some("QUERY"));
    assert_eq!((transaction.status, transaction.incomplete), (Status::Ok, None));
    assert_eq!(transaction.duration_ns(), Some(20));
    assert_eq!(text(transaction, "dns.response_code"), Some("NOERROR"));
    assert_eq!(text(transaction, "dns.question.registered_domain"), Some("example.org"));
    assert_eq!(transaction.fields.value("dns.answers_count"), Some(&Value::Uint(1)));
    let Some(Value::List(answers)) = transaction.fields.value("dns.answers") else { panic!("answers") };
    let Value::Object(answer) = &answers[0] else { panic!("an object") };
    assert_eq!(answer.value("data").and_then(Value::as_text), Some("mail.example.org"));
    assert_eq!(answer.value("preference"), Some(&Value::Uint(10)));
    assert!(transaction.fields.value("dns.additionals").is_some());
    assert_eq!(
        transaction.request_text.as_deref(),
        Some(
            "ID 4660; QR query; OPCODE QUERY; FLAGS rd; RCODE NOERROR; QUESTION class IN, type MX, example.org"
        )
    );
}

#[test]
fn on_any_port() {
    let transactions = over_udp("", 9999, &[(Sender::Originator, 0, QUERY_MX)]);
    assert_eq!(transactions.len(), 1);
}

#[test]
fn queries_and_responses_alone_say_so() {
    let late = 11 * SECOND_NS;
    let transactions =
        over_udp("", 53, &[(Sender::Originator, 0, QUERY_MX), (Sender::Responder, late, RESPONSE_MX)]);
    let reasons: Vec<_> = transactions.iter().map(|transaction| transaction.incomplete).collect();
    assert_eq!(reasons, [Some(Incomplete::NoResponse), Some(Incomplete::NoRequest)]);
    assert_eq!(transactions[0].status, Status::Error);
    assert_eq!(transactions[0].errors, ["No response to this query was received"]);
    assert!(transactions.iter().all(|transaction| transaction.client == Sender::Originator));

    let patient = over_udp(
        "[dns]\ntransaction_timeout = \"12s\"",
        53,
        &[(Sender::Originator, 0, QUERY_MX), (Sender::Responder, late, RESPONSE_MX)],
    );
    assert_eq!(patient.len(), 1);
}

#[test]
fn the_same_id_again_closes_the_first_query() {
    let transactions = over_udp(
        "",
        53,
        &[
            (Sender::Originator, 0, QUERY_MX),
            (Sender::Originator, 1, QUERY_MX),
            (Sender::Responder, 2, RESPONSE_MX),
        ],
    );
    assert_eq!(transactions.len(), 2);
    assert!(transactions[0].errors[0].starts_with("Another query with the same DNS ID"));
    assert_eq!(transactions[1].duration_ns(), Some(1));
}

#[test]
fn a_cut_response_is_malformed_and_kept() {
    let cut = &RESPONSE_MX[..RESPONSE_MX.len() - 3];
    let transactions = over_udp("", 53, &[(Sender::Originator, 0, QUERY_MX), (Sender::Responder, 1, cut)]);
    assert_eq!(transactions[0].incomplete, Some(Incomplete::Malformed));
    assert_eq!(transactions[0].fields.value("dns.answers_count"), Some(&Value::Uint(1)));
}

fn over_tcp(parts: &[(Sender, Option<&[u8]>)]) -> Vec<Transaction> {
    let protocols = Protocols::default();
    let mut conversation = Conversation::new(flow(ip_protocol::TCP, 53));
    let mut transactions = Vec::new();
    for (sender, bytes) in parts {
        match bytes {
            Some(bytes) => {
                conversation.data(&protocols, Chunk { sender: *sender, bytes, at: at(0) }, &mut transactions);
            }
            None => conversation.gap(&protocols, *sender, 100, at(0), &mut transactions),
        }
    }
    conversation.finish(&protocols, &mut transactions);
    transactions
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap();
    [&len.to_be_bytes(), message].concat()
}

#[test]
fn over_tcp_however_it_is_cut() {
    let (query, response) = (prefixed(QUERY_MX), prefixed(RESPONSE_MX));
    for size in 1..response.len() {
        let queries = query.chunks(size).map(|bytes| (Sender::Originator, Some(bytes)));
        let responses = response.chunks(size).map(|bytes| (Sender::Responder, Some(bytes)));
        let transactions = over_tcp(&queries.chain(responses).collect::<Vec<_>>());
        assert_eq!(transactions.len(), 1, "{size}");
        assert_eq!(transactions[0].incomplete, None);
        assert_eq!(transactions[0].request.unwrap().bytes, query.len() as u64);
    }
}

#[test]
fn goes_on_after_a_gap() {
    let (query, response) = (prefixed(QUERY_MX), prefixed(RESPONSE_MX));
    let transactions = over_tcp(&[
        (Sender::Originator, Some(&query)),
        (Sender::Responder, Some(&response[..20])),
        (Sender::Responder, None),
        (Sender::Responder, Some(&response[30..])),
        (Sender::Originator, Some(&query)),
        (Sender::Responder, Some(&response)),
    ]);
    let whole = transactions.iter().filter(|transaction| transaction.incomplete.is_none());
    assert_eq!((transactions.len(), whole.count()), (2, 1));
}

/// A message with one record, behind its header of these counts and its question.
fn with_record(header: [u8; 12], question: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let record = [&[0][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 0], &len.to_be_bytes(), data].concat();
    [&header[..], question, &record].concat()
}

#[test]
fn a_transfer_keeps_no_more_text_than_it_may() {
    const MESSAGES: u64 = 40;
    let query = prefixed(&[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 252, 0, 1]);
    // A text in which each byte is written with four.
    let data = [&[255][..], &[0xff; 255]].concat().repeat(250);
    let message = prefixed(&with_record([0, 7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0], &[], 16, &data));
    let parts = std::iter::repeat_n((Sender::Responder, Some(&message[..])), MESSAGES as usize);
    let transactions =
        over_tcp(&std::iter::once((Sender::Originator, Some(&query[..]))).chain(parts).collect::<Vec<_>>());
    let [transaction] = &transactions[..] else { panic!("{} transactions", transactions.len()) };
    let Some(Value::List(answers)) = transaction.fields.value("dns.answers") else { panic!("answers") };
    assert!((5..=12).contains(&answers.len()), "{} texts of 250 KiB", answers.len());
    assert_eq!(
        transaction.fields.value("dns.answers_count"),
        Some(&Value::Uint(MESSAGES)),
        "of the messages"
    );
}

#[test]
fn options_beyond_number() {
    let options =
        |count: u16| (0..count).flat_map(|code| (code + 100).to_be_bytes().into_iter().chain([0, 0]));
    let transaction = |count| {
        let data: Vec<u8> = options(count).collect();
        let header = [0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let query = with_record(header, &[1, b'x', 0, 0, 1, 0, 1], 41, &data);
        over_udp("", 53, &[(Sender::Originator, 0, &query)]).remove(0)
    };
    let opt_len = |transaction: &Transaction| match transaction.fields.value("dns.opt") {
        Some(Value::Object(opt)) => opt.len(),
        other => panic!("{other:?}"),
    };
    let own = opt_len(&transaction(0));
    let most = transaction(64);
    assert_eq!((opt_len(&most), most.incomplete), (own + 64, Some(Incomplete::NoResponse)));
    let more = transaction(16_000);
    assert_eq!(opt_len(&more), own + 64);
    assert_eq!(
        more.errors.last().map(String::as_str),
        Some("Malformed message: more options of EDNS than are looked at")
    );
}
