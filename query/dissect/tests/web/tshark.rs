//! tshark as a second opinion on every capture of the collection.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kcap_dissect::protocol::Transaction;

use crate::json::{Document, document};
use crate::{support, transactions};

/// Rows of fields; `None` when tshark isn't installed.
fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture)
        .args(["-Y", filter, "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .inspect_err(|_| println!("skipped: tshark is not installed"))
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
}

fn documents(transactions: &[Transaction], protocol: &str) -> Vec<Document> {
    transactions.iter().filter(|transaction| transaction.protocol == protocol).map(document).collect()
}

fn text(document: &Document, name: &str) -> String {
    match document.get(name) {
        None => String::new(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

/// Where kcap and tshark rightly differ: the capture, what is compared, and why. Each row must be used.
const EXPLAINED: [(&str, &str, &str); 1] =
    [("gap_in_stream.pcap", "http.response.code", "tshark gives up a response with a gap in its body")];

/// How often each of these is there, so that order doesn't matter.
fn counted(items: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// Those of several messages in one packet.
fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(';').filter(|part| !part.is_empty()).map(str::to_owned)
}

/// What was compared, and what differs.
#[derive(Default)]
struct Comparison {
    compared: usize,
    differences: Vec<String>,
    used: [bool; EXPLAINED.len()],
}

impl Comparison {
    fn compare(
        &mut self,
        capture: &str,
        what: &str,
        found: impl IntoIterator<Item = String>,
        expected: impl IntoIterator<Item = String>,
    ) {
        let found = counted(found.into_iter().filter(|text| !text.is_empty()));
        let expected = counted(expected);
        self.compared += expected.values().sum::<usize>();
        if found == expected {
            return;
        }
        match EXPLAINED.iter().position(|&(name, field, _)| (name, field) == (capture, what)) {
            Some(row) => self.used[row] = true,
            None => self
                .differences
                .push(format!("{capture}, {what}:\n  kcap   {found:?}\n  tshark {expected:?}")),
        }
    }
}

#[test]
fn every_capture_of_the_collection() {
    const FIELDS: [&str; 6] = [
        "tls.handshake.ja3",
        "tls.handshake.extensions_server_name",
        "tls.handshake.ja3s",
        "http.request.method",
        "http.request.uri",
        "http.response.code",
    ];
    let mut comparison = Comparison::default();
    for capture in support::all_captures() {
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        let Some(rows) = tshark(&capture, "tcp and (tls.handshake or http)", &FIELDS) else { return };
        let column = |at: usize| rows.iter().flat_map(move |row| split(&row[at]));
        let transactions = transactions::of_capture(&capture, "");
        let tls = documents(&transactions, "tls");
        for (field, at) in [("tls.client.ja3", 0), ("tls.client.server_name", 1), ("tls.server.ja3s", 2)] {
            comparison.compare(&name, field, tls.iter().map(|document| text(document, field)), column(at));
        }
        let http = documents(&transactions, "http");
        let requests = http.iter().filter(|document| document.contains_key("http.request.method"));
        let requests = requests.map(|document| {
            format!("{} {}", text(document, "http.request.method"), text(document, "url.original"))
        });
        let expected = rows.iter().flat_map(|row| {
            split(&row[3])
                .zip(split(&row[4]))
                .map(|(method, uri)| format!("{method} {uri}"))
                .collect::<Vec<_>>()
        });
        comparison.compare(&name, "requests", requests, expected);
        let codes = http.iter().map(|document| text(document, "http.response.status_code"));
        // Interim responses are no transactions.
        comparison.compare(&name, "http.response.code", codes, column(5).filter(|code| code != "100"));
    }
    println!("{} values compared", comparison.compared);
    assert!(comparison.differences.is_empty(), "{}", comparison.differences.join("\n"));
    assert!(
        comparison.compared == 0 || comparison.used.iter().all(|used| *used),
        "explanations without a difference"
    );
}
