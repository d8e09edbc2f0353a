//! tshark as a second opinion on every capture of the collection, and on those of this project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcap_dissect::protocol::{Transaction, Value};

use crate::{support, transactions};

/// Ports of captures that tshark doesn't know.
const DECODE_AS: [&str; 5] = [
    "tcp.port==3307,mysql",
    "tcp.port==6380,resp",
    "tcp.port==21306,mysql",
    "tcp.port==21432,pgsql",
    "tcp.port==21379,resp",
];

/// Where kcap and tshark rightly differ: the capture, what is compared, and why. Each row must be used.
const EXPLAINED: &[(&str, &str, &str)] = &[(
    "mysql.pcap",
    "mysql.error_code",
    "tshark takes a progress report of MariaDB, which has the form of an error with the code 65535, for one",
)];

/// What tshark is asked for.
const FIELDS: [&str; 8] = [
    "tcp.dstport",
    "mysql.query",
    "mysql.error_code",
    "pgsql.tag",
    "pgsql.code",
    "pgsql.severity",
    "resp.error",
    "resp.array.length",
];

/// Rows of fields; `None` when tshark isn't installed.
fn tshark(capture: &Path) -> Option<Vec<Vec<String>>> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture)
        .args(DECODE_AS.iter().flat_map(|port| ["-d", port]))
        .args([
            "-Y",
            "mysql or pgsql or resp",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-E",
            "aggregator=\u{1f}",
        ])
        .args(FIELDS.iter().flat_map(|field| ["-e", field]))
        .output()
        .inspect_err(|_| println!("skipped: tshark is not installed"))
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
}

/// All values of one of [`FIELDS`].
fn column(rows: &[Vec<String>], field: &str) -> Vec<String> {
    let values = FIELDS.iter().position(|name| *name == field).into_iter();
    let values = values.flat_map(|at| rows.iter().filter_map(move |row| row.get(at)));
    let values = values.flat_map(|value| value.split('\u{1f}'));
    values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn is_to_redis(row: &[String]) -> bool {
    row.first().is_some_and(|port| ["6379", "6380", "21379"].contains(&port.as_str()))
}

/// The captures of the collection, and this project's own.
fn captures() -> Vec<PathBuf> {
    let mut captures = support::all_captures();
    support::gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/databases"), &mut captures);
    captures
}

fn counted(items: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// What a field of the transactions of a protocol holds, as text.
fn values(all: &[Transaction], protocol: &str, path: &str) -> Vec<String> {
    let own = all.iter().filter(|one| one.protocol == protocol);
    own.filter_map(|one| match one.fields.value(path)? {
        Value::Text(text) => Some(text.clone()),
        other => other.as_u64().map(|number| number.to_string()),
    })
    .collect()
}

/// What was compared, and what differs.
#[derive(Default)]
struct Comparison {
    compared: usize,
    differences: Vec<String>,
    used: Vec<usize>,
}

impl Comparison {
    fn compare(&mut self, capture: &Path, what: &str, found: Vec<String>, expected: Vec<String>) {
        self.compared += expected.len();
        let (found, expected) = (counted(found), counted(expected));
        if found == expected {
            return;
        }
        let name = capture.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match EXPLAINED.iter().position(|&(capture, field, _)| (capture, field) == (name.as_str(), what)) {
            Some(row) => self.used.push(row),
            None => {
                let only = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| {
                    let differs = |item: &(&String, &usize)| other.get(item.0) != Some(item.1);
                    one.iter()
                        .filter(differs)
                        .map(|(name, count)| format!("{count} x {name}"))
                        .collect::<Vec<_>>()
                };
                let (kcap, tshark) = (only(&found, &expected), only(&expected, &found));
                self.differences.push(format!("{name}, {what}:\n  kcap   {kcap:?}\n  tshark {tshark:?}"));
            }
        }
    }
}

#[test]
fn every_capture() {
    let mut comparison = Comparison::default();
    for capture in captures() {
        let Some(rows) = tshark(&capture) else { return };
        let expected = |field| column(&rows, field);
        let all = transactions::of_capture(&capture, "");
        let of = |protocol: &'static str| all.iter().filter(move |one| one.protocol == protocol);
        let mut compare = |what, found, expected| comparison.compare(&capture, what, found, expected);

        let asks = |one: &&Transaction| {
            let command = one.fields.value("mysql.command").and_then(Value::as_text);
            one.request.is_some() && matches!(command, Some("QUERY" | "STMT_PREPARE"))
        };
        // tshark writes a new line as two characters.
        let queries =
            of("mysql").filter(asks).filter_map(|one| Some(one.query.as_ref()?.replace('\n', "\\n")));
        let queries = queries.collect();
        compare("mysql.query", queries, expected("mysql.query"));
        let errors = values(&all, "mysql", "mysql.error_code");
        compare("mysql.error_code", errors, expected("mysql.error_code"));

        compare("pgsql.tag", values(&all, "pgsql", "pgsql.command_tag"), expected("pgsql.tag"));
        // Notices have codes too.
        let errors = expected("pgsql.code").into_iter().zip(expected("pgsql.severity"));
        let errors = errors.filter(|(_, severity)| ["ERROR", "FATAL", "PANIC"].contains(&severity.as_str()));
        let errors = errors.map(|(code, _)| code).collect();
        compare("pgsql.code", values(&all, "pgsql", "pgsql.error_code"), errors);

        let trimmed = |texts: Vec<String>| texts.iter().map(|text| text.trim().to_owned()).collect();
        let errors = trimmed(values(&all, "redis", "redis.error"));
        compare("resp.error", errors, trimmed(expected("resp.error")));
        // Each request of these captures that isn't typed on a line is an array without arrays in it.
        let is_inline = |one: &Transaction| one.fields.value("redis.inline") == Some(&Value::Bool(true));
        let requests = of("redis").filter(|one| one.request.is_some() && !is_inline(one));
        let requests = requests.map(|_| "request".to_owned()).collect();
        let to_server: Vec<_> = rows.iter().filter(|row| is_to_redis(row)).cloned().collect();
        let arrays = column(&to_server, "resp.array.length").iter().map(|_| "request".to_owned()).collect();
        compare("resp.array", requests, arrays);
    }
    println!("{} values compared", comparison.compared);
    assert!(comparison.differences.is_empty(), "{}", comparison.differences.join("\n"));
    assert!(comparison.compared > 0);
    assert!(
        support::all_captures().is_empty() || (0..EXPLAINED.len()).all(|row| comparison.used.contains(&row)),
        "explanations without a difference"
    );
}
