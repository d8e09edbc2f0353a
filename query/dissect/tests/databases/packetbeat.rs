//! Against Packetbeat's published expectations (`packetbeat/tests/system/test_*.py`), which are about its documents.

use kcap_dissect::protocol::{Transaction, Value};

use crate::{support, transactions};

/// The transactions of a capture that Packetbeat has documents of; without the capture, nothing.
fn documented(capture: &str, options: &str) -> Option<Vec<Transaction>> {
    let capture = support::collection(&format!("beats/packetbeat/tests/system/pcaps/{capture}"))?;
    let mut all = transactions::of_capture(&capture, options);
    all.retain(|transaction| !transaction.table_only);
    Some(all)
}

fn count(transactions: &[Transaction], method: &str) -> usize {
    transactions.iter().filter(|one| one.method.as_deref() == Some(method)).count()
}

fn word<'a>(transaction: &'a Transaction, path: &str) -> Option<&'a str> {
    transaction.fields.value(path).and_then(Value::as_text)
}

fn number(transaction: &Transaction, path: &str) -> Option<u64> {
    transaction.fields.value(path).and_then(Value::as_u64)
}

fn bytes(transaction: &Transaction) -> (u64, u64) {
    (transaction.request.unwrap().bytes, transaction.response.unwrap().bytes)
}

#[test]
fn mysql_int_string_operations() {
    let Some(all) = documented("mysql_int_string_operations.pcap", "[mysql]\nports = [13001]") else {
        return;
    };
    assert_eq!(all.len(), 157);
    assert!(all.iter().all(|one| one.protocol == "mysql" && one.server_end().port == 13001));
    let counts = ["SELECT", "SHOW", "ALTER", "SET", "CREATE"].map(|method| count(&all, method));
    assert_eq!(counts, [134, 10, 4, 3, 2]);
    assert!(all.iter().all(|one| one.incomplete.is_none()));
}

#[test]
fn mysql_prepare_statement() {
    let Some(all) = documented("mysql_prepare_statement.pcap", "[mysql]\nports = [3307]") else { return };
    let [_, execution] = &all[..] else { panic!("{all:#?}") };
    assert_eq!(execution.method.as_deref(), Some("SELECT"));
    assert_eq!(execution.status.name(), "OK");
    let expected = ["A1224638", "2017-07-28 00:00:00", "2017-10-28 23:59:59"];
    assert_eq!(execution.fields.value("params"), Some(&Value::list(expected)));
    assert_eq!(number(execution, "mysql.num_rows"), Some(1));
    assert_eq!(all.iter().map(bytes).collect::<Vec<_>>(), [(196, 149), (55, 71)]);
}

#[test]
fn mysql_with_gap() {
    let Some(all) = documented("mysql_with_gap.pcap", "") else { return };
    let [one] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((one.status.name(), one.method.as_deref()), ("OK", Some("SELECT")));
    assert!(number(one, "mysql.num_rows") > Some(1));
    assert_eq!(one.errors, ["Packet loss while capturing the response"]);
}

#[test]
fn pgsql_extended_query() {
    let Some(all) = documented("pgsql_extended_query.pcap", "") else { return };
    let [one] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((one.protocol, one.method.as_deref()), ("pgsql", Some("SELECT")));
    assert_eq!(one.query.as_deref(), Some("SELECT * from test where id = $1"));
    assert_eq!(bytes(one), (90, 101));
    assert_eq!(one.fields.value("params"), Some(&Value::list(["1"])));
}

#[test]
fn pgsql_rt() {
    let Some(all) = documented("pgsql_rt.pcap", "") else { return };
    let [one] = &all[..] else { panic!("{all:#?}") };
    assert_eq!(one.method.as_deref(), Some("SELECT"));
    assert_eq!(one.duration_ns(), Some(38_800_000));
}

#[test]
fn redis_session() {
    let Some(all) = documented("redis_session.pcap", "[redis]\nports = [6380]") else { return };
    let [set, get, llen, rest @ ..] = &all[..] else { panic!("{all:#?}") };
    assert_eq!((set.method.as_deref(), set.resource.as_deref()), (Some("SET"), Some("key3")));
    assert_eq!((set.query.as_deref(), word(set, "redis.return_value")), (Some("set key3 me"), Some("OK")));
    assert_eq!((get.method.as_deref(), get.query.as_deref()), (Some("GET"), Some("get key3")));
    assert_eq!(word(get, "redis.return_value"), Some("me"));
    assert_eq!((llen.method.as_deref(), llen.status.name()), (Some("LLEN"), "Error"));
    assert_eq!(
        word(llen, "redis.error"),
        Some("ERR Operation against a key holding the wrong kind of value")
    );
    assert!(!rest.is_empty());
    for one in rest {
        assert_eq!(one.status.name(), "OK");
        assert!(word(one, "redis.return_value").is_some() && one.resource.is_some() && one.query.is_some());
    }
    assert!(all.iter().all(|one| bytes(one).0 > 0 && bytes(one).1 > 0));
}
