//! Whole connections, from bytes to transactions.

use super::super::testing::{CLIENT, Event, SERVER, client, run, run_with, server, torture};
use super::super::{Incomplete, Status, Transaction, Value};
use super::PROTOCOL;
use super::pending::{PENDING_BYTES_MAX, PENDING_MAX};

/// A packet with its header.
pub(super) fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(sequence);
    bytes.extend(body);
    bytes
}

pub(super) fn packets(first_sequence: u8, bodies: &[&[u8]]) -> Vec<u8> {
    (bodies.iter().enumerate()).flat_map(|(index, body)| packet(first_sequence + index as u8, body)).collect()
}

pub(super) fn query(text: &str) -> Event {
    client(&packet(0, &[b"\x03", text.as_bytes()].concat()))
}

pub(super) fn column(name: &str, field_type: u8) -> Vec<u8> {
    let mut body = b"\x03def\x04shop\x01p\x08products".to_vec();
    body.push(name.len() as u8);
    body.extend(name.as_bytes());
    body.push(name.len() as u8);
    body.extend(name.as_bytes());
    body.extend([0x0c, 0x21, 0, 0xff, 0, 0, 0, field_type, 0, 0, 0, 0, 0]);
    body
}

pub(super) const EOF: &[u8] = b"\xfe\0\0\x02\0";
pub(super) const OK: &[u8] = b"\0\x02\x05\x02\0\0\0";
const MORE: &[u8] = b"\0\x01\0\x0a\0\0\0";

/// Two columns, an EOF, the rows, an EOF.
fn result(rows: &[&[u8]]) -> Event {
    let (id, name) = (column("id", 3), column("name", 0xfd));
    let mut bodies: Vec<&[u8]> = vec![b"\x02", &id, &name, EOF];
    bodies.extend(rows);
    bodies.push(EOF);
    server(&packets(1, &bodies))
}

pub(super) fn greeting(capabilities: u32) -> Event {
    let [low0, low1, high0, high1] = capabilities.to_le_bytes();
    let mut body = b"\x0a10.11.6-MariaDB\0\x07\0\0\0abcdefgh\0".to_vec();
    body.extend([low0, low1, 33, 2, 0, high0, high1, 21]);
    body.extend([0; 10]);
    body.extend(b"123456789012\0mysql_native_password\0");
    server(&packet(0, &body))
}

pub(super) fn login(capabilities: u32) -> Event {
    let mut body = capabilities.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 1, 33]);
    body.extend([0; 23]);
    if capabilities & 0x800 == 0 {
        body.extend(b"app\0\x03xyzshop\0mysql_native_password\0");
    }
    client(&packet(1, &body))
}

/// PROTOCOL_41, CONNECT_WITH_DB, SECURE_CONNECTION, PLUGIN_AUTH.
pub(super) const CAPABILITIES: u32 = 0x0008_8208;

pub(super) fn number(transaction: &Transaction, path: &str) -> Option<u64> {
    transaction.fields.value(path).and_then(Value::as_u64)
}

pub(super) fn word<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a str> {
    transaction.fields.value(path).and_then(Value::as_text)
}

/// Without those that are rows of the table only.
fn documented(transactions: Vec<Transaction>) -> Vec<Transaction> {
    transactions.into_iter().filter(|transaction| !transaction.table_only).collect()
}

fn session() -> Vec<Event> {
    vec![
        greeting(CAPABILITIES),
        login(CAPABILITIES),
        server(&packet(2, OK)),
        query("select id, name from products p"),
        result(&[b"\x011\x03abc", b"\x012\xfb"]),
        query("  insert into products values (3, 'x')"),
        server(&packet(1, OK)),
        query("selct"),
        server(&packet(1, b"\xff\x28\x04#42000You have an error")),
        client(&packet(0, b"\x01")),
    ]
}

#[test]
fn queries_with_their_answers() {
    let all = run_with(&PROTOCOL, true, "send_request = true\nsend_response = true", &session());
    let methods: Vec<_> = all.iter().map(|one| one.method.as_deref().unwrap()).collect();
    assert_eq!(methods, ["LOGIN", "SELECT", "INSERT", "SELCT", "QUIT"]);
    assert!(all.iter().all(|one| one.incomplete.is_none()), "{all:?}");
    let [login, select, insert, wrong, _] = &all[..] else { unreachable!() };
    assert_eq!(word(login, "mysql.user"), Some("app"));
    assert_eq!(word(login, "mysql.server_version"), Some("10.11.6-MariaDB"));
    assert_eq!(word(select, "mysql.database"), Some("shop"));
    assert_eq!(word(select, "path"), Some("shop.products"));
    assert_eq!((number(select, "mysql.num_rows"), number(select, "mysql.num_fields")), (Some(2), Some(2)));
    assert_eq!(select.response_text.as_deref(), Some("id,name\n1,abc\n2,NULL\n"));
    assert_eq!(select.request_text.as_deref(), Some("select id, name from products p"));
    assert_eq!(select.request.unwrap().bytes, 36);
    assert_eq!(insert.query.as_deref(), Some("insert into products values (3, 'x')"));
    assert_eq!(
        (number(insert, "mysql.affected_rows"), number(insert, "mysql.insert_id")),
        (Some(2), Some(5))
    );
    assert_eq!(wrong.status, Status::Error);
    assert_eq!(number(wrong, "mysql.error_code"), Some(1064));
    assert_eq!(word(wrong, "mysql.error_message"), Some("42000: You have an error"));
    assert_eq!(documented(all).len(), 3);
}

#[test]
fn cut_holed_and_joined_late() {
    torture(&PROTOCOL, &session());
    torture(&PROTOCOL, &prepared());
}

fn prepared() -> Vec<Event> {
    let (parameter, id) = (column("?", 0xfd), column("id", 3));
    vec![
        greeting(CAPABILITIES),
        login(CAPABILITIES),
        server(&packet(2, OK)),
        client(&packet(0, b"\x16select id from products p where name = ?")),
        server(&packets(1, &[b"\0\x07\0\0\0\x01\0\x01\0\0\0\0", &parameter, EOF, &id, EOF])),
        client(&packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x03abc")),
        server(&packets(1, &[b"\x01", &id, EOF, b"\0\0\x09\0\0\0", EOF])),
        client(&packet(0, b"\x19\x07\0\0\0")),
        client(&packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x03abc")),
        server(&packet(1, b"\xff\xdb\x04#HY000Unknown prepared statement handler")),
    ]
}

#[test]
fn statements_are_remembered_for_the_statement_timeout() {
    const SECOND_NS: i64 = 1_000_000_000;
    let execution = || client(&packet(0, b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x03abc"));
    let answer = || server(&packet(1, OK));
    let mut events = prepared();
    events.truncate(5);
    // What counts is the time since the last use, not since the preparation.
    for pause_ns in [0, 50 * SECOND_NS, 50 * SECOND_NS, 61 * SECOND_NS] {
        events.extend([Event::Pause(pause_ns), execution(), answer()]);
    }
    let all = documented(run_with(&PROTOCOL, true, "statement_timeout = \"1m\"", &events));
    let queries: Vec<_> = all.iter().skip(1).map(|one| one.query.as_deref().unwrap()).collect();
    let known = "select id from products p where name = ?";
    assert_eq!(queries, [known, known, known, "Request Execute Statement"]);
    assert_eq!(all[4].errors, ["The actual query being used is unknown"]);
    let all = documented(run(&PROTOCOL, &events));
    assert!(
        all.iter().skip(1).all(|one| one.query.as_deref() == Some(known)),
        "an hour unless told otherwise"
    );
}

#[test]
fn prepared_statements_and_their_parameters() {
    let all = run_with(&PROTOCOL, true, "send_response = true", &prepared());
    let all = documented(all);
    let [prepare, execute, closed] = &all[..] else { panic!("{all:?}") };
    assert_eq!(prepare.method.as_deref(), Some("SELECT"));
    assert_eq!(word(prepare, "mysql.command"), Some("STMT_PREPARE"));
    assert_eq!(number(prepare, "mysql.statement_id"), Some(7));
    assert_eq!(execute.query.as_deref(), Some("select id from products p where name = ?"));
    assert_eq!(execute.fields.value("params"), Some(&Value::list(["abc"])));
    assert_eq!(number(execute, "mysql.num_rows"), Some(1));
    assert_eq!(execute.response_text.as_deref(), Some("id\n9\n"));
    assert_eq!(closed.query.as_deref(), Some("Request Execute Statement"));
    assert_eq!(closed.errors, ["The actual query being used is unknown"]);
    assert_eq!(closed.fields.value("params"), Some(&Value::list(["abc"])), "told by the bytes alone");
    assert_eq!(closed.status, Status::Error);
}

#[test]
fn without_eof_packets() {
    const DEPRECATE_EOF: u32 = CAPABILITIES | 1 << 24;
    const END: &[u8] = b"\xfe\0\0\x02\0\0\0";
    let (parameter, id) = (column("?", 0xfd), column("id", 3));
    let events = [
        client(&packet(0, b"\x16select id from products p where name = ?")),
        server(&packets(1, &[b"\0\x07\0\0\0\x01\0\x01\0\0\0\0", &parameter, &id])),
        query("select id from products"),
        server(&packets(1, &[b"\x01", &id, b"\x011", END])),
        query("select id from products where 0"),
        server(&packets(1, &[b"\x01", &id, END])),
    ];
    let mut whole = vec![greeting(DEPRECATE_EOF), login(DEPRECATE_EOF), server(&packet(2, OK))];
    whole.extend(events.clone());
    for (known, events) in [(true, &whole[..]), (false, &events)] {
        let all = documented(run_with(&PROTOCOL, known, "", events));
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all.iter().all(|one| one.incomplete.is_none()), "{all:?}");
        assert_eq!(number(&all[1], "mysql.num_rows"), Some(1));
        assert_eq!(number(&all[2], "mysql.num_rows"), Some(0));
    }
}

#[test]
fn several_results() {
    let id = column("id", 3);
    let more_eof: &[u8] = b"\xfe\0\0\x0a\0";
    let events = [
        query("update products set x = 1; select id from products"),
        server(&packets(1, &[MORE, b"\x01", &id, EOF, b"\x011", b"\x012", more_eof, OK])),
        query("select 2"),
        server(&packet(1, OK)),
    ];
    let all = run_with(&PROTOCOL, false, "", &events);
    assert_eq!(all.len(), 2);
    assert_eq!((number(&all[0], "mysql.num_results"), number(&all[0], "mysql.num_rows")), (Some(3), Some(2)));
    assert_eq!(number(&all[0], "mysql.affected_rows"), Some(3));
}

#[test]
fn a_file_of_the_client() {
    let events = [
        query("load data local infile 'x.csv' into table products"),
        server(&packet(1, b"\xfbx.csv")),
        client(&packets(2, &[b"1,a\n", b"2,b\n", b""])),
        server(&packet(5, OK)),
    ];
    let all = run_with(&PROTOCOL, false, "", &events);
    let [load] = &all[..] else { panic!("{all:?}") };
    assert_eq!(word(load, "mysql.local_infile"), Some("x.csv"));
    assert_eq!(number(load, "mysql.affected_rows"), Some(2));
    assert_eq!(load.request.unwrap().bytes, 4 + 51 + 3 * 4 + 8);
}

#[test]
fn packets_of_16_mebibytes() {
    const MAX: usize = 0xff_ffff;
    let text = format!("insert into blobs values ('{}", "x".repeat(MAX + 10));
    let body = [b"\x03", text.as_bytes()].concat();
    let events = [
        client(&packet(0, &body[..MAX])),
        client(&packet(1, &body[MAX..])),
        server(&packet(2, OK)),
        query("select 1"),
        server(&packet(1, OK)),
    ];
    let all = run_with(&PROTOCOL, false, "", &events);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].request.unwrap().bytes, body.len() as u64 + 8);
    assert_eq!(all[0].query.as_ref().unwrap().len(), super::connection::PACKET_KEPT_MAX - 1);
    assert_eq!(all[0].errors, ["The query is longer than what is kept of it"]);
    assert_eq!(all[1].query.as_deref(), Some("select 1"));
}

#[test]
fn a_gap_in_an_answer() {
    let id = column("id", 3);
    let answer = packets(1, &[b"\x01", &id, EOF, b"\x09aaaaaaaaa", b"\x09bbbbbbbbb", EOF]);
    let row = answer.len() - 2 * 14 - 9;
    let events = |from: usize, to: usize| {
        vec![
            query("select id from products"),
            server(&answer[..from]),
            Event::Gap(SERVER, (to - from) as u64),
            server(&answer[to..]),
            query("select 2"),
            server(&packet(1, OK)),
        ]
    };
    // Inside a row: it is known where the next one begins.
    let all = run_with(&PROTOCOL, false, "", &events(row + 6, row + 9));
    assert_eq!(number(&all[0], "mysql.num_rows"), Some(2));
    // Over a row's end: the rest can't be told.
    let lost = run_with(&PROTOCOL, false, "", &events(row + 6, row + 16));
    assert_eq!(number(&lost[0], "mysql.num_rows"), Some(0));
    for all in [all, lost] {
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0].incomplete, Some(Incomplete::ResponseGap));
        assert_eq!(all[0].status, Status::Ok);
        assert_eq!(all[0].errors, ["Packet loss while capturing the response"]);
        assert_eq!(all[1].incomplete, None);
    }
}

#[test]
fn a_gap_in_a_query() {
    let bytes = packet(0, b"\x03select 1 from products where id = 7");
    let events = [
        client(&bytes[..12]),
        Event::Gap(CLIENT, 6),
        client(&bytes[18..]),
        server(&packet(1, OK)),
        query("select 2"),
        server(&packet(1, OK)),
    ];
    let all = run(
        &PROTOCOL,
        &[vec![greeting(CAPABILITIES), login(CAPABILITIES), server(&packet(2, OK))], events.to_vec()]
            .concat(),
    );
    let all = documented(all);
    assert_eq!(all[0].query.as_deref(), Some("select"));
    assert_eq!(all[0].incomplete, Some(Incomplete::RequestGap));
    assert_eq!(all[1].incomplete, None);
}

#[test]
fn tls_ends_what_can_be_read() {
    let capabilities = CAPABILITIES | 0x800;
    let events = [
        greeting(capabilities),
        login(capabilities),
        client(b"\x16\x03\x01\x02\x00\x01"),
        server(&[0x16; 99]),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].fields.value("mysql.encrypted"), Some(&Value::Bool(true)));
}

#[test]
fn a_login_that_fails_or_is_refused() {
    let denied = packet(2, b"\xff\x15\x04#28000Access denied");
    let all = run(&PROTOCOL, &[greeting(CAPABILITIES), login(CAPABILITIES), server(&denied)]);
    assert_eq!((all.len(), all[0].status), (1, Status::Error));
    assert_eq!(word(&all[0], "mysql.error_message"), Some("28000: Access denied"));
    let all = run(&PROTOCOL, &[server(&packet(0, b"\xff\x10\x04Too many connections"))]);
    assert_eq!((all.len(), all[0].status), (1, Status::Error));
}

#[test]
fn another_method_of_authentication() {
    let events = [
        greeting(CAPABILITIES),
        login(CAPABILITIES),
        server(&packet(2, b"\xfeclient_ed25519\0challenge")),
        client(&packet(3, b"answer")),
        server(&packet(4, OK)),
        query("select 1"),
        server(&packet(1, OK)),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].query.as_deref(), Some("select 1"));
}

#[test]
fn the_compressed_protocol() {
    let capabilities = CAPABILITIES | 0x20;
    let wrapped = |sequence: u8, plain: &[u8]| {
        use std::io::Read;
        let mut body = Vec::new();
        flate2::read::ZlibEncoder::new(plain, flate2::Compression::fast()).read_to_end(&mut body).unwrap();
        let mut bytes = (body.len() as u32).to_le_bytes()[..3].to_vec();
        bytes.push(sequence);
        bytes.extend(&(plain.len() as u32).to_le_bytes()[..3]);
        bytes.extend(body);
        bytes
    };
    let Event::Data(_, question) = query("select 1") else { unreachable!() };
    let Event::Data(_, answer) = result(&[b"\x011\x01a"]) else { unreachable!() };
    let events = [
        greeting(capabilities),
        login(capabilities),
        server(&packet(2, OK)),
        client(&wrapped(0, &question)),
        server(&wrapped(1, &answer)),
        client(&wrapped(0, &question)),
        Event::Gap(SERVER, 30),
        client(&wrapped(0, &question)),
        server(&wrapped(1, &answer)),
    ];
    let all = run(&PROTOCOL, &events);
    assert_eq!(word(&all[0], "mysql.compression"), Some("zlib"));
    let [first, lost, last] = &all[1..] else { panic!("{all:?}") };
    assert_eq!(number(first, "mysql.num_rows"), Some(1));
    assert_eq!(lost.incomplete, Some(Incomplete::ResponseGap));
    assert_eq!(number(last, "mysql.num_rows"), Some(1));
    torture(&PROTOCOL, &events[..5]);
}

#[test]
fn answers_that_come_too_late_or_never() {
    let events = [
        query("select sleep(11)"),
        Event::Pause(11_000_000_000),
        server(&packet(1, OK)),
        query("select 2"),
        server(&packet(1, b"\xff\x28\x04#42000no")),
        query("select 3"),
    ];
    let all = run_with(&PROTOCOL, false, "", &events);
    let ends: Vec<_> = all.iter().map(|one| (one.query.as_deref().unwrap(), one.incomplete)).collect();
    assert_eq!(
        ends,
        [
            ("select sleep(11)", Some(Incomplete::NoResponse)),
            ("select 2", None),
            ("select 3", Some(Incomplete::NoResponse))
        ]
    );
    assert_eq!(all[1].status, Status::Error);
}

#[test]
fn questions_without_end_are_bounded() {
    let events: Vec<_> = (0..PENDING_MAX + 10).map(|_| query("select 1")).collect();
    let all = run_with(&PROTOCOL, false, "", &events);
    assert_eq!(all.len(), PENDING_MAX + 10);
    assert_eq!(all.iter().filter(|one| one.incomplete == Some(Incomplete::Limit)).count(), PENDING_MAX + 1);
    let long = query(&format!("select '{}'", "x".repeat(90_000)));
    let all = run_with(&PROTOCOL, false, "", &vec![long; PENDING_BYTES_MAX / 90_000 + 1]);
    assert!(all.iter().filter(|one| one.incomplete == Some(Incomplete::Limit)).count() > 1);
}

#[test]
fn attributes_of_a_query() {
    let capabilities = CAPABILITIES | 1 << 27;
    let body = b"\x03\x01\x01\x00\x01\xfd\x00\x04name\x05valueselect 1";
    let events = [
        greeting(capabilities),
        login(capabilities),
        server(&packet(2, OK)),
        client(&packet(0, body)),
        server(&packet(1, OK)),
        client(&packet(0, b"\x03\x00\x01select 2")),
        server(&packet(1, OK)),
    ];
    let all = documented(run(&PROTOCOL, &events));
    assert_eq!(all[0].query.as_deref(), Some("select 1"));
    assert_eq!(all[1].query.as_deref(), Some("select 2"));
}
