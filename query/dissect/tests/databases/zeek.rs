//! Against Zeek's logs.

use std::borrow::Cow;
use std::fs;

use kcap_dissect::protocol::{Transaction, Value};

use crate::{support, transactions};

/// The fields of a log's lines, by their names; `None` without the collection.
fn log(path: &str, names: &[&str]) -> Option<Vec<Vec<String>>> {
    let path = support::collection(&format!("zeek/testing/btest/Baseline/{path}"))?;
    let text = fs::read_to_string(path).unwrap();
    let header =
        text.lines().find_map(|line| line.strip_prefix("#fields\t")).expect("a log names its fields");
    let header: Vec<_> = header.split('\t').collect();
    let places: Vec<_> =
        names.iter().map(|name| header.iter().position(|field| field == name).unwrap()).collect();
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split('\t').collect();
        places.iter().map(|&place| fields[place].to_owned()).collect()
    });
    Some(lines.collect())
}

fn capture(path: &str) -> Option<Vec<Transaction>> {
    let path = support::collection(&format!("zeek/testing/btest/Traces/{path}"))?;
    Some(transactions::of_capture(&path, ""))
}

fn word(transaction: &Transaction, path: &str) -> Option<String> {
    transaction.fields.value(path).and_then(Value::as_text).map(str::to_owned)
}

/// Zeek's words for a command: `quit` without an argument is empty and has no end.
fn mysql_line(one: &Transaction) -> Vec<String> {
    let command = word(one, "mysql.command").unwrap().to_lowercase();
    let affected = one.fields.value("mysql.affected_rows").and_then(Value::as_u64).unwrap_or(0);
    let argument = one.query.clone().unwrap_or_else(|| "(empty)".to_owned());
    let (success, rows) = match one.response {
        Some(_) if one.status.name() == "OK" => ("T".to_owned(), affected.to_string()),
        Some(_) => ("F".to_owned(), "-".to_owned()),
        None => ("-".to_owned(), "-".to_owned()),
    };
    vec![command, argument, success, rows]
}

#[test]
fn mysql() {
    let path = "scripts.base.protocols.mysql.wireshark/mysql.log";
    let Some(expected) = log(path, &["cmd", "arg", "success", "rows"]) else { return };
    let found: Vec<_> = capture("mysql/mysql.pcap").unwrap().iter().map(mysql_line).collect();
    assert_eq!(found, expected);
}

#[test]
fn redis() {
    let path = "scripts.base.protocols.redis.pipelined/redis.log";
    let Some(expected) = log(path, &["cmd.name", "cmd.key", "success", "reply.value"]) else { return };
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let found: Vec<_> = (capture("redis/pipelining-example.pcap").unwrap().iter())
        .map(|one| {
            let success = if one.status.name() == "OK" { "T" } else { "F" };
            let value = dash(word(one, "redis.return_value"));
            vec![
                dash(one.method.clone().map(Cow::into_owned)),
                dash(one.resource.clone()),
                success.to_owned(),
                value,
            ]
        })
        .collect();
    assert_eq!(found, expected);
}

/// Zeek's log of PostgreSQL is cut to some columns. Its line for the end of a connection, `terminate`, is no transaction, and it
/// counts no rows of a login.
#[test]
fn pgsql() {
    let path = "scripts.base.protocols.postgresql.psql-create-insert-select/postgresql.cut";
    let Some(path) = support::collection(&format!("zeek/testing/btest/Baseline/{path}")) else { return };
    let text = fs::read_to_string(path).unwrap();
    let expected: Vec<_> = (text.lines().skip(2))
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields[9] != "terminate")
        .map(|fields| {
            [fields[6], fields[7], fields[8], fields[10].trim_end_matches(';'), fields[13], fields[14]]
        })
        .map(|fields| fields.map(str::to_owned))
        .collect();
    let found: Vec<_> = (capture("postgresql/psql-create-insert-select-delete-drop.pcap").unwrap().iter())
        .map(|one| {
            let [user, database, name] = ["user", "database", "application_name"]
                .map(|field| word(one, &format!("pgsql.{field}")).unwrap());
            let is_login = one.method.as_deref() == Some("LOGIN");
            let rows = one.fields.value("pgsql.num_rows").and_then(Value::as_u64);
            let query = one.query.clone().filter(|_| !is_login).unwrap_or_else(|| "-".to_owned());
            let success = if one.status.name() == "OK" { "T" } else { "F" };
            let rows = rows.map_or("-".to_owned(), |rows| rows.to_string());
            [user, database, name, query, success.to_owned(), rows]
        })
        .collect();
    assert_eq!(found, expected);
}
