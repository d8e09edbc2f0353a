//! Whole connections.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::protocol::{
    Chunk, CommonOptions, Context, Endpoint, Incomplete, Moment, OptionTable, Status, Transaction, Value,
};

use Sender::{Originator as Client, Responder as Server};

/// What happens to a stream.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Sender, Vec<u8>),
    Gap(Sender, u64),
    End(Sender),
    /// Nothing for this many seconds.
    Wait(i64),
}

pub(super) fn sends(text: &str) -> Step {
    Step::Data(Client, text.as_bytes().to_vec())
}

pub(super) fn answers(text: &str) -> Step {
    Step::Data(Server, text.as_bytes().to_vec())
}

fn options(text: &str) -> Arc<Options> {
    let mut table = OptionTable::new("http", text.parse().unwrap());
    let common = CommonOptions::read(&mut table, &[80]).unwrap();
    Arc::new(Options::read(&common, &mut table).unwrap())
}

fn flow(originator_known: bool) -> Arc<Flow> {
    let end = |port| Endpoint { port, ..Endpoint::default() };
    Arc::new(Flow { originator: end(40_000), responder: end(80), originator_known, ..Flow::default() })
}

/// The transactions of a connection, and what was handed over to another protocol.
pub(super) fn run_all(
    options_text: &str,
    originator_known: bool,
    steps: &[Step],
) -> (Vec<Transaction>, Option<Vec<u8>>) {
    let flow = flow(originator_known);
    let mut transactions = Vec::new();
    let mut connection = Connection::new(&options(options_text), &flow);
    let mut context = Context::new(&flow, &mut transactions);
    let mut now_ns = 0;
    let mut handed_over = None;
    for step in steps {
        now_ns += 1;
        let at = Moment { ts_ns: now_ns, packet_id: now_ns as u64 };
        match step {
            Step::Data(_, bytes) if bytes.is_empty() => {}
            Step::Data(sender, bytes) => connection.data(Chunk { sender: *sender, bytes, at }, &mut context),
            Step::Gap(sender, len) => connection.gap(*sender, *len, at, &mut context),
            Step::End(sender) => connection.end(*sender, at, &mut context),
            Step::Wait(seconds) => now_ns += seconds * 1_000_000_000,
        }
        handed_over = context.handed_over.take();
        if handed_over.is_some() {
            break;
        }
    }
    connection.finish(&mut context);
    (transactions, handed_over)
}

pub(super) fn run(options_text: &str, steps: &[Step]) -> Vec<Transaction> {
    run_all(options_text, true, steps).0
}

pub(super) fn one(options_text: &str, steps: &[Step]) -> Transaction {
    let mut transactions = run(options_text, steps);
    assert_eq!(transactions.len(), 1, "{transactions:?}");
    transactions.remove(0)
}

fn value<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a Value> {
    transaction.fields.value(path)
}

fn text<'a>(transaction: &'a Transaction, path: &str) -> &'a str {
    value(transaction, path)
        .and_then(Value::as_text)
        .unwrap_or_else(|| panic!("no {path} in {transaction:?}"))
}

pub(super) fn number(transaction: &Transaction, path: &str) -> u64 {
    value(transaction, path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {transaction:?}"))
}

pub(super) fn queries(transactions: &[Transaction]) -> Vec<(&str, Option<u64>)> {
    let query = |transaction| -> (&str, Option<u64>) {
        let transaction: &Transaction = transaction;
        let status = value(transaction, "http.response.status_code").and_then(Value::as_u64);
        (transaction.query.as_deref().unwrap_or_default(), status)
    };
    transactions.iter().map(query).collect()
}

#[test]
fn an_exchange() {
    let request = "GET /a%20b/c.html?y=2&x=1 HTTP/1.1\r\nHost: a.test:8080\r\nUser-Agent: me\r\nReferer: http://r.test/\r\n\r\n";
    let response =
        "HTTP/1.1 404 Not Found\r\nContent-Type: Text/HTML; charset=x\r\nContent-Length: 4\r\n\r\nnope";
    let transaction = one("", &[sends(request), answers(&response[..50]), answers(&response[50..])]);
    assert_eq!((transaction.status, transaction.incomplete), (Status::Error, None));
    assert_eq!(transaction.method.as_deref(), Some("GET"));
    assert_eq!(transaction.query.as_deref(), Some("GET /a b/c.html"));
    assert_eq!(transaction.resource.as_deref(), Some("/a b/c.html"));
    assert_eq!(transaction.duration_ns(), Some(2));
    assert!(transaction.errors.is_empty());
    for (path, expected) in [
        ("http.version", "1.1"),
        ("http.request.referrer", "http://r.test/"),
        ("http.response.status_phrase", "not found"),
        ("http.response.headers.content-type", "Text/HTML; charset=x"),
        ("url.original", "/a%20b/c.html?y=2&x=1"),
        ("url.full", "http://a.test:8080/a%20b/c.html?x=1&y=2"),
        ("url.path", "/a b/c.html"),
        ("url.query", "x=1&y=2"),
        ("url.extension", "html"),
        ("url.domain", "a.test"),
        ("server.domain", "a.test"),
        ("user_agent.original", "me"),
    ] {
        assert_eq!(text(&transaction, path), expected, "{path}");
    }
    for (path, expected) in [
        ("http.request.bytes", request.len() as u64),
        ("http.request.body.bytes", 0),
        ("http.request.headers.content-length", 0),
        ("http.response.bytes", response.len() as u64),
        ("http.response.body.bytes", 4),
        ("http.response.status_code", 404),
        ("url.port", 8080),
    ] {
        assert_eq!(number(&transaction, path), expected, "{path}");
    }
    assert_eq!(
        value(&transaction, "http.request.headers.host"),
        None,
        "header fields are for those who ask for them"
    );
    assert_eq!((transaction.request_text, transaction.response_text), (None, None));
}

#[test]
fn pipelined_requests() {
    let steps = [
        sends(
            "GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\n\r\n",
        ),
        answers(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 201 x\r\nContent-Length: 9\r\n\r\n",
        ),
        answers("HTTP/1.1 204 x\r\n\r\nHTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n"),
    ];
    let transactions = run("", &steps);
    let expected =
        [("GET /1", Some(200)), ("HEAD /2", Some(201)), ("GET /3", Some(204)), ("GET /4", Some(304))];
    assert_eq!(queries(&transactions), expected);
    assert!(transactions.iter().all(|transaction| transaction.incomplete.is_none()));
    assert_eq!(number(&transactions[0], "http.response.body.bytes"), 3);
}

#[test]
fn interim_responses_are_no_answers() {
    let steps = [
        sends("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        answers("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        sends("ab"),
        answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let transaction = one("", &steps);
    assert_eq!(queries(std::slice::from_ref(&transaction)), [("POST /", Some(200))]);
    assert!(transaction.errors.is_empty() && transaction.incomplete.is_none());
    assert_eq!(number(&transaction, "http.request.body.bytes"), 2);
}

#[test]
fn a_response_before_the_end_of_the_request() {
    let steps = [
        sends("POST /1 HTTP/1.1\r\nContent-Length: 4\r\n\r\nab"),
        answers("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
        sends("cdGET /2 HTTP/1.1\r\n\r\n"),
        answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let transactions = run("", &steps);
    assert_eq!(queries(&transactions), [("POST /1", Some(413)), ("GET /2", Some(200))]);
    assert!(transactions.iter().all(|transaction| transaction.incomplete.is_none()), "{transactions:?}");
    assert_eq!(number(&transactions[0], "http.request.body.bytes"), 4);
}

#[test]
fn bodies_until_the_connection_ends() {
    let steps = [sends("GET / HTTP/1.0\r\n\r\n"), answers("HTTP/1.0 200 OK\r\n\r\nab"), answers("cd")];
    let cut = one("", &steps);
    assert_eq!(cut.incomplete, Some(Incomplete::Ended));
    let whole = one("", &[&steps[..], &[Step::End(Server)]].concat());
    assert_eq!((whole.incomplete, whole.status), (None, Status::Ok));
    assert_eq!(number(&whole, "http.response.body.bytes"), 4);
}

#[test]
fn tunnels_and_other_protocols() {
    let steps = [
        sends("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"),
        answers("HTTP/1.1 407 Auth\r\nContent-Length: 1\r\n\r\nx"),
        sends("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"),
        answers("HTTP/1.1 200 Established\r\nContent-Length: 7\r\n\r\n\x16\x03"),
    ];
    let (transactions, handed_over) = run_all("", true, &steps);
    assert_eq!(
        queries(&transactions),
        [("CONNECT b.test:443", Some(407)), ("CONNECT b.test:443", Some(200))]
    );
    assert_eq!(text(&transactions[0], "url.domain"), "b.test");
    assert_eq!(handed_over.as_deref(), Some(&b"\x16\x03"[..]));
    assert!(transactions.iter().all(|transaction| transaction.incomplete.is_none()));
    let steps = [
        sends("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
    ];
    let (transactions, handed_over) = run_all("", true, &steps);
    assert_eq!(queries(&transactions), [("GET /chat", Some(101))]);
    assert_eq!(handed_over.as_deref(), Some(&b""[..]));
}

#[test]
fn unmatched_ones() {
    let request = one("", &[sends("GET /1 HTTP/1.1\r\n\r\n")]);
    assert_eq!((request.status, request.incomplete), (Status::Error, Some(Incomplete::NoResponse)));
    assert_eq!(request.errors, ["Unmatched request"]);
    let cut = one("", &[sends("GET /1 HTTP/1.1\r\nHost: a.test\r\nAcc")]);
    assert_eq!((cut.query.as_deref(), cut.incomplete), (Some("GET /1"), Some(Incomplete::NoResponse)));
    assert_eq!(text(&cut, "url.domain"), "a.test");
    let response = one("", &[answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    assert_eq!((response.status, response.incomplete), (Status::Error, Some(Incomplete::NoRequest)));
    assert_eq!(response.errors, ["Unmatched response"]);
    assert_eq!(response.client, Client);
}

#[test]
fn a_response_after_the_timeout_belongs_to_no_request() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let steps = [
        sends("GET /1 HTTP/1.1\r\n\r\n"),
        Step::Wait(11),
        sends("GET /2 HTTP/1.1\r\n\r\n"),
        answers(answer),
        answers(answer),
    ];
    let transactions = run("", &steps);
    assert_eq!(queries(&transactions), [("GET /1", None), ("", Some(200)), ("GET /2", Some(200))]);
    assert_eq!(
        queries(&run("transaction_timeout = \"20s\"", &steps)),
        [("GET /1", Some(200)), ("GET /2", Some(200))]
    );
}

#[test]
fn headers_as_asked_for() {
    let steps = [
        sends(
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: A=1; b=\"2\"\r\nX: 1\r\nx: 2\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\r\n",
        ),
        answers("HTTP/1.1 204 x\r\nSet-Cookie: c=3; Path=/\r\nSet-Cookie: d=4; Path=/d\r\n\r\n"),
    ];
    let some = one("send_headers = [\"x\", \"Cookie\"]\nreal_ip_header = \"X-Forwarded-For\"", &steps);
    assert_eq!(text(&some, "http.request.headers.x"), "1, 2");
    assert_eq!(text(&some, "http.request.headers.cookie"), "A=1; b=\"2\"");
    assert_eq!(value(&some, "http.request.headers.host"), None);
    assert_eq!(text(&some, "network.forwarded_ip"), "192.0.2.7");
    let all = one("send_all_headers = true\nsplit_cookie = true", &steps);
    assert_eq!(text(&all, "http.request.headers.host"), "a");
    assert_eq!(text(&all, "http.request.headers.cookie.b"), "2");
    assert_eq!(text(&all, "http.response.headers.set-cookie.c"), "3");
    assert_eq!(text(&all, "http.response.headers.set-cookie.d"), "4");
    assert_eq!(value(&all, "network.forwarded_ip"), None);
}

#[test]
fn bodies_as_asked_for() {
    let form = "POST /f?pass=1&a=0 HTTP/1.1\r\nAuthorization: Basic x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 18\r\n\r\npass=secret&user=m";
    let steps = [
        sends(form),
        answers("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
    ];
    let plain = one("hide_keywords = [\"pass\"]", &steps);
    assert_eq!(text(&plain, "url.query"), "a=0&pass=xxxxx&user=m");
    assert_eq!(text(&plain, "url.original"), "/f?pass=xxxxx&a=0");
    assert_eq!(value(&plain, "http.request.body.content"), None);
    let options = "include_body_for = [\"html\"]\nsend_request = true\nsend_response = true\nredact_authorization = true";
    let bodies = one(options, &steps);
    assert_eq!(text(&bodies, "http.response.body.content"), "<html>");
    assert_eq!(value(&bodies, "http.request.body.content"), None);
    let request = bodies.request_text.unwrap();
    assert!(request.ends_with("\r\n\r\n") && request.contains("Authorization: *\r\n"), "{request}");
    assert!(bodies.response_text.unwrap().ends_with("\r\n\r\n<html>"));
    let trimmed = one("include_body_for = [\"html\"]\nmax_message_size = 3", &steps);
    assert_eq!(text(&trimmed, "http.response.body.content"), "<ht");
    assert_eq!(trimmed.incomplete, Some(Incomplete::Limit));
    assert_eq!(number(&trimmed, "http.response.body.bytes"), 6);
}

#[test]
fn compressed_bodies() {
    let body = zstd::encode_all(&b"plain text"[..], 1).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let steps = [sends("GET / HTTP/1.1\r\n\r\n"), answers(&head), Step::Data(Server, body.clone())];
    let decoded = one("include_body_for = [\"text\"]", &steps);
    assert_eq!(text(&decoded, "http.response.body.content"), "plain text");
    assert_eq!(number(&decoded, "http.response.body.bytes"), body.len() as u64);
    let as_sent = one("include_body_for = [\"text\"]\ndecode_body = false", &steps);
    assert_ne!(text(&as_sent, "http.response.body.content"), "plain text");
}

fn coded_form(body: &[u8]) -> Step {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    Step::Data(Client, [head.as_bytes(), &body].concat())
}

#[test]
fn a_coded_form_becomes_no_longer_than_others() {
    const FORM_LEN_MAX: usize = 64 * 1024;
    let answer = answers("HTTP/1.1 204 None\r\n\r\n");
    let form = one("", &[coded_form(&b"&a".repeat(1 << 20)), answer.clone()]);
    assert_eq!(text(&form, "url.query").len(), FORM_LEN_MAX / 2 * "a=&".len() - 1);
    assert_eq!(form.errors, ["Body not decoded to its end: gzip: it has more than 65536 bytes"]);
    assert_eq!(text(&one("", &[coded_form(b"b=2&a=1"), answer]), "url.query"), "a=1&b=2");
}

#[test]
fn coded_forms_wait_as_what_they_become() {
    let steps = vec![coded_form(&[b'a'; 64 * 1024]); 300];
    let transactions = run("", &steps);
    assert_eq!(transactions.len(), steps.len(), "none is lost");
    let dropped = transactions.iter().filter(|one| one.incomplete == Some(Incomplete::Limit)).count();
    // 64 KiB each, of the 10 MiB that may wait.
    assert!((140..=160).contains(&(steps.len() - dropped)), "{dropped}");
}

#[test]
fn too_many_requests_at_once() {
    let steps: Vec<_> = (0..20_010).map(|number| sends(&format!("GET /{number} HTTP/1.1\r\n\r\n"))).collect();
    let transactions = run("", &steps);
    assert_eq!(transactions.len(), steps.len(), "none is lost");
    assert_eq!(transactions[0].incomplete, Some(Incomplete::Limit));
}

#[test]
fn detection() {
    let dissector = Http { options: options("") };
    let flow = flow(true);
    let detect = |client: &[u8], server: &[u8], from_start| {
        dissector.detect(&Sample {
            flow: &flow,
            bytes: [client, server],
            first: Client,
            from_start: [from_start; 2],
        })
    };
    assert_eq!(detect(b"GET / HTTP/1.1\r\n", b"", true), Detection::Certain);
    assert_eq!(detect(b"GET /", b"", true), Detection::More);
    assert_eq!(detect(b"", b"HTTP/1.1 200 OK\r\n", true), Detection::Certain);
    assert_eq!(detect(b"\x16\x03\x01", b"", true), Detection::No);
    assert_eq!(detect(b"</html>", b"", false), Detection::Port);
}
