//! Against captures that this project recorded: of real servers and their own clients (`testdata/README.md`). Beside each lies
//! what it must give, a transaction a line; `KCAP_UPDATE_GOLDEN=1` writes that anew, to be read before it is believed.

use std::fmt::Write as _;
use std::path::Path;

use kcap_dissect::protocol::{Fields, Transaction, Value};

use crate::transactions;

fn render(value: &Value) -> String {
    match value {
        Value::List(values) => format!("[{}]", values.iter().map(render).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => render_fields(fields),
        Value::Text(text) => format!("{text:?}"),
        Value::Uint(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn render_fields(fields: &Fields) -> String {
    let all: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", render(value))).collect();
    format!("{{{}}}", all.join(", "))
}

fn line(one: &Transaction) -> String {
    let mut line = String::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(line, "{name}={value} ").unwrap();
        }
    };
    let quoted = |text: &Option<String>| text.as_ref().map(|text| format!("{text:?}"));
    let bytes =
        [one.request, one.response].map(|place| place.map_or("-".to_owned(), |at| at.bytes.to_string()));
    add("method", quoted(&one.method));
    add("query", quoted(&one.query));
    add("resource", quoted(&one.resource));
    add("status", Some(one.status.name().to_owned()));
    add("bytes", Some(bytes.join("/")));
    add("incomplete", one.incomplete.map(|reason| reason.name().to_owned()));
    add("errors", (!one.errors.is_empty()).then(|| format!("{:?}", one.errors)));
    add("table_only", one.table_only.then(|| "true".to_owned()));
    add("response", quoted(&one.response_text));
    line + &render_fields(&one.fields)
}

/// Compares with the golden file; gives the transactions.
fn check(name: &str) -> Vec<Transaction> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/databases");
    let options = format!("[{name}]\nsend_response = true");
    // By their bytes alone, and with the port given, the same must come out.
    let all = transactions::of_capture(&folder.join(format!("{name}.pcap")), &options);
    let on_port = format!("{options}\nports = [21306, 21379, 21432]");
    let all_on_port = transactions::of_capture(&folder.join(format!("{name}.pcap")), &on_port);
    let (one, other): (Vec<_>, Vec<_>) =
        (all.iter().map(line).collect(), all_on_port.iter().map(line).collect());
    assert_eq!(one, other, "otherwise than by its bytes alone");
    assert!(all.iter().all(|one| one.protocol == name));
    let found: String = all.iter().map(|one| line(one) + "\n").collect();
    let golden = folder.join(format!("{name}.golden"));
    if std::env::var_os("KCAP_UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {}", number + 1, golden.display());
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{}", golden.display());
    all
}

#[test]
fn mariadb_with_its_client_and_prepared_statements() {
    let all = check("mysql");
    assert!(all.iter().all(|one| one.incomplete.is_none()));
}

#[test]
fn postgresql_with_psql_and_pgbench() {
    let all = check("pgsql");
    let batch = ["select 'two;' as t", "selct", "select 4", "select 3"];
    for one in all.iter().filter(|one| one.incomplete.is_some()) {
        assert!(batch.contains(&one.query.as_deref().unwrap()), "{one:?}");
    }
}

#[test]
fn redis_with_redis_cli_and_redis_benchmark() {
    let all = check("redis");
    assert!(all.iter().all(|one| one.incomplete.is_none()));
    let benchmark = |method: &str| {
        let is_benchmark = |one: &&Transaction| one.resource.as_deref() == Some("key:__rand_int__");
        all.iter().filter(is_benchmark).filter(|one| one.method.as_deref() == Some(method)).count()
    };
    assert_eq!((benchmark("SET"), benchmark("GET")), (20, 20));
}
