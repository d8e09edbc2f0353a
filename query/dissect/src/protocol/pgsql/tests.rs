//! Whole connections, from bytes to transactions.

use super::super::testing::{CLIENT, Event, SERVER, client, run, run_with, server, torture};
use super::super::{Incomplete, Status, Transaction, Value};
use super::PROTOCOL;
use super::queue::AWAITED_MAX;

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(super) fn messages(all: &[(u8, &[u8])]) -> Vec<u8> {
    all.iter().flat_map(|(kind, body)| message(*kind, body)).collect()
}

pub(super) fn startup() -> Event {
    let body = b"\0\x03\0\0user\0me\0database\0shop\0application_name\0psql\0\0";
    let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend(body);
    client(&bytes)
}

const READY: (u8, &[u8]) = (b'Z', b"I");

pub(super) fn welcome() -> Event {
    server(&messages(&[
        (b'R', b"\0\0\0\0"),
        (b'S', b"server_version\x0015.16\0"),
        (b'K', b"\0\0\x01\0\0\0\0\x05"),
        READY,
    ]))
}

fn query(text: &str) -> Event {
    client(&message(b'Q', &[text.as_bytes(), b"\0"].concat()))
}

const ONE_COLUMN: (u8, &[u8]) = (b'T', b"\0\x01id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0");
const BINARY_COLUMN: (u8, &[u8]) = (b'T', b"\0\x01id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01");
const ROW: (u8, &[u8]) = (b'D', b"\0\x01\0\0\0\x027\x37");
const PARSED: (u8, &[u8]) = (b'1', b"");
const BOUND: (u8, &[u8]) = (b'2', b"");
const SYNC: (u8, &[u8]) = (b'S', b"");
const ERROR: (u8, &[u8]) = (b'E', b"SERROR\0C42P01\0Mno such table\0\0");

fn number(transaction: &Transaction, path: &str) -> Option<u64> {
    transaction.fields.value(path).and_then(Value::as_u64)
}

fn word<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a str> {
    transaction.fields.value(path).and_then(Value::as_text)
}

fn documented(transactions: Vec<Transaction>) -> Vec<Transaction> {
    transactions.into_iter().filter(|transaction| !transaction.table_only).collect()
}

fn queries(transactions: &[Transaction]) -> Vec<&str> {
    transactions.iter().map(|one| one.query.as_deref().unwrap_or("-")).collect()
}

fn simple() -> Vec<Event> {
    vec![
        startup(),
        welcome(),
        query("select id from products;"),
        server(&messages(&[ONE_COLUMN, ROW, ROW, (b'C', b"SELECT 2\0"), READY])),
        query("select ';'; insert into t values (1); selct; select 3"),
        server(&messages(&[ONE_COLUMN, ROW, (b'C', b"SELECT 1\0"), (b'C', b"INSERT 0 1\0"), ERROR, READY])),
        query(""),
        server(&messages(&[(b'I', b""), READY])),
        client(&message(b'X', b"")),
    ]
}

#[test]
fn simple_queries() {
    let all = run_with(&PROTOCOL, true, "send_request = true\nsend_response = true", &simple());
    let [login, select, quoted, insert, wrong, never, empty] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((word(login, "pgsql.user"), word(login, "pgsql.server_version")), (Some("me"), Some("15.16")));
    assert_eq!(number(login, "pgsql.backend_pid"), Some(256));
    assert_eq!(select.method.as_deref(), Some("SELECT"));
    assert_eq!(select.query.as_deref(), Some("select id from products"));
    assert_eq!((number(select, "pgsql.num_rows"), number(select, "pgsql.num_fields")), (Some(2), Some(1)));
    assert_eq!(select.response_text.as_deref(), Some("id\n77\n77\n"));
    assert_eq!(select.request.unwrap().bytes, 30);
    assert_eq!(quoted.query.as_deref(), Some("select ';'"));
    assert_eq!((insert.method.as_deref(), number(insert, "pgsql.affected_rows")), (Some("INSERT"), Some(1)));
    assert_eq!((wrong.status, word(wrong, "pgsql.error_code")), (Status::Error, Some("42P01")));
    assert_eq!(word(wrong, "pgsql.error_message"), Some("no such table"));
    assert_eq!(word(wrong, "pgsql.error_severity"), Some("ERROR"));
    assert_eq!(never.errors, ["Not executed: another statement of the batch failed"]);
    assert_eq!((never.query.as_deref(), never.incomplete), (Some("select 3"), Some(Incomplete::NoResponse)));
    assert_eq!((empty.query.as_deref(), empty.incomplete), (Some(""), None));
}

fn extended() -> Vec<Event> {
    let parse = messages(&[
        (b'P', b"s1\0select id from products where name = $1 and n = $2\0\0\x02\0\0\0\x19\0\0\0\x17"),
        (b'D', b"Ss1\0"),
        SYNC,
    ]);
    let execute = messages(&[
        (b'B', b"\0s1\0\0\x02\0\0\0\x01\0\x02\0\0\0\x03abc\0\0\0\x04\0\0\0\x05\0\x01\0\x01"),
        (b'D', b"P\0"),
        (b'E', b"\0\0\0\0\0"),
        SYNC,
    ]);
    vec![
        startup(),
        welcome(),
        client(&parse),
        server(&messages(&[PARSED, (b't', b"\0\x02\0\0\0\x19\0\0\0\x17"), ONE_COLUMN, READY])),
        client(&execute),
        server(&messages(&[
            BOUND,
            BINARY_COLUMN,
            (b'D', b"\0\x01\0\0\0\x04\0\0\0\x09"),
            (b'C', b"SELECT 1\0"),
            READY,
        ])),
    ]
}

#[test]
fn prepared_statements_and_their_parameters() {
    let all = run_with(&PROTOCOL, true, "send_response = true", &extended());
    let [_, prepare, execute] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((word(prepare, "pgsql.protocol"), prepare.table_only), (Some("prepare"), true));
    assert_eq!(prepare.incomplete, None);
    assert_eq!(execute.query.as_deref(), Some("select id from products where name = $1 and n = $2"));
    assert_eq!(execute.fields.value("params"), Some(&Value::list(["abc", "5"])));
    assert_eq!(word(execute, "pgsql.statement_name"), Some("s1"));
    assert_eq!(execute.response_text.as_deref(), Some("id\n9\n"));
    assert_eq!(execute.request.unwrap().bytes, 36 + 7 + 10 + 5);
    // The description, the row and the tag: not that it was bound, and not that the server is ready.
    assert_eq!(execute.response.unwrap().bytes, 28 + 15 + 14);
}

#[test]
fn cut_holed_and_joined_late() {
    torture(&PROTOCOL, &simple());
    torture(&PROTOCOL, &extended());
    torture(&PROTOCOL, &copy());
}

/// `Parse`, `Bind`, `Execute` of an unnamed statement.
pub(super) fn execute(text: &str) -> Vec<u8> {
    messages(&[
        (b'P', &[b"\0", text.as_bytes(), b"\0\0\0"].concat()),
        (b'B', b"\0\0\0\0\0\0\0\0"),
        (b'E', b"\0\0\0\0\0"),
    ])
}

#[test]
fn pipelined_statements() {
    let three =
        [execute("begin"), execute("update t set x = 1"), execute("commit"), message(b'S', b"")].concat();
    let answers = messages(&[
        PARSED,
        BOUND,
        (b'C', b"BEGIN\0"),
        PARSED,
        BOUND,
        (b'C', b"UPDATE 3\0"),
        PARSED,
        BOUND,
        (b'C', b"COMMIT\0"),
        READY,
    ]);
    let all = run(
        &PROTOCOL,
        &[startup(), welcome(), client(&three), client(&three), server(&answers), server(&answers)],
    );
    let all = documented(all);
    assert_eq!(queries(&all), ["begin", "update t set x = 1", "commit"].repeat(2));
    assert!(all.iter().all(|one| one.incomplete.is_none()));
    assert_eq!(number(&all[4], "pgsql.affected_rows"), Some(3));

    // The second fails: the third is never executed, the next batch is.
    let failing = messages(&[PARSED, BOUND, (b'C', b"BEGIN\0"), ERROR, READY]);
    let all = documented(run(
        &PROTOCOL,
        &[startup(), welcome(), client(&three), client(&three), server(&failing), server(&answers)],
    ));
    assert_eq!((all[1].status, all[1].incomplete), (Status::Error, None));
    assert_eq!(all[2].errors, ["Not executed: another statement of the batch failed"]);
    assert!(all[3..].iter().all(|one| one.incomplete.is_none()));
    assert_eq!(all.len(), 6);
}

#[test]
fn a_driver_makes_settings() {
    let set = [execute("SET extra_float_digits = 3"), message(b'S', b"")].concat();
    let done = server(&messages(&[PARSED, BOUND, (b'C', b"SET\0"), READY]));
    let all = run(&PROTOCOL, &[startup(), welcome(), client(&set), done]);
    assert_eq!((all.len(), all[1].table_only), (2, true));
}

fn copy() -> Vec<Event> {
    vec![
        startup(),
        welcome(),
        query("copy t from stdin"),
        server(&message(b'G', b"\0\0\x01\0\0")),
        client(&messages(&[(b'd', b"1\n"), (b'd', b"2\n"), (b'c', b"")])),
        server(&messages(&[(b'C', b"COPY 2\0"), READY])),
        query("copy t to stdout"),
        server(&messages(&[
            (b'H', b"\0\0\x01\0\0"),
            (b'd', b"1\n"),
            (b'd', b"2\n"),
            (b'c', b""),
            (b'C', b"COPY 2\0"),
            READY,
        ])),
    ]
}

#[test]
fn copies_both_ways() {
    let all = documented(run(&PROTOCOL, &copy()));
    assert_eq!((all[0].method.as_deref(), word(&all[0], "pgsql.copy")), (Some("COPY"), Some("in")));
    assert_eq!((all[1].method.as_deref(), word(&all[1], "pgsql.copy")), (Some("COPY"), Some("out")));
    assert!(all.iter().all(|one| number(one, "pgsql.affected_rows") == Some(2) && one.incomplete.is_none()));
    assert_eq!(all[0].request.unwrap().bytes, 23 + 2 * 7 + 5);
    assert_eq!(all[1].response.unwrap().bytes, 10 + 2 * 7 + 5 + 12);
}

#[test]
fn encryption_is_asked_for() {
    let wish = client(&[0, 0, 0, 8, 4, 210, 22, 47]);
    let refused = [vec![wish.clone(), server(b"N")], simple()].concat();
    assert_eq!(run(&PROTOCOL, &refused).len(), run(&PROTOCOL, &simple()).len());
    torture(&PROTOCOL, &refused);
    // Only the handshake of TCP is missing, and nobody said that this port is PostgreSQL's.
    let joined = run_with(&PROTOCOL, false, "ports = [1]", &refused);
    assert_eq!(queries(&joined), queries(&run(&PROTOCOL, &simple())));
    let granted = run(&PROTOCOL, &[wish.clone(), server(b"S"), client(b"\x16\x03\x01"), server(&[0x16; 40])]);
    assert_eq!(granted.len(), 1);
    assert_eq!(word(&granted[0], "pgsql.encryption"), Some("tls"));
    // A server from before encryption.
    let old = run(&PROTOCOL, &[wish, server(&messages(&[(b'E', b"SFATAL\0C0A000\0Munsupported\0\0")]))]);
    assert_eq!((old.len(), old[0].status), (1, Status::Error));
}

#[test]
fn logins_that_fail_and_cancellations() {
    let events = [
        startup(),
        server(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")),
        client(&message(b'p', b"SCRAM-SHA-256\0")),
        server(&message(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!((all.len(), all[0].status), (1, Status::Error));
    assert_eq!(word(&all[0], "pgsql.auth_method"), Some("SCRAM-SHA-256"));
    let all = run(&PROTOCOL, &[client(&[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, 0, 0, 0, 0, 5])]);
    assert_eq!((all[0].method.as_deref(), number(&all[0], "pgsql.backend_pid")), (Some("CANCEL"), Some(256)));
}

#[test]
fn an_error_closes_the_connection() {
    let bye = message(b'E', b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0");
    let all = run(&PROTOCOL, &[startup(), welcome(), server(&bye)]);
    assert_eq!((all[1].status, all[1].incomplete), (Status::Error, Some(Incomplete::NoRequest)));
    assert_eq!(word(&all[1], "pgsql.error_code"), Some("57P01"));
}

#[test]
fn gaps() {
    let answer = messages(&[ONE_COLUMN, ROW, ROW, (b'C', b"SELECT 2\0"), READY]);
    let events = |from: usize, to: usize| {
        vec![
            query("select id from products"),
            server(&answer[..from]),
            Event::Gap(SERVER, (to - from) as u64),
            server(&answer[to..]),
            query("select 2"),
            server(&messages(&[ONE_COLUMN, ROW, (b'C', b"SELECT 1\0"), READY])),
        ]
    };
    // Inside the first row, and over its end.
    for (from, to, rows) in [(28 + 8, 28 + 10, Some(2)), (28 + 8, 28 + 16, Some(0))] {
        let all = documented(run_with(&PROTOCOL, false, "", &events(from, to)));
        assert_eq!(queries(&all), ["select id from products", "select 2"]);
        assert_eq!(all[0].incomplete, Some(Incomplete::ResponseGap));
        assert_eq!(all[0].errors, ["Packet loss while capturing the response"]);
        assert_eq!(number(&all[0], "pgsql.num_rows"), rows);
        assert_eq!((all[1].incomplete, number(&all[1], "pgsql.num_rows")), (None, Some(1)));
    }
    let text = message(b'Q', b"select 1 from products\0");
    let events = [client(&text[..12]), Event::Gap(CLIENT, 6), client(&text[18..]), server(&answer)];
    let all = run(&PROTOCOL, &[&[startup(), welcome()], &events[..]].concat());
    assert_eq!((all[1].query.as_deref(), all[1].incomplete), (Some("select"), Some(Incomplete::RequestGap)));
}

#[test]
fn statements_from_before_the_capture() {
    let execute = messages(&[(b'B', b"\0s1\0\0\0\0\x01\0\0\0\x0242\0\0"), (b'E', b"\0\0\0\0\0"), SYNC]);
    let answer = messages(&[BOUND, ROW, (b'C', b"SELECT 1\0"), READY]);
    let all = run_with(&PROTOCOL, false, "", &[client(&execute), server(&answer)]);
    assert_eq!((all[0].method.as_deref(), all[0].query.as_deref()), (Some("EXECUTE"), None));
    assert_eq!(all[0].fields.value("params"), Some(&Value::list(["42"])));
    assert_eq!(word(&all[0], "pgsql.statement_name"), Some("s1"));
    assert_eq!(all[0].errors, ["The actual query being used is unknown"]);
}

#[test]
fn answers_that_come_too_late() {
    let events = [
        query("select pg_sleep(11)"),
        Event::Pause(11_000_000_000),
        server(&messages(&[ONE_COLUMN, ROW, (b'C', b"SELECT 1\0"), READY])),
        query("selct"),
        server(&messages(&[ERROR, READY])),
    ];
    let all = run_with(&PROTOCOL, false, "", &events);
    assert_eq!(queries(&all), ["select pg_sleep(11)", "selct"]);
    assert_eq!(all[0].incomplete, Some(Incomplete::NoResponse));
    assert_eq!((all[1].incomplete, all[1].status), (None, Status::Error));
}

#[test]
fn questions_without_end_are_bounded() {
    let many = messages(&vec![(b'E', &b"\0\0\0\0\0"[..]); 1000]);
    let events: Vec<_> = (0..=AWAITED_MAX / 1000).map(|_| client(&many)).collect();
    let all = run_with(&PROTOCOL, false, "transaction_timeout = \"1h\"", &events);
    assert_eq!(all.len(), events.len() * 1000);
    assert!(all.iter().any(|one| one.incomplete == Some(Incomplete::Limit)));
}
