//! Small messages that ask for much: what comes of them stays within limits.

use super::super::testing::{Event, SERVER, client, run_with, server};
use super::super::{Incomplete, Transaction, Value};
use super::PROTOCOL;
use super::tests::{execute, message, messages, startup, welcome};

/// What the transactions of one packet may have of text that earlier packets brought, with room for what all have.
const TEXT_BYTES_MAX: usize = 20 << 20;

/// Bytes of all queries and parameters.
fn text_bytes(transactions: &[Transaction]) -> usize {
    let texts = |value: &Value| match value {
        Value::List(list) => {
            list.iter().map(|one| size_of::<String>() + one.as_text().map_or(0, str::len)).sum()
        }
        _ => 0,
    };
    (transactions.iter())
        .map(|one| {
            one.query.as_ref().map_or(0, String::len)
                + one.method.as_ref().map_or(0, |method| method.len())
                + one.fields.value("params").map_or(0, texts)
        })
        .sum()
}

/// A message in parts that a packet can have.
fn parts(message: &[u8]) -> Vec<Event> {
    message.chunks(60_000).map(client).collect()
}

fn connected(then: &[Vec<Event>]) -> Vec<Event> {
    [vec![startup(), welcome()], then.concat()].concat()
}

#[test]
fn parameters_of_one_portal_executed_often() {
    let mut body = b"\0\0\0\0".to_vec();
    body.extend(25_000_u16.to_be_bytes());
    body.extend([0; 100_002]);
    let executions = client(&message(b'E', b"").repeat(100));
    let events = connected(&[parts(&message(b'B', &body)), vec![executions; 2]]);
    let all = run_with(&PROTOCOL, true, "", &events);
    assert_eq!(all.len(), 201);
    assert!(text_bytes(&all) <= TEXT_BYTES_MAX, "{}", text_bytes(&all));
    assert!(matches!(all[1].fields.value("params"), Some(Value::List(list)) if list.len() == 25_000));
    assert_eq!(all[1].errors, ["The actual query being used is unknown"]);

    assert_eq!(all[100].errors[1], "Texts are cut: too much of them in one packet");
    // Those that wait are bounded by what would become of them.
    assert!(all.iter().any(|one| one.incomplete == Some(Incomplete::Limit)));
}

#[test]
fn a_long_statement_executed_often() {
    let statement = [&b"\0"[..], &[0xff; 100_000], b"\0\0\0"].concat();
    let bind = message(b'B', b"\0\0\0\0\0\0\0\0");
    let executions = message(b'E', b"").repeat(1000);
    let events = connected(&[parts(&message(b'P', &statement)), vec![client(&bind), client(&executions)]]);
    let all = run_with(&PROTOCOL, true, "", &events);
    assert_eq!(all.len(), 1001);
    assert!(text_bytes(&all) <= TEXT_BYTES_MAX, "{}", text_bytes(&all));
    assert_eq!(all[1].query.as_ref().unwrap().len(), 300_000);
    assert!(all[1].errors.is_empty());
    assert!(all[1000].query.as_ref().unwrap().starts_with('\u{fffd}'), "its beginning is still told");
    // The next packet may repeat as much again.
    let answered = server(&messages(&[(b'2', b""), (b'C', b"SELECT 1\0")]));
    let again = [&events[..3], &[client(&bind), client(&message(b'E', b""))], &[answered]].concat();
    assert!(run_with(&PROTOCOL, true, "", &again).iter().all(|one| one.errors.is_empty()));
}

#[test]
fn numbers_with_more_zeros_than_bytes() {
    let count = 7000_u16;
    let mut parse = b"\0select 1\0".to_vec();
    parse.extend(count.to_be_bytes());
    parse.extend(1700_u32.to_be_bytes().repeat(count.into()));
    let bind = |value: &[u8]| {
        let mut bind = b"\0\0\0\x01\0\x01".to_vec();
        bind.extend(count.to_be_bytes());
        bind.extend([&(value.len() as u32).to_be_bytes()[..], value].concat().repeat(count.into()));
        [message(b'B', &[&bind[..], &[0, 0]].concat()), message(b'E', b"")].concat()
    };
    // The most that the format allows, and the most that a column can have.
    let values = [[0, 1, 0x1f, 0xff, 0, 0, 0x3f, 0xff, 0, 1], [0, 1, 0, 249, 0, 0, 0x03, 0xe8, 0, 1]];
    for (value, shown) in values.iter().zip([7000, 1000]) {
        let events = connected(&[parts(&message(b'P', &parse)), parts(&bind(value))]);
        let all = run_with(&PROTOCOL, true, "", &events);
        assert!(text_bytes(&all) <= 2 << 20, "{}", text_bytes(&all));
        let Some(Value::List(list)) = all[1].fields.value("params") else { panic!() };
        assert!((shown..=count.into()).contains(&list.len()), "{}", list.len());
        let is_cut = all[1].errors == ["The parameters are longer than what is kept of them"];
        assert_eq!(is_cut, list.len() < usize::from(count));
    }
}

#[test]
fn rows_without_columns_are_no_more_than_others() {
    let events = connected(&[vec![
        client(&message(b'Q', b"select\0")),
        server(&messages(&vec![(b'D', &b"\0\0"[..]); 1000])),
        server(&messages(&[(b'C', b"SELECT 1000\0"), (b'Z', b"I")])),
    ]]);
    let all = run_with(&PROTOCOL, true, "send_response = true\nmax_rows = 10", &events);
    assert_eq!(all[1].response_text.as_deref(), Some("\n".repeat(10).as_str()));
    assert_eq!(all[1].fields.value("pgsql.num_rows").and_then(Value::as_u64), Some(1000));
}

#[test]
fn a_failure_before_a_gap_is_not_that_of_what_comes_after_it() {
    let ready = message(b'Z', b"I");
    let events = connected(&[vec![
        client(&message(b'Q', b"selct\0")),
        server(&message(b'E', b"SERROR\0C42601\0Msyntax error\0\0")),
        Event::Gap(SERVER, ready.len() as u64),
        client(&[execute("select 2"), message(b'S', b"")].concat()),
        server(&ready),
    ]]);
    let all = run_with(&PROTOCOL, true, "", &events);
    assert_eq!(all[2].query.as_deref(), Some("select 2"));
    assert_eq!((all[2].incomplete, &all[2].errors[..]), (Some(Incomplete::NoResponse), &[][..]));
}
