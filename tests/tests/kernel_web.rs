//! Real web servers with their clients: what SQL says about a recording is what clients and servers report themselves.

use std::process::{Command, Stdio};

use kcap_tests::command::run;
use kcap_tests::kcap::{number, sql};
use kcap_tests::kernel;
use kcap_tests::recorder::Recorder;
use kcap_tests::web::{Certificates, Nginx, TlsServer};
use serde_json::{Value, json};

/// Records what an action does, and gives the rows of a query. Nothing may be lost: else nothing could be exact.
#[track_caller]
fn recorded(action: impl FnOnce(), query: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    action();
    let capture = recorder.folder().to_owned();
    recorder.stop();
    assert_eq!(number(&capture, "SELECT sum(lost) FROM losses"), 0, "records were lost");
    sql(&capture, query)
}

/// What curl is asked to write after each transfer, in the order of the fields of [`curl_report`].
const CURL_FORMAT: &str =
    "%{method}|%{response_code}|%{size_request}|%{size_header}|%{size_download}|%{content_type}\\n";

/// What curl says of a transfer, as a row. It counts heads and bodies of responses apart; of requests a body that goes with the head
/// is in its size.
fn curl_report(line: &str) -> Value {
    let fields: Vec<_> = line.split('|').collect();
    let number =
        |at: usize| fields[at].parse::<u64>().unwrap_or_else(|_| panic!("no number at {at}: {line}"));
    json!({
        "method": fields[0],
        "code": number(1),
        "request_bytes": number(2),
        "response_bytes": number(3) + number(4),
        "type": Some(fields[5]).filter(|text| !text.is_empty()),
    })
}

#[test]
fn curl_and_nginx_count_the_same() {
    if !kernel::available() {
        return;
    }
    let page: String = (0..4000).map(|line| format!("<p>line {line} of a page</p>\n")).collect();
    let files: [(&str, &[u8]); 2] = [("hello.txt", b"hello, world\n"), ("page.html", page.as_bytes())];
    let directives = "types { text/plain txt; text/html html; }\nclient_max_body_size 1k;\n\
                      location /moved { return 301 /hello.txt; }\nlocation /gone { return 410; }\n\
                      location /form { proxy_pass http://127.0.0.1:1/; }";
    let nginx = Nginx::start(&files, directives);
    let port = nginx.port;
    let base = format!("http://127.0.0.1:{port}");
    let requests: [&[&str]; 9] = [
        &["/hello.txt"],
        &["/page.html"],
        &["/page.html", "--head"],
        &["/missing?with=query"],
        &["/moved"],
        &["/gone"],
        &["/form", "--data", "user=monica&password=secret"],
        &["/hello.txt", "--http1.0"],
        &["/hello.txt", "--range", "2-5", "--user-agent", "another/1.0"],
    ];
    let mut reported = Vec::new();
    let rows = recorded(
        || {
            for request in requests {
                let mut curl = Command::new("curl");
                curl.args(["-sS", "-o", "/dev/null", "-w", CURL_FORMAT, &format!("{base}{}", request[0])]);
                let report = run(curl.args(&request[1..])).success().text();
                reported.extend(report.lines().map(curl_report));
            }
        },
        &format!(
            "SELECT method, http.response.status_code AS code, request_bytes, response_bytes, \
             http.response.headers['content-type'] AS type, status, complete, client_process_name AS client, \
             server_process_name AS server, url.original AS target FROM http WHERE server_port = {port} ORDER BY ts"
        ),
    );
    assert_eq!(rows.len(), requests.len());
    assert_eq!(reported.len(), requests.len());
    for ((row, report), request) in rows.iter().zip(&reported).zip(requests) {
        for field in ["method", "code", "request_bytes", "response_bytes", "type"] {
            assert_eq!(row[field], report[field], "{field} of {row}");
        }
        assert_eq!(row["target"], request[0]);
        let is_error = report["code"].as_u64().is_some_and(|code| code >= 400);
        assert_eq!(row["status"], if is_error { "Error" } else { "OK" }, "{row}");
        assert_eq!(row["complete"], true, "{row}");
        assert_eq!((&row["client"], &row["server"]), (&json!("curl"), &json!("nginx")), "{row}");
    }
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let target = row["target"].as_str().unwrap_or_default();
            let path = target.split('?').next().unwrap_or_default();
            let text =
                |field: &str| row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned);
            let [method, code, sent, received] =
                ["method", "code", "request_bytes", "response_bytes"].map(text);
            format!("{method}|{path}|{code}|{sent}|{received}")
        })
        .collect();
    assert_eq!(found, nginx.log(requests.len()), "nginx's own log");
}

/// Stops wrk after so many responses, before it sends another request.
const WRK_SCRIPT: &str = "local count = 0\n\
    function response() count = count + 1; if count == MAX then wrk.thread:stop() end end\n\
    function done(summary) io.write(string.format('counted %d %d\\n', summary.requests, summary.bytes)) end\n";

/// What wrk counted: responses, and their bytes.
fn wrk(port: u16, connections: usize, responses: u64) -> (u64, u64) {
    let script = tempfile::NamedTempFile::new().expect("a scratch file");
    std::fs::write(script.path(), WRK_SCRIPT.replace("MAX", &responses.to_string())).expect("a script");
    let mut command = Command::new("wrk");
    command.args(["-t", "1", "-c", &connections.to_string(), "-d", "3s", "-s"]).arg(script.path());
    let report = run(command.arg(format!("http://127.0.0.1:{port}/hello.txt"))).success().text();
    let counted = report.lines().find_map(|line| line.strip_prefix("counted ")).expect("the script's line");
    let (requests, bytes) = counted.split_once(' ').expect("two numbers");
    (requests.parse().expect("a number"), bytes.parse().expect("a number"))
}

#[test]
fn wrk_and_nginx_count_the_same() {
    if !kernel::available() {
        return;
    }
    const RESPONSES: u64 = 1000;
    let nginx = Nginx::start(&[("hello.txt", b"hello, world\n")], "");
    let query = format!(
        "SELECT count(*) AS requests, sum(response_bytes) AS bytes, count(DISTINCT flow_id) AS connections, \
         sum(CASE WHEN complete AND http.response.status_code = 200 THEN 1 ELSE 0 END) AS good \
         FROM http WHERE server_port = {} AND response_bytes IS NOT NULL",
        nginx.port
    );
    let mut counted = (0, 0);
    let rows = recorded(|| counted = wrk(nginx.port, 1, RESPONSES), &query);
    assert_eq!(counted.0, RESPONSES);
    let expected = json!({ "requests": RESPONSES, "bytes": counted.1, "connections": 1, "good": RESPONSES });
    assert_eq!(rows, [expected]);

    // With several connections, some responses are on their way when wrk stops: nginx counted these too.
    const CONNECTIONS: u64 = 4;
    let rows = recorded(|| counted = wrk(nginx.port, CONNECTIONS as usize, RESPONSES), &query);
    let found = rows[0]["requests"].as_u64().expect("a count");
    let logged = nginx.log((RESPONSES + counted.0) as usize).len() as u64 - RESPONSES;
    assert!((counted.0..counted.0 + CONNECTIONS).contains(&found), "wrk {counted:?}, found {found}");
    assert_eq!(found, logged, "nginx's own log");
    assert_eq!(rows[0]["connections"], CONNECTIONS);
}

/// What `openssl s_client` says of a connection.
struct ClientReport(String);

impl ClientReport {
    /// Connects to a server, and sends nothing.
    fn of(port: u16, folder: &std::path::Path, options: &[&str]) -> Self {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-CAfile", "root.pem"]);
        let output = client.args(options).current_dir(folder).stdin(Stdio::null()).output();
        Self(String::from_utf8_lossy(&output.expect("openssl runs").stdout).into_owned())
    }

    /// The text after the first of these.
    #[track_caller]
    fn after(&self, before: &str) -> &str {
        let rest = self.0.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {}", self.0)).1;
        rest.lines().next().unwrap_or_default().trim()
    }

    /// Bytes of the handshake that it read and wrote.
    #[track_caller]
    fn bytes(&self) -> [u64; 2] {
        let [read, written] = ["handshake has read ", " bytes and written "].map(|before| {
            let digits = self.after(before).split(' ').next().unwrap_or_default();
            digits.parse().unwrap_or_else(|_| panic!("no number after {before:?} in {}", self.0))
        });
        [read, written]
    }
}

#[test]
fn handshakes_are_what_openssl_says() {
    if !kernel::available() {
        return;
    }
    let certificates = Certificates::new();
    let folder = certificates.folder();
    for (version, option) in [("1.2", "-tls1_2"), ("1.3", "-tls1_3")] {
        let server = TlsServer::start(&certificates, &[option, "-alpn", "h2,http/1.1"]);
        let mut reports = Vec::new();
        let action = || {
            let session = |option| ["-servername", "server.example", "-alpn", "http/1.1", option, "session"];
            reports.push(ClientReport::of(server.port, folder, &session("-sess_out")));
            // In TLS 1.3 tickets come after the handshake, and a client that leaves at once has none.
            if version == "1.2" {
                reports.push(ClientReport::of(server.port, folder, &session("-sess_in")));
            }
            reports.push(ClientReport::of(
                server.port,
                folder,
                &["-verify_return_error", "-CAfile", "other.pem"],
            ));
        };
        let rows = recorded(
            action,
            &format!(
                "SELECT tls.version AS version, tls.cipher AS cipher, tls.resumed AS resumed, tls.established AS established, \
                 tls.client.server_name AS name, tls.next_protocol AS alpn, tls.server.subject AS subject, error, \
                 request_bytes, response_bytes, client_process_name AS client, server_process_name AS server \
                 FROM tls WHERE server_port = {} ORDER BY ts",
                server.port
            ),
        );
        assert_eq!(rows.len(), reports.len());
        for (row, report) in rows.iter().zip(&reports) {
            assert_eq!((&row["client"], &row["server"]), (&json!("openssl"), &json!("openssl")));
            assert_eq!(row["version"], version);
            let [read, written] = report.bytes();
            if report.0.contains("\nVerification error: ") {
                assert_eq!(row["established"], false, "{row}");
                assert!(row["error"].as_str().is_some_and(|error| error.contains("unknown_ca")), "{row}");
                continue;
            }
            assert_eq!(row["established"], true, "{row}");
            if version == "1.2" {
                assert_eq!(
                    [&row["response_bytes"], &row["request_bytes"]],
                    [&json!(read), &json!(written)],
                    "{row}"
                );
            }
            assert_eq!(row["name"], "server.example", "{row}");
            assert_eq!(row["cipher"], standard_name(report.after(", Cipher is ")), "{row}");
            let is_reused = report.0.contains("\nReused, ");
            assert_eq!(row["resumed"], is_reused, "{row}");
            // In TLS 1.3 what the server says after its hello is encrypted.
            if version == "1.2" {
                assert_eq!(row["alpn"], report.after("ALPN protocol: "), "{row}");
            }
            if version == "1.2" && !is_reused {
                let subject: Vec<_> = report.after("\nsubject=").split(", ").collect();
                let subject: Vec<_> = subject.iter().rev().map(|part| part.replace(" = ", "=")).collect();
                assert_eq!(row["subject"], subject.join(","), "{row}");
            }
        }
    }
}

/// IANA's name of a cipher suite that OpenSSL has a name of its own for.
fn standard_name(name: &str) -> String {
    let list = run(Command::new("openssl").args(["ciphers", "-stdname", "ALL"])).success().text();
    let line = list.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
    let standard = line.and_then(|line| line.split_whitespace().next());
    standard.unwrap_or_else(|| panic!("openssl does not list {name}")).to_owned()
}
