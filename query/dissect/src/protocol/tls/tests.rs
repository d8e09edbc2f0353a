//! Whole handshakes, whole and damaged.

use std::sync::Arc;

use super::samples::{client_hello, handshake, record, server_hello};
use super::*;
use crate::protocol::{Chunk, Context, Endpoint, Incomplete, Moment, Sender, Status, Transaction, Value};

use Sender::{Originator as Client, Responder as Server};

fn flow(originator_known: bool) -> Arc<Flow> {
    let end = |port| Endpoint { port, ..Endpoint::default() };
    Arc::new(Flow { originator: end(40_000), responder: end(443), originator_known, ..Flow::default() })
}

/// What happens to a stream.
enum Step {
    Data(Sender, Vec<u8>),
    Gap(Sender, u64),
}

fn run(originator_known: bool, steps: &[Step]) -> Vec<Transaction> {
    let flow = flow(originator_known);
    let mut transactions = Vec::new();
    let mut connection = Connection::new(&Arc::new(Options::default()), &flow);
    let mut context = Context::new(&flow, &mut transactions);
    for (number, step) in steps.iter().enumerate() {
        let at = Moment { ts_ns: number as i64, packet_id: number as u64 };
        match step {
            Step::Data(sender, bytes) if !bytes.is_empty() => {
                connection.data(Chunk { sender: *sender, bytes, at }, &mut context);
            }
            Step::Data(..) => {}
            Step::Gap(sender, len) => connection.gap(*sender, *len, at, &mut context),
        }
    }
    connection.finish(&mut context);
    transactions
}

fn run_data(steps: &[(Sender, Vec<u8>)]) -> Transaction {
    let steps: Vec<_> = steps.iter().map(|(sender, bytes)| Step::Data(*sender, bytes.clone())).collect();
    let mut transactions = run(true, &steps);
    assert_eq!(transactions.len(), 1);
    transactions.remove(0)
}

fn field<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a Value> {
    transaction.fields.value(path)
}

fn text<'a>(transaction: &'a Transaction, path: &str) -> &'a str {
    field(transaction, path)
        .and_then(Value::as_text)
        .unwrap_or_else(|| panic!("no {path} in {transaction:?}"))
}

fn tls_1_2() -> Vec<(Sender, Vec<u8>)> {
    let certificate = include_bytes!("testdata/ecdsa.der");
    let len = &(certificate.len() as u32).to_be_bytes()[1..];
    let list_len = &(certificate.len() as u32 + 3).to_be_bytes()[1..];
    let certificates = [list_len, len, certificate].concat();
    let key_exchange = [&[3, 0, 29, 4][..], &[1; 4], &[4, 3, 0, 2, 9, 9]].concat();
    let hello = client_hello(&[0xc02f, 0xc02b], &[(0, b"\0\x09\0\0\x06a.test"), (16, b"\0\x03\x02h2")]);
    let flight = [
        handshake(2, &server_hello(0xc02b, &[(16, b"\0\x03\x02h2")])),
        handshake(11, &certificates),
        handshake(12, &key_exchange),
        handshake(14, &[]),
    ];
    let finish = [record(20, &[1]), record(22, &[0x55; 40])].concat();
    vec![
        (Client, record(22, &handshake(1, &hello))),
        (Server, record(22, &flight.concat())),
        (Client, [record(22, &handshake(16, &[0; 66])), finish.clone()].concat()),
        (Server, finish),
        (Client, record(23, &[7; 100])),
    ]
}

fn tls_1_3(client_finish: usize) -> Vec<(Sender, Vec<u8>)> {
    let hello = client_hello(&[0x1301], &[(43, &[2, 3, 4]), (51, &[0, 0])]);
    let answer = server_hello(0x1301, &[(43, &[3, 4]), (51, &[0, 29, 0, 1, 9])]);
    let ccs = record(20, &[1]);
    vec![
        (Client, record(22, &handshake(1, &hello))),
        (Server, [record(22, &handshake(2, &answer)), ccs.clone(), record(23, &[0; 400])].concat()),
        (Client, [ccs, record(23, &vec![0; client_finish])].concat()),
        (Server, record(23, &[0; 200])),
    ]
}

#[test]
fn a_handshake_of_tls_1_2() {
    let transaction = run_data(&tls_1_2());
    assert_eq!((transaction.status, transaction.incomplete), (Status::Ok, None));
    assert_eq!(transaction.duration_ns(), Some(3), "up to the second change to encryption");
    for (path, expected) in [
        ("tls.version", "1.2"),
        ("tls.cipher", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        ("tls.curve", "x25519"),
        ("tls.next_protocol", "h2"),
        ("tls.client.server_name", "a.test"),
        ("server.domain", "a.test"),
        ("tls.server.subject", "CN=a.test,OU=One+OU=Two,O=Example\\, Inc.,L=Town,ST=State,C=DE"),
        ("tls.detailed.version", "TLS 1.2"),
        ("tls.server.x509.subject.locality", "Town"),
    ] {
        assert_eq!(text(&transaction, path), expected, "{path}");
    }
    assert_eq!(field(&transaction, "tls.established"), Some(&Value::Bool(true)));
    assert_eq!(field(&transaction, "tls.resumed"), Some(&Value::Bool(false)));
}

#[test]
fn a_handshake_of_tls_1_3() {
    let transaction = run_data(&tls_1_3(53));
    assert_eq!((transaction.status, transaction.incomplete), (Status::Ok, None));
    assert_eq!(text(&transaction, "tls.version"), "1.3");
    assert_eq!(text(&transaction, "tls.curve"), "x25519");
    assert_eq!(transaction.duration_ns(), Some(2), "the client is the last to change to encryption");
}

#[test]
fn an_encrypted_alert_is_no_end_of_a_handshake() {
    let transaction = run_data(&tls_1_3(19));
    assert_eq!((transaction.status, transaction.incomplete), (Status::Error, None));
    assert_eq!(transaction.errors, ["Encrypted alert from the client"]);
    assert_eq!(field(&transaction, "tls.established"), Some(&Value::Bool(false)));
}

#[test]
fn a_server_that_asks_for_another_hello() {
    let retry =
        [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91];
    let retry = [
        &retry[..],
        &[0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c],
    ];
    let mut request = server_hello(0x1302, &[(43, &[3, 4]), (51, &[0, 24])]);
    request[2..34].copy_from_slice(&retry.concat());
    let ccs = record(20, &[1]);
    let mut steps = tls_1_3(53);
    let again = client_hello(&[0x1301], &[(0, b"\0\x0a\0\0\x07b.test2"), (43, &[2, 3, 4])]);
    steps.insert(1, (Server, [record(22, &handshake(2, &request)), ccs.clone()].concat()));
    steps.insert(2, (Client, [ccs, record(22, &handshake(1, &again))].concat()));
    let transaction = run_data(&steps);
    assert_eq!((transaction.status, transaction.incomplete), (Status::Ok, None));
    assert_eq!(text(&transaction, "tls.cipher"), "TLS_AES_128_GCM_SHA256");
    assert_eq!(text(&transaction, "tls.client.server_name"), "b.test2", "of the second hello");
}

#[test]
fn a_refusal() {
    let mut steps = tls_1_2();
    steps.truncate(1);
    steps.push((Server, record(21, &[2, 40])));
    let transaction = run_data(&steps);
    assert_eq!((transaction.status, transaction.incomplete), (Status::Error, None));
    assert_eq!(transaction.errors, ["Fatal alert from the server: handshake_failure"]);
    assert_eq!(field(&transaction, "tls.detailed.alert_types"), Some(&Value::list(["handshake_failure"])));
    let Some(Value::List(alerts)) = field(&transaction, "tls.detailed.alerts") else { panic!("no alerts") };
    let Value::Object(alert) = &alerts[0] else { panic!("no object") };
    assert_eq!(alert.value("source"), Some(&Value::from("server")));
    assert_eq!(alert.value("severity"), Some(&Value::from("fatal")));
    assert_eq!(alert.value("code"), Some(&Value::from(40_u8)));
}

#[test]
fn resumption() {
    let finish = [record(20, &[1]), record(22, &[0x55; 40])].concat();
    let resume = |session_ticket: &[u8], id: &[u8]| {
        let hello = client_hello(&[0xc02f], &[(35, session_ticket)]);
        let mut answer = server_hello(0xc02f, &[]);
        answer.splice(34..35, [&[id.len() as u8][..], id].concat());
        let transaction = run_data(&[
            (Client, record(22, &handshake(1, &hello))),
            (Server, [record(22, &handshake(2, &answer)), finish.clone()].concat()),
            (Client, finish.clone()),
        ]);
        assert_eq!(transaction.status, Status::Ok);
        field(&transaction, "tls.detailed.resumption_method").and_then(Value::as_text).map(str::to_owned)
    };
    assert_eq!(resume(&[], &[1; 32]).as_deref(), Some("id"));
    assert_eq!(resume(&[9; 100], &[1; 32]).as_deref(), Some("ticket"));
    assert_eq!(resume(&[9; 100], &[]).as_deref(), Some("ticket"), "no key exchange");
    assert_eq!(resume(&[], &[2; 32]), None);
}

#[test]
fn nobody_answers() {
    let mut steps = tls_1_2();
    steps.truncate(1);
    let transaction = run_data(&steps);
    assert_eq!((transaction.status, transaction.incomplete), (Status::Error, Some(Incomplete::NoResponse)));
    assert_eq!(text(&transaction, "tls.version"), "1.2", "what the client offers");
}

#[test]
fn joined_within_the_handshake_and_after_it() {
    let steps: Vec<_> = tls_1_2().into_iter().map(|(sender, bytes)| Step::Data(sender, bytes)).collect();
    let transactions = run(false, &steps[1..]);
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].incomplete, Some(Incomplete::JoinedLate));
    assert_eq!(transactions[0].client, Client, "the server's hello tells");
    assert_eq!(text(&transactions[0], "tls.cipher"), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    let data = [Step::Data(Server, record(23, &[0; 70])), Step::Data(Client, record(23, &[0; 70]))];
    let transactions = run(false, &data);
    assert_eq!(
        (transactions[0].status, transactions[0].incomplete),
        (Status::Ok, Some(Incomplete::JoinedLate))
    );
}

#[test]
fn a_gap_in_certificates() {
    let mut steps: Vec<_> = tls_1_2().into_iter().map(|(sender, bytes)| Step::Data(sender, bytes)).collect();
    let Step::Data(_, flight) = &steps[1] else { panic!("data") };
    let (head, tail) = (flight[..300].to_vec(), flight[400..].to_vec());
    steps.splice(1..2, [Step::Data(Server, head), Step::Gap(Server, 100), Step::Data(Server, tail)]);
    let transactions = run(true, &steps);
    assert_eq!(transactions[0].incomplete, Some(Incomplete::ResponseGap));
    assert_eq!(transactions[0].errors, ["Packet loss while capturing the response"]);
    assert_eq!(transactions[0].status, Status::Ok, "both went over to encryption: {:?}", transactions[0]);
    assert_eq!(text(&transactions[0], "tls.client.server_name"), "a.test");
}

#[test]
fn a_hello_that_is_cut() {
    let hello = &tls_1_2()[0].1;
    let cut = hello.len() - 4;
    let transactions = run(true, &[Step::Data(Client, hello[..cut].to_vec()), Step::Gap(Client, 4)]);
    assert_eq!(transactions[0].incomplete, Some(Incomplete::RequestGap));
    assert_eq!(transactions[0].errors, ["Packet loss while capturing the request"]);
    assert_eq!(text(&transactions[0], "tls.client.server_name"), "a.test", "what is there is reported");
    assert_eq!(field(&transactions[0], "tls.client.ja3"), None, "but no fingerprint of half a hello");
}

#[test]
fn the_same_mistake_over_and_over() {
    let hellos = record(22, &handshake(1, &[]).repeat(4096));
    let longest = [&[11, 0xff, 0xff, 0xff][..], &[0; 100]].concat();
    let certificates = record(22, &longest);
    let transaction = run_data(&[(Client, hellos.clone()), (Client, hellos), (Server, certificates)]);
    assert_eq!(transaction.incomplete, Some(Incomplete::Malformed));
    assert_eq!(
        transaction.errors,
        ["Malformed ClientHello", "handshake message 11 is longer than 262144 bytes"],
        "each is told once"
    );
}

#[test]
fn a_long_hello_is_not_read_again_for_each_record() {
    let others: Vec<(u16, &[u8])> = (1000..9000).map(|kind| (kind, &[][..])).collect();
    let version: (u16, &[u8]) = (43, &[3, 4]);
    let hello = handshake(2, &server_hello(0x1301, &[&others[..], &[version]].concat()));
    let mut steps: Vec<_> = hello.chunks(16_000).map(|part| (Server, record(22, part))).collect();
    steps.insert(0, (Client, record(22, &handshake(1, &client_hello(&[0x1301], &[version])))));
    let mut connection = Connection::new(&Arc::new(Options::default()), &flow(true));
    let (flow, mut transactions) = (flow(true), Vec::new());
    let mut context = Context::new(&flow, &mut transactions);
    let mut send = |sender, bytes: &[u8]| {
        connection.data(Chunk { sender, bytes, at: Moment::default() }, &mut context);
    };
    for (sender, bytes) in &steps {
        send(*sender, bytes);
    }
    let before = extension::WALKS.get();
    let records = [record(20, &[1]), record(23, &[0; 10])].concat();
    send(Client, &records.repeat(1000));
    let walks = extension::WALKS.get() - before;
    assert!(walks < 50, "those of the transaction, for the client gave up: {walks}");
}

#[test]
fn every_prefix_every_hole_every_late_join() {
    for steps in [tls_1_2(), tls_1_3(53)] {
        let bytes: usize = steps.iter().map(|(_, bytes)| bytes.len()).sum();
        for cut in 0..=bytes {
            let (mut before, mut after, mut holed) = (Vec::new(), Vec::new(), Vec::new());
            let mut at = 0;
            for (sender, data) in &steps {
                let split = cut.saturating_sub(at).min(data.len());
                at += data.len();
                before.push(Step::Data(*sender, data[..split].to_vec()));
                after.push(Step::Data(*sender, data[split..].to_vec()));
                holed.push(Step::Data(*sender, data[..split].to_vec()));
                if split < data.len() {
                    let hole = (data.len() - split).min(50);
                    if at - data.len() <= cut {
                        holed.push(Step::Gap(*sender, hole as u64));
                        holed.push(Step::Data(*sender, data[split + hole..].to_vec()));
                    } else {
                        holed.push(Step::Data(*sender, data[split..].to_vec()));
                    }
                }
            }
            assert!(run(true, &before).len() <= 1);
            assert!(run(false, &after).len() <= 1);
            assert!(run(true, &after).len() <= 1);
            let holed = run(true, &holed);
            assert_eq!(holed.len(), 1);
        }
    }
}

#[test]
fn changed_bytes() {
    let steps = tls_1_2();
    for (number, (_, bytes)) in steps.iter().enumerate() {
        for (at, byte) in bytes.iter().enumerate() {
            for value in [0xff, byte ^ 1] {
                let mut changed = steps.clone();
                changed[number].1[at] = value;
                run_data(&changed);
            }
        }
    }
}

#[test]
fn detection() {
    let dissector = Tls { options: Arc::default() };
    let flow = flow(true);
    let detect = |bytes: [&[u8]; 2]| {
        dissector.detect(&Sample { flow: &flow, bytes, first: Client, from_start: [true; 2] })
    };
    let hello = &tls_1_2()[0].1;
    assert_eq!(detect([hello, &[]]), Detection::Certain);
    assert_eq!(detect([&hello[..3], &[]]), Detection::More);
    assert_eq!(detect([&hello[..6], &[]]), Detection::More);
    assert_eq!(detect([b"GET / HTTP/1.1", &[]]), Detection::No);
    assert_eq!(detect([&record(23, &[0; 50]), &[]]), Detection::Port);
    assert_eq!(detect([&[], &record(21, &[2, 40])]), Detection::Likely);
    assert_eq!(detect([&[22], &[]]), Detection::More);
}
