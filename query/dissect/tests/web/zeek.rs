//! Against Zeek's `http.log`.

use std::fs;

use crate::json::{Document, document};
use crate::{support, transactions};

/// The rows of a log as names and values; `-` and `(empty)` are left out.
fn rows(log: &str) -> Vec<Vec<(String, String)>> {
    let names: Vec<&str> = log
        .lines()
        .find_map(|line| line.strip_prefix("#fields\t"))
        .map(|names| names.split('\t').collect())
        .expect("a log names its fields");
    let row = |line: &str| {
        let values =
            names.iter().zip(line.split('\t')).filter(|(_, value)| !["-", "(empty)"].contains(value));
        values.map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
    };
    log.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

/// What a document has for a field of the log. `None` for fields that it has nothing for.
fn of_document(document: &Document, field: &str) -> Option<String> {
    let name = match field {
        "id.orig_p" => "client.port",
        "id.resp_p" => "server.port",
        "method" => "http.request.method",
        "host" => "url.domain",
        "uri" => "url.original",
        "referrer" => "http.request.referrer",
        "version" => "http.version",
        "user_agent" => "user_agent.original",
        "request_body_len" => "http.request.body.bytes",
        "status_code" => "http.response.status_code",
        "status_msg" => "http.response.status_phrase",
        // Zeek counts what compressed bodies expand to: compared where the body was kept.
        "response_body_len" => {
            let content = document.get("http.response.body.content").and_then(|content| content.as_str());
            let len = content.map(|content| content.len() as u64);
            return len.or(document["http.response.body.bytes"].as_u64()).map(|len| len.to_string());
        }
        _ => return None,
    };
    let value = document.get(name)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[test]
fn pipelined_requests() {
    let log = "zeek/testing/btest/Baseline/scripts.base.protocols.http.http-pipelining/http.log";
    let capture = "zeek/testing/btest/Traces/http/pipelined-requests.pcap";
    let (Some(log), Some(capture)) = (support::collection(log), support::collection(capture)) else { return };
    let rows = rows(&fs::read_to_string(log).unwrap());
    let options = "[http]\ninclude_response_body_for = [\"text\", \"javascript\"]";
    let documents: Vec<_> = transactions::of_capture(&capture, options).iter().map(document).collect();
    assert_eq!(documents.len(), rows.len());
    let mut compared = 0;
    for (document, row) in documents.iter().zip(&rows) {
        for (field, value) in row {
            if let Some(found) = of_document(document, field) {
                compared += 1;
                assert_eq!(found.to_lowercase(), value.to_lowercase(), "{field}");
            }
        }
    }
    assert_eq!(compared, 12 * rows.len());
}
