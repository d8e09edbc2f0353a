//! Small packets that ask for much: what comes of them stays within limits.

use std::io::Read;

use super::super::sql::REPEATED_NOTE;
use super::super::testing::{Event, SERVER, client, run, server};
use super::super::{Incomplete, Transaction, Value};
use super::PROTOCOL;
use super::tests::{CAPABILITIES, EOF, OK, column, greeting, login, number, packet, packets, query, word};

/// What the transactions of one packet may have of text that earlier packets brought, with room for what all have.
const TEXT_BYTES_MAX: usize = 20 << 20;

/// Transactions of one packet that is compressed.
const TRANSACTIONS_MAX: usize = 5000;

fn wrapped(sequence: u8, plain: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    flate2::read::ZlibEncoder::new(plain, flate2::Compression::best()).read_to_end(&mut body).unwrap();
    let mut bytes = (body.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(sequence);
    bytes.extend(&(plain.len() as u32).to_le_bytes()[..3]);
    bytes.extend(body);
    bytes
}

fn logged_in(capabilities: u32, then: &[Event]) -> Vec<Event> {
    [&[greeting(capabilities), login(capabilities), server(&packet(2, OK))], then].concat()
}

fn compressed(then: &[Event]) -> Vec<Event> {
    logged_in(CAPABILITIES | 0x20, then)
}

/// Bytes of all queries, verbs and parameters.
fn text_bytes(transactions: &[Transaction]) -> usize {
    let texts = |value: &Value| match value {
        Value::List(list) => list.iter().map(|one| 24 + one.as_text().map_or(0, str::len)).sum(),
        _ => 0,
    };
    (transactions.iter())
        .map(|one| {
            one.query.as_ref().map_or(0, String::len)
                + one.method.as_ref().map_or(0, |method| method.len())
                + word(one, "mysql.error_message").map_or(0, str::len)
                + one.fields.value("params").map_or(0, texts)
        })
        .sum()
}

#[test]
fn nothing_is_asked_after_goodbye() {
    let quit = packet(0, b"\x01");
    let all = run(&PROTOCOL, &logged_in(CAPABILITIES, &[client(&quit.repeat(1000))]));
    assert_eq!(all.len(), 2);
    let all = run(&PROTOCOL, &compressed(&[client(&wrapped(0, &quit.repeat(100_000)))]));
    assert_eq!(all.len(), 2);
}

#[test]
fn commands_of_a_small_packet_that_becomes_a_large_one() {
    let many = wrapped(0, &packet(0, b"\x0e").repeat(100_000));
    assert!(many.len() < 1000);
    let Event::Data(_, question) = query("select 1") else { unreachable!() };
    let events =
        [client(&many.repeat(3)), client(&wrapped(0, &question)), server(&wrapped(1, &packet(1, OK)))];
    let all = run(&PROTOCOL, &compressed(&events));
    assert!(all.len() < TRANSACTIONS_MAX, "{}", all.len());
    let [before @ .., rest, last] = &all[..] else { panic!() };
    assert_eq!((rest.incomplete, word(rest, "mysql.command")), (Some(Incomplete::Limit), Some("QUERY")));
    assert_eq!(rest.errors, ["More transactions in one compressed packet than are told"]);
    assert_eq!(before.last().unwrap().incomplete, Some(Incomplete::Limit));
    assert_eq!((last.query.as_deref(), last.incomplete), (Some("select 1"), None));
}

#[test]
fn answers_of_a_small_packet_that_becomes_a_large_one() {
    let many = wrapped(1, &packet(1, OK).repeat(100_000));
    let all =
        run(&PROTOCOL, &compressed(&[client(&wrapped(0, &packet(0, b"\x0e"))), server(&many.repeat(3))]));
    assert!(all.len() < TRANSACTIONS_MAX, "{}", all.len());
    assert_eq!(all.last().unwrap().incomplete, Some(Incomplete::Limit));
}

#[test]
fn texts_of_a_small_packet_that_becomes_a_large_one() {
    let many = |sequence, kind: &[u8]| {
        let one = packet(sequence, &[kind, &[0xff; 90_000]].concat());
        wrapped(sequence, &one.repeat(100))
    };
    for event in [client(&many(0, b"\x03")), server(&many(1, b"\xff\x28\x04#42000"))] {
        let all = run(&PROTOCOL, &compressed(&[client(&wrapped(0, &packet(0, b"\x0e"))), event]));
        assert!(all.len() > 100, "{}", all.len());
        assert!(text_bytes(&all) <= TEXT_BYTES_MAX, "{}", text_bytes(&all));
        assert!(all.last().unwrap().errors.contains(&REPEATED_NOTE.to_owned()));
    }
}

#[test]
fn rows_of_a_small_packet_that_becomes_a_large_one() {
    const ROWS: usize = 100_000;
    let id = column("id", 3);
    let answer =
        [packets(1, &[b"\x01", &id, EOF]), packet(4, b"\x03abc").repeat(ROWS), packet(4, EOF)].concat();
    let Event::Data(_, question) = query("select 1") else { unreachable!() };
    let all = run(&PROTOCOL, &compressed(&[client(&wrapped(0, &question)), server(&wrapped(1, &answer))]));
    assert_eq!(
        (all.len(), number(&all[1], "mysql.num_rows"), all[1].incomplete),
        (2, Some(ROWS as u64), None)
    );
}

#[test]
fn names_are_told_up_to_a_length() {
    let mut body = CAPABILITIES.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 1, 33]);
    body.extend([0; 23]);
    body.extend([&[0xff; 40_000][..], b"\0\0", &[0xff; 40_000], b"\0", &[b'p'; 10_000], b"\0"].concat());
    let long = [0xff; 90_000];
    let events = [
        greeting(CAPABILITIES),
        client(&packet(1, &body)),
        server(&packet(2, OK)),
        client(&packet(0, b"\x0e")),
        server(&packet(1, OK)),
        client(&packet(0, &[&b"\x02"[..], &long].concat())),
        server(&packet(1, OK)),
        client(&packet(0, &[&b"\x11"[..], &long, b"\0\0\0"].concat())),
        server(&packet(1, OK)),
        client(&packet(0, b"\x0e")),
        server(&packet(1, OK)),
    ];
    let all = run(&PROTOCOL, &events);
    let names = ["mysql.user", "mysql.database", "mysql.auth_plugin"];
    let lengths: Vec<_> =
        (all.iter()).flat_map(|one| names.map(|name| word(one, name).map(str::len))).flatten().collect();
    assert_eq!(lengths.len(), 3 + 2 + 2 + 1 + 1, "{lengths:?}");
    assert!(lengths.iter().all(|length| (900..1100).contains(length)), "{lengths:?}");
}

#[test]
fn tables_are_told_up_to_a_length() {
    let long = |name: u8| [&[0xfc, 0x50, 0xc3][..], &[name; 0xc350]].concat();
    let column = |table| [b"\x03def", &long(b's')[..], b"\0", &long(table), b"\0\0\x0c", &[0; 12]].concat();
    let events = [
        query("select 1"),
        server(&packets(1, &[b"\x02", &column(b'a')])),
        server(&packets(3, &[&column(b'b'), EOF, EOF])),
    ];
    let all = run(&PROTOCOL, &logged_in(CAPABILITIES, &events));
    let name = |letter: &str| letter.repeat(256);
    let path = format!("{0}.{1}, {0}.{2}", name("s"), name("a"), name("b"));
    assert_eq!(word(&all[1], "path"), Some(&path[..]));
}

#[test]
fn a_long_statement_executed_often() {
    let statement = [&b"\x16"[..], &[0xff; 90_000]].concat();
    let prepared = server(&packet(1, b"\0\x07\0\0\0\0\0\0\0\0\0\0"));
    for command in [&b"\x17\x07\0\0\0\0\x01\0\0\0"[..], b"\x1a\x07\0\0\0", b"\x1c\x07\0\0\0\x01\0\0\0"] {
        let often = client(&packet(0, command).repeat(1000));
        let events = [client(&packet(0, &statement)), prepared.clone(), often];
        let all = run(&PROTOCOL, &logged_in(CAPABILITIES, &events));
        assert_eq!(all.len(), 1002);
        assert!(text_bytes(&all) <= TEXT_BYTES_MAX, "{}", text_bytes(&all));
        assert_eq!(all[2].query.as_ref().unwrap().len(), 270_000);
        assert!(all[2].errors.is_empty());
        assert!(all[1001].query.as_ref().unwrap().starts_with('\u{fffd}'), "its beginning is still told");
        assert_eq!(all[1001].errors, [REPEATED_NOTE]);
    }
}

#[test]
fn many_nulls() {
    const COUNT: u16 = 45_000;
    let mut prepared = b"\0\x07\0\0\0\0\0".to_vec();
    prepared.extend(COUNT.to_le_bytes());
    let nulls = [0xff; COUNT as usize / 8];
    let types = [3, 0].repeat(COUNT.into());
    let head = b"\x17\x07\0\0\0\0\x01\0\0\0";
    let definitions = packets(2, &[&column("?", 3)]).repeat(COUNT.into());
    let events = [
        client(&wrapped(0, &packet(0, b"\x16insert"))),
        server(&wrapped(1, &[packet(1, &prepared), definitions, packet(2, EOF)].concat())),
        client(&wrapped(0, &packet(0, &[&head[..], &nulls, b"\x01", &types].concat()))),
        server(&wrapped(1, &packet(1, OK))),
        client(&wrapped(0, &packet(0, &[&head[..], &nulls, b"\0"].concat()).repeat(100))),
    ];
    let all = run(&PROTOCOL, &compressed(&events));
    assert!(matches!(all[3].fields.value("params"), Some(Value::List(list)) if list.len() == COUNT.into()));
    assert_eq!(all.len(), 103);
    assert!(text_bytes(&all) <= TEXT_BYTES_MAX, "{}", text_bytes(&all));
}

#[test]
fn after_a_gap_what_is_compressed_begins_where_it_looks_so() {
    let Event::Data(_, question) = query("select id from products") else { unreachable!() };
    let question = client(&wrapped(0, &question));
    let id = column("id", 3);
    let answer = wrapped(1, &packets(1, &[b"\x01", &id, EOF, b"\x03abc", b"\x03abc", EOF]));
    let stored = [&[11, 0, 0, 1, 0, 0, 0][..], &packet(1, OK)].concat();
    let (begin, end) = answer.split_at(answer.len() - 1);
    let events = |answer: &[&[u8]]| {
        let garbage: [&[u8]; 4] = [
            // As headers, they would announce 16 MB; more than is in it; a packet that is none.
            b"\xff\xff\xff\x07\xff\xff\xff\x12\x34\x56\x78",
            b"\x10\0\0\x01\x05\0\0\x78\x9c\x01\x02",
            b"\x05\0\0\x01\0\0\0xxxxx",
            b"\x05\0",
        ];
        let mut events = vec![question.clone(), Event::Gap(SERVER, 30)];
        events.extend(garbage.map(server));
        events.push(question.clone());
        events.extend(garbage.map(server));
        events.extend(answer.iter().map(|part| server(part)));
        events.extend([question.clone(), server(&answer.concat())]);
        compressed(&events)
    };
    for answer in [&[begin, end][..], &[&stored]] {
        let all = run(&PROTOCOL, &events(answer));
        let ends: Vec<_> = all.iter().map(|one| one.incomplete).collect();
        assert_eq!(ends, [None, Some(Incomplete::ResponseGap), None, None]);
    }
}
