//! Streams whose protocol changes.

use std::sync::Arc;
use std::thread;

use super::conversation::{Conversation, HAND_OVERS_MAX};
use super::flow::{Moment, Sender};
use super::parser::Chunk;
use super::registry::{Protocol, Protocols};
use super::transaction::Transaction;
use super::{http, mysql, testing};

/// What a segment can have, about.
const SEGMENT_LEN: usize = 64 * 1024;

/// Less than the stacks that threads have.
const STACK_LEN: usize = 256 * 1024;

/// The transactions of a conversation, its protocol at the end, and whether it is ignored then.
fn run(protocol: &Protocol, chunks: &[(Sender, &[u8])]) -> (Vec<Transaction>, Option<&'static str>, bool) {
    let protocols = Protocols::default();
    let mut conversation = Conversation::new(testing::flow(protocol, true));
    let mut transactions = Vec::new();
    for (sender, bytes) in chunks {
        let chunk = Chunk { sender: *sender, bytes, at: Moment::default() };
        conversation.data(&protocols, chunk, &mut transactions);
    }
    let (found, is_ignored) = (conversation.protocol(), conversation.is_ignored());
    conversation.finish(&protocols, &mut transactions);
    (transactions, found, is_ignored)
}

/// The same of one segment full of repetitions, on a small stack.
fn run_repeated(
    protocol: &'static Protocol,
    sender: Sender,
    unit: &'static [u8],
) -> (Vec<Transaction>, bool) {
    let body = move || {
        let segment = unit.repeat(SEGMENT_LEN / unit.len());
        let (transactions, _, is_ignored) = run(protocol, &[(sender, &segment)]);
        (transactions, is_ignored)
    };
    thread::Builder::new().stack_size(STACK_LEN).spawn(body).unwrap().join().unwrap()
}

#[test]
fn a_segment_that_changes_its_protocol_over_and_over() {
    /// `SSLRequest`: a login that ends where the user's name would be.
    const SSL_REQUEST: &[u8] = b"\x20\x00\x00\x01\x00\x0a\x00\x00\x00\x00\x00\x01\x21\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (protocol, sender, unit) in [
        (&http::PROTOCOL, testing::SERVER, &b"HTTP/1.1 101\n\n"[..]),
        (&mysql::PROTOCOL, testing::CLIENT, SSL_REQUEST),
    ] {
        let (transactions, is_ignored) = run_repeated(protocol, sender, unit);
        let name = protocol.name;
        assert_eq!(transactions.len(), usize::from(HAND_OVERS_MAX) + 1, "{name}");
        assert!(is_ignored, "{name}");
        let told = |one: &&Transaction| one.errors.iter().any(|error| error.contains("too often"));
        assert_eq!(transactions.iter().filter(told).count(), 1, "{name}");
        assert!(transactions.last().as_ref().is_some_and(told), "{name}");
    }
}

#[test]
fn through_a_chain_of_proxies() {
    let (client, server) = (testing::CLIENT, testing::SERVER);
    let connect = b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n";
    let established = b"HTTP/1.1 200 Established\r\n\r\n";
    let get = b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
    // The last proxy's answer comes together with what was asked through it.
    let last = [&established[..], b"HTTP/1.1 204 None\r\n\r\n"].concat();
    let steps: [(Sender, &[u8]); 6] = [
        (client, connect),
        (server, established),
        (client, connect),
        (server, &last),
        (client, get),
        (server, b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n"),
    ];
    let (transactions, found, _) = run(&http::PROTOCOL, &steps);
    let queries: Vec<_> = transactions.iter().map(|one| one.query.as_deref().unwrap_or_default()).collect();
    assert_eq!(queries, ["CONNECT b.test:443", "CONNECT b.test:443", "", "GET /"]);
    assert_eq!(found, Some("http"));
}

#[test]
fn what_was_held_back_is_taken_in_its_order() {
    let (client, server) = (testing::CLIENT, testing::SERVER);
    let upgrade = b"GET /1 HTTP/1.1\r\nUpgrade: x\r\n\r\n";
    let switched = b"HTTP/1.1 101 Switching Protocols\r\n\r\nGET /2 HT";
    let steps: [(Sender, &[u8]); 4] = [
        (client, upgrade),
        (server, switched),
        (server, b"TP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"),
        (client, b"HTTP/1.1 204 None\r\n\r\n"),
    ];
    let (transactions, ..) = run(&http::PROTOCOL, &steps);
    let queries: Vec<_> = transactions.iter().map(|one| one.query.as_deref().unwrap_or_default()).collect();
    assert_eq!(queries, ["GET /1", "GET /2", "GET /3"]);
    assert!(Arc::ptr_eq(&transactions[0].flow, &transactions[2].flow));
}
