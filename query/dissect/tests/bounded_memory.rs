//! Messages that never end, requests that nobody answers, and the shortest messages that there are, over and over: whatever is sent,
//! a conversation keeps no more than its limits.
//!
//! One test in a file of its own, since what a process took at most is known of the whole process.

use std::fs;
use std::sync::Arc;

use kcap_dissect::decode::{Icmp, ip_protocol};
use kcap_dissect::protocol::{
    self, Chunk, Conversation, Datagram, Endpoint, Moment, PROTOCOLS, Protocols, Sender, Transaction,
};

/// Bytes that each conversation is fed in all.
const FED_BYTES: usize = 16 << 20;
/// Bytes of whole messages that each conversation is fed: they take the longest, and what isn't bounded shows with these already.
const FED_WHOLE_BYTES: usize = 2 << 20;
/// Of them at once: what a packet can have. Each statement in it is a transaction that somebody waits for.
const CHUNK_BYTES: usize = 64 << 10;
/// What they may add to the process, one after the other: HTTP alone keeps messages of 10 MiB.
const GROWTH_BYTES_MAX: usize = 28 << 20;

/// Most memory that the process had at any time, in bytes; `None` where the system doesn't tell.
fn peak_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? << 10)
}

/// How messages of each protocol begin that announce more than ever comes: by the client, and by the server.
fn beginnings(name: &str) -> Vec<(Sender, &'static [u8])> {
    use Sender::{Originator as Client, Responder as Server};
    match name {
        "dns" => vec![(Client, b"\xff\xff\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00")],
        "http" => vec![
            (Client, b"GET / HTTP/1.1\r\nHost: a\r\n"),
            (Client, b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"),
            (Client, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00"),
            (Server, b"HTTP/1.1 200 OK\r\nX: "),
        ],
        "tls" => vec![
            (Client, b"\x16\x03\x01\x40\x00\x01\xff\xff\xfc\x03\x03"),
            (Server, b"\x16\x03\x03\x40\x00\x0b\xff\xff\xfc\x00\xff\xff"),
        ],
        "mysql" => vec![
            (Server, b"\x4a\x00\x00\x00\x0a8.0.1\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\x08\x02\x00\xff\x81\x15"),
            (Client, b"\xff\xff\xff\x00\x03select '"),
        ],
        "pgsql" => vec![
            (Client, b"\x00\x00\x00\x29\x00\x03\x00\x00user\x00kcap\x00database\x00postgres\x00\x00Q\x7f\xff\xff\xffselect '"),
            (Server, b"D\x7f\xff\xff\xff\x00\x01\x7f\xff\xff\x00"),
        ],
        "redis" => vec![
            (Client, b"*1000000000\r\n$4\r\nMGET\r\n"),
            (Client, b"*2\r\n$3\r\nSET\r\n$2000000000\r\n"),
            (Server, b"*1000000000\r\n"),
            (Client, b"SET "),
        ],
        _ => vec![(Client, b"")],
    }
}

/// Whole messages of each protocol, as short as they can be, or with as much in them that is wrong.
fn whole_messages(name: &str) -> Vec<(Sender, Vec<u8>)> {
    use Sender::{Originator as Client, Responder as Server};
    match name {
        "http" => vec![(Client, b"GET / HTTP/1.1\n\n".to_vec()), (Server, b"HTTP/1.1 101\n\n".to_vec())],
        // Hellos without anything in them.
        "tls" => {
            vec![(Client, [&b"\x16\x03\x03\x3f\xf0"[..], &b"\x01\x00\x00\x00".repeat(0x3ff0 / 4)].concat())]
        }
        _ => Vec::new(),
    }
}

/// What comes after the beginning, over and over.
fn fillers(name: &str) -> [&'static [u8]; 2] {
    let own: &[u8] = match name {
        "http" => b"a: b\r\n",
        "mysql" => b"\x05\x00\x00\x00\x03do 1",
        "pgsql" => b"Q\x00\x00\x00\x09do 1\x00",
        "redis" => b"$1\r\na\r\n",
        "tls" => b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00",
        _ => b"\x00",
    };
    [b"a", own]
}

fn flow(ip_protocol: u8, port: u16) -> Arc<protocol::Flow> {
    let end = |last, port| Endpoint {
        ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, last],
        port,
        mac: None,
    };
    Arc::new(protocol::Flow {
        originator: end(1, 40_000),
        responder: end(2, port),
        ip_version: 4,
        ip_protocol,
        originator_known: true,
        ..protocol::Flow::default()
    })
}

/// A conversation that was fed; what it gave was thrown away as it came.
fn feed_stream(
    protocols: &Protocols,
    flow: &Arc<protocol::Flow>,
    sender: Sender,
    begin: &[u8],
    filler: &[u8],
    fed_bytes: usize,
) -> Conversation {
    let mut conversation = Conversation::new(Arc::clone(flow));
    let mut transactions: Vec<Transaction> = Vec::new();
    let chunk = filler.repeat(CHUNK_BYTES / filler.len());
    let chunks = std::iter::once(begin).chain(std::iter::repeat_n(chunk.as_slice(), fed_bytes / CHUNK_BYTES));
    for (number, bytes) in (0_u32..).zip(chunks).filter(|(_, bytes)| !bytes.is_empty()) {
        let at = Moment { ts_ns: i64::from(number) * 1000, packet_id: number.into() };
        conversation.data(protocols, Chunk { sender, bytes, at }, &mut transactions);
        transactions.clear();
    }
    conversation
}

/// Requests that nobody answers, each another.
fn feed_datagrams(protocols: &Protocols, flow: &Arc<protocol::Flow>, request: &[u8]) {
    let mut conversation = Conversation::new(Arc::clone(flow));
    let mut transactions: Vec<Transaction> = Vec::new();
    for number in 0_u32..200_000 {
        let mut bytes = request.to_vec();
        let id = u16::try_from(number & 0xffff).unwrap_or(0);
        if let Some(place) = bytes.first_chunk_mut::<2>() {
            *place = id.to_be_bytes();
        }
        let icmp = Icmp { kind: 8, code: 0, echo: Some((u16::try_from(number >> 16).unwrap_or(0), id)) };
        let at = Moment { ts_ns: i64::from(number) * 1000, packet_id: number.into() };
        let datagram = Datagram {
            sender: Sender::Originator,
            bytes: &bytes,
            wire_len: bytes.len(),
            icmp: Some(icmp),
            at,
        };
        conversation.datagram(protocols, datagram, &mut transactions);
        transactions.clear();
    }
    conversation.finish(protocols, &mut transactions);
}

#[test]
fn whatever_is_sent() {
    let Some(before) = peak_bytes() else {
        println!("skipped: this system doesn't tell how much memory a process took");
        return;
    };
    let protocols = Protocols::default();
    for protocol in PROTOCOLS {
        let port = protocol.ports.first().copied().unwrap_or(0);
        for ip_protocol in protocol.ip_protocols {
            let flow = flow(*ip_protocol, port);
            if *ip_protocol == ip_protocol::TCP {
                for (sender, begin) in beginnings(protocol.name) {
                    for filler in fillers(protocol.name) {
                        let mut fed = feed_stream(&protocols, &flow, sender, begin, filler, FED_BYTES);
                        fed.finish(&protocols, &mut Vec::new());
                    }
                }
                for (sender, message) in whole_messages(protocol.name) {
                    // Not finished: all that wait would be transactions at once, which is more than was kept of them.
                    feed_stream(&protocols, &flow, sender, b"", &message, FED_WHOLE_BYTES);
                }
            } else {
                let request = beginnings(protocol.name).first().map_or(&b""[..], |(_, begin)| begin);
                feed_datagrams(&protocols, &flow, request.get(2..).unwrap_or_default());
            }
            let growth = peak_bytes().unwrap_or(0).saturating_sub(before);
            println!("{} over {ip_protocol}: {} KiB more", protocol.name, growth >> 10);
            assert!(growth <= GROWTH_BYTES_MAX, "{}: {growth} bytes", protocol.name);
        }
    }
}
