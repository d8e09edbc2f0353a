//! Against Packetbeat's published expectations.

use std::fs;

use serde_json::json;

use crate::json::{Document, document};
use crate::{support, transactions};

const FOLDER: &str = "beats/packetbeat/tests/system";

/// Fields that these documents have from elsewhere than the dissector.
const ELSEWHERE: [&str; 6] = ["@metadata.", "client.ip", "destination.", "event.", "network.", "related."];

/// Fields that kcap has more: ECS has them, or later versions of Packetbeat.
const MORE: [&str; 7] = [
    "tls.client.ja4",
    "tls.curve",
    "tls.detailed.client_hello.random",
    "tls.detailed.server_hello.random",
    "tls.server.ja3s",
    "client.bytes",
    "server.bytes",
];

/// Documents of the capture that the golden file doesn't have, and the reverse; `None` without the collection.
fn check_golden(golden: &str, capture: &str, options: &str) -> Option<()> {
    let golden = support::collection(&format!("{FOLDER}/golden/{golden}-expected.json"))?;
    let capture = support::collection(&format!("{FOLDER}/pcaps/{capture}"))?;
    let expected: Vec<Document> = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    let found: Vec<_> = transactions::of_capture(&capture, options).iter().map(document).collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        for (name, value) in expected {
            let from_elsewhere = ELSEWHERE.iter().any(|prefix| name.starts_with(prefix));
            let is_compared =
                !from_elsewhere || ["destination.domain", "event.duration"].contains(&name.as_str());
            if is_compared && !["server.ip", "source.ip", "source.port"].contains(&name.as_str()) {
                assert_eq!(found.get(name), Some(value), "{name}");
            }
        }
        let more: Vec<_> = found
            .keys()
            .filter(|name| !expected.contains_key(*name) && !MORE.contains(&name.as_str()))
            .collect();
        assert!(more.is_empty(), "{more:?}");
    }
    Some(())
}

#[test]
fn whole_documents_of_tls() {
    const RAW: &str = "[tls]\ninclude_raw_certificates = true\nfingerprints = [\"sha1\"]\n";
    check_golden("established_tls", "tls-sample2.pcap", "");
    check_golden(
        "tls_all_options",
        "tls-sample2.pcap",
        "[tls]\nsend_certificates = true\ninclude_raw_certificates = true\ninclude_detailed_fields = true\n\
         fingerprints = [\"md5\", \"sha1\", \"sha256\"]",
    );
    check_golden("tls_not_detailed", "tls-sample2.pcap", "[tls]\ninclude_detailed_fields = false");
    check_golden("tls_no_certs", "tls-sample2.pcap", &format!("{RAW}send_certificates = false"));
    check_golden("tls_1_3", "tls-version-13.pcap", "");
}

/// The HTTP transactions of a capture; without it, nothing.
fn http(capture: &str, options: &str) -> Option<Vec<Document>> {
    let capture = support::collection(&format!("{FOLDER}/pcaps/{capture}"))?;
    let documents = transactions::of_capture(&capture, options);
    Some(documents.iter().map(document).filter(|document| document["type"] == "http").collect())
}

#[test]
fn http_through_a_proxy() {
    let Some(documents) = http("http_minitwit.pcap", "") else { return };
    let on_port_80: Vec<_> = documents.iter().filter(|document| document["server.port"] == 80).collect();
    let values: Vec<_> = on_port_80
        .iter()
        .map(|document| {
            ["status", "http.response.status_code", "client.bytes", "server.bytes"]
                .map(|name| document[name].clone())
        })
        .collect();
    assert_eq!(
        json!(values),
        json!([["OK", 200, 364, 1000], ["OK", 304, 471, 234], ["Error", 404, 289, 396]])
    );
    assert_eq!(documents.len(), 6, "and the connections behind the proxy");
}

#[test]
fn http_one_by_one() {
    if let Some(documents) = http("http_100_continue.pcap", "[http]\nsend_all_headers = true") {
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0]["http.request.headers.expect"], "100-continue");
        assert!(!documents[0].contains_key("error.message"), "{documents:?}");
    }
    if let Some(documents) = http("http_over_vlan.pcap", "") {
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0]["query"], "GET /jpetstore/");
    }
    if let Some(documents) = http("gap_in_stream.pcap", "") {
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0]["status"], "OK");
        assert_eq!(documents[0]["error.message"], "Packet loss while capturing the response");
    }
    if let Some(documents) =
        http("http_post_json.pcap", "[http]\ninclude_body_for = [\"x-www-form-urlencoded\", \"json\"]")
    {
        assert_eq!(documents.len(), 1);
        let document = &documents[0];
        assert_eq!(
            document["http.request.headers.content-type"],
            "application/x-www-form-urlencoded; charset=UTF-8"
        );
        assert_eq!(document["url.query"], "%7B+%22query%22%3A+%7B+%22match_all%22%3A+%7B%7D%7D%7D%0A=");
        assert!(
            document["http.response.body.content"].as_str().is_some_and(|content| content.starts_with('{'))
        );
        assert!(document.contains_key("http.request.body.content"));
    }
}
