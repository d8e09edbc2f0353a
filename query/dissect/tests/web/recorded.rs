//! Captures in `testdata/web`, against what the servers and clients in them logged.

use std::fs;
use std::path::PathBuf;

use kcap_dissect::protocol::Protocols;

use crate::json::{Document, document};
use crate::transactions;

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/web").join(name)
}

/// On the ports that the servers had, and with no other protocol looked for there.
fn documents(capture: &str, options: &str) -> Vec<Document> {
    const PORTS: &str = "[http]\nports = [8081]\n[tls]\nports = [4431, 4432, 4433, 4434, 4435]";
    let mut tables: toml::Table = PORTS.parse().unwrap();
    for (name, more) in options.parse::<toml::Table>().unwrap() {
        tables[&name].as_table_mut().unwrap().extend(more.as_table().unwrap().clone());
    }
    let protocols = Protocols::read(tables).unwrap().only_on_ports();
    transactions::with(&testdata(capture), protocols).iter().map(document).collect()
}

fn text(document: &Document, name: &str) -> String {
    match document.get(name) {
        None => String::new(),
        Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

/// Request line, status, and bytes of request and response, as nginx logged them and as they were on the wire, where that
/// differs: requests with a body that nginx answered before it read it, and a request with a `100 Continue` before its response.
const ON_THE_WIRE: [(&str, &str); 3] = [
    ("POST /form?from=test HTTP/1.1|200|162|154", "POST /form?from=test HTTP/1.1|200|189|154"),
    ("POST /form HTTP/1.1|200|175|179", "POST /form HTTP/1.1|200|675|154"),
    ("POST /upload HTTP/1.1|413|156|348", "POST /upload HTTP/1.1|413|2156|348"),
];

#[test]
fn requests_as_nginx_logged_them() {
    let found: Vec<_> = documents("http.pcap", "")
        .iter()
        .map(|document| {
            format!(
                "{} {} HTTP/{}|{}|{}|{}",
                text(document, "http.request.method"),
                text(document, "url.original"),
                text(document, "http.version"),
                text(document, "http.response.status_code"),
                text(document, "client.bytes"),
                text(document, "server.bytes"),
            )
        })
        .collect();
    let log = fs::read_to_string(testdata("http.log")).unwrap();
    let mut expected: Vec<_> = log
        .lines()
        .map(|line| {
            let (line, _body_bytes) = line.rsplit_once('|').unwrap();
            let on_the_wire = ON_THE_WIRE.iter().find(|(logged, _)| *logged == line);
            on_the_wire.map_or(line, |(_, on_the_wire)| on_the_wire).to_owned()
        })
        .collect();
    // The last one isn't HTTP; its response is a response without a request.
    let garbage = expected.pop().unwrap();
    assert_eq!(garbage, "this is no request|400|0|309");
    assert_eq!(found.last().unwrap(), "  HTTP/1.1|400||309");
    assert_eq!(found[..found.len() - 1], expected);
}

#[test]
fn on_their_ports_only() {
    let count = |options: &str| {
        let protocols = Protocols::read(options.parse().unwrap()).unwrap().only_on_ports();
        transactions::with(&testdata("http.pcap"), protocols).len()
    };
    let all = documents("http.pcap", "").len();
    assert_eq!(count(""), 0, "nginx listened on a port that isn't one of HTTP's");
    assert_eq!(count("[http]\nports = [8081]"), all);
    assert!(count("[http]\nany_port = true") >= all);
}

#[test]
fn what_is_asked_and_answered() {
    let options = "[http]\nsend_all_headers = true\nsplit_cookie = true\ninclude_response_body_for = [\"text\"]\n\
                   hide_keywords = [\"password\"]\nredact_authorization = true";
    let documents = documents("http.pcap", options);
    let one = |query: &str, field: &str, value: &str| {
        let mut found = documents
            .iter()
            .filter(|document| text(document, "query") == query && text(document, field) == value);
        found.next().unwrap_or_else(|| panic!("no {query} with {field} {value}"))
    };
    let gzip = one("GET /gzip/page.html", "http.response.headers.content-encoding", "gzip");
    let plain = one("GET /page.html", "url.query", "a=1&b=2");
    assert_eq!(text(gzip, "http.response.headers.transfer-encoding"), "chunked");
    assert_eq!(text(gzip, "http.response.body.content"), text(plain, "http.response.body.content"));
    assert_eq!(text(plain, "http.response.body.bytes"), "9292");
    assert_eq!(text(gzip, "http.response.body.bytes"), "552", "as it was sent");
    one("POST /form", "url.query", "from=test&password=xxxxx&user=monica");
    let cookie = one("GET /cookie", "http.request.headers.cookie.theme", "dark");
    assert_eq!(text(cookie, "http.response.headers.set-cookie.session"), "abc");
    one("GET /hello.txt", "http.request.headers.authorization", "*");
    one("GET /hello.txt", "server.domain", "web.example");
    one("GET /hello.txt", "url.full", "http://[::1]:8081/hello.txt");
    one("GET /moved", "http.response.headers.location", "http://127.0.0.1:8081/hello.txt");
    assert!(documents.iter().all(|document| {
        let is_error = text(document, "http.response.status_code").parse::<u16>().unwrap() >= 400;
        (text(document, "status") == "Error") == is_error
    }));
}

/// What `openssl s_client` says of each handshake: new or reused, version, cipher suite, protocol. `NONE` where it failed.
fn as_the_client_said() -> Vec<String> {
    let log = fs::read_to_string(testdata("tls.log")).unwrap();
    let mut lines = Vec::new();
    for line in log.lines() {
        if let Some((how, rest)) = line.split_once(", ").filter(|(how, _)| ["New", "Reused"].contains(how)) {
            let (version, cipher) = rest.split_once(", Cipher is ").unwrap();
            // It has names of its own for cipher suites before TLS 1.3.
            let cipher =
                cipher.replace("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
            lines.push(format!("{how} {version} {cipher}").replace("TLSv", ""));
        } else if let (Some(protocol), Some(last)) = (line.strip_prefix("ALPN protocol: "), lines.last_mut())
        {
            last.push(' ');
            last.push_str(protocol);
        }
    }
    lines
}

#[test]
fn handshakes_as_the_client_said() {
    let documents = documents("tls.pcap", "");
    let expected = as_the_client_said();
    assert_eq!(documents.len(), expected.len());
    for (document, expected) in documents.iter().zip(&expected) {
        let is_established = text(document, "tls.established") == "true";
        if expected.contains("NONE") {
            assert!(!is_established, "{expected}");
            continue;
        }
        // In TLS 1.3 the server's certificate is encrypted: a client that doesn't trust it says so in an alert, and its own log
        // still has the version and cipher suite.
        let failed = text(document, "error.message").contains("unknown_ca");
        assert_eq!(is_established, !failed, "{expected}");
        let how = if text(document, "tls.resumed") == "true" { "Reused" } else { "New" };
        // Until TLS 1.3 the protocol is in the clear.
        let protocol = document
            .get("tls.next_protocol")
            .map_or(String::new(), |name| format!(" {}", name.as_str().unwrap()));
        let found =
            format!("{how} {} {}{protocol}", text(document, "tls.version"), text(document, "tls.cipher"));
        let expected = if found.contains("1.3") { expected.trim_end_matches(" http/1.1") } else { expected };
        assert_eq!(found, expected);
    }
}

#[test]
fn certificates_curves_and_alerts() {
    let documents = documents("tls.pcap", "");
    let column = |field: &str| documents.iter().map(|document| text(document, field)).collect::<Vec<_>>();
    let mut clients = column("tls.client.subject");
    clients.retain(|subject| !subject.is_empty());
    assert_eq!(clients, ["CN=client.example,O=Example,C=DE"]);
    assert!(
        column("tls.server.issuer")
            .iter()
            .all(|issuer| ["", "CN=Root,O=Example,C=DE"].contains(&issuer.as_str()))
    );
    assert_eq!(
        column("tls.curve").iter().filter(|curve| *curve == "secp384r1").count(),
        1,
        "after another hello"
    );
    let mut alerts = column("error.message");
    alerts.retain(|message| !message.is_empty());
    assert_eq!(
        alerts,
        [
            "Fatal alert from the server: protocol_version",
            "Fatal alert from the client: unknown_ca",
            "Fatal alert from the client: unknown_ca",
        ]
    );
    let mut methods = column("tls.detailed.resumption_method");
    methods.retain(|method| !method.is_empty());
    assert_eq!(methods, ["ticket", "id", "id"]);
}
