//! The options of `--config`, by what they do to documents of captures that this project recorded.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The documents of a source in `testdata/` with these options.
fn documents(source: &str, config: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kcap.toml");
    std::fs::write(&path, config).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    command.args(["convert", "--to", "ecs", "--config"]).arg(path);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(source)).arg("-");
    let output = command.output().expect("kcap runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn http(options: &str) -> Vec<Value> {
    documents("web/http.pcap", &format!("[http]\nports = [8081]\n{options}"))
}

/// What is at this place in the first document that has something there.
fn first<'a>(documents: &'a [Value], pointer: &str) -> Option<&'a Value> {
    documents.iter().find_map(|document| document.pointer(pointer))
}

#[test]
fn only_what_is_enabled() {
    assert!(!http("").is_empty());
    assert!(http("enabled = false").is_empty());
    assert!(documents("web/http.pcap", "").is_empty(), "nginx listened on a port that isn't one of HTTP's");
    assert!(!documents("web/http.pcap", "[http]\nany_port = true").is_empty());
}

#[test]
fn headers_are_redacted_and_chosen() {
    let headers = |options: &str| first(&http(options), "/http/request/headers/authorization").cloned();
    assert_eq!(headers("send_all_headers = true"), Some("Basic bW9uaWNhOnNlY3JldA==".into()));
    assert_eq!(headers("send_headers = [\"Authorization\"]"), headers("send_all_headers = true"));
    assert_eq!(headers(""), None);
    let redacted = headers("send_all_headers = true\nredact_headers = [\"authorization\"]");
    assert_eq!(redacted, Some("REDACTED".into()));
    assert_eq!(headers("send_all_headers = true\nredact_authorization = true"), Some("*".into()));
}

#[test]
fn bodies_are_included_when_they_are_asked_for() {
    let bodies = |options: &str| {
        let documents = http(options);
        let has = |side: &str| first(&documents, &format!("/http/{side}/body/content")).is_some();
        (has("request"), has("response"))
    };
    let form = "[\"x-www-form-urlencoded\"]";
    assert_eq!(bodies(""), (false, false));
    assert_eq!(bodies(&format!("include_request_body_for = {form}")), (true, false));
    assert_eq!(bodies("include_response_body_for = [\"text\"]"), (false, true));
    assert_eq!(bodies("include_body_for = [\"text\", \"x-www-form-urlencoded\"]"), (true, true));
}

#[test]
fn requests_and_responses_as_text() {
    let plain = http("");
    assert!(first(&plain, "/request").is_none() && first(&plain, "/response").is_none());
    let both = http("send_request = true\nsend_response = true");
    let text = |pointer: &str| first(&both, pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert!(text("/request").starts_with("GET /hello.txt HTTP/1.1\r\n"), "{}", text("/request"));
    assert!(text("/response").starts_with("HTTP/1.1 200 OK\r\n"), "{}", text("/response"));
}

#[test]
fn rows_are_limited_in_number_and_length() {
    for (name, port) in [("mysql", 21306), ("pgsql", 21432)] {
        let rows = |options: &str| {
            let config = format!("[{name}]\nports = [{port}]\nsend_response = true\n{options}");
            let all = documents(&format!("databases/{name}.pcap"), &config);
            let answer = all.iter().find(|document| document["query"] == "select * from fruit order by id");
            answer.and_then(|document| document["response"].as_str()).expect("rows").to_owned()
        };
        let all = rows("");
        assert_eq!(all.lines().count(), 3, "the names of columns, and two rows: {all}");
        let one: Vec<_> = all.lines().take(2).collect();
        assert_eq!(rows("max_rows = 1").lines().collect::<Vec<_>>(), one);
        let short = rows("max_row_length = 4");
        assert!(short.lines().skip(1).all(|row| row.len() < 12), "{short}");
        assert_ne!(short, all);
    }
}

#[test]
fn extra_fields_and_tags() {
    let config = "tags = [\"all\"]\nfields = { shop = { name = \"one\" } }\n[http]\nports = [8081]\ntags = [\"web\"]\n\
                  fields = { shelf = 7 }";
    let below = &documents("web/http.pcap", config)[0];
    assert_eq!(below["tags"], serde_json::json!(["all", "web"]));
    assert_eq!(below["fields"], serde_json::json!({ "shop": { "name": "one" }, "shelf": 7 }));
    let at_root = &documents("web/http.pcap", &format!("{config}\nfields_under_root = true"))[0];
    assert_eq!((&at_root["shelf"], at_root["fields"].get("shelf")), (&7.into(), None));
}

#[test]
fn nulls_are_kept_when_they_are_asked_for() {
    let nulls = |options: &str| {
        let documents = http(options);
        documents
            .iter()
            .filter(|document| document.pointer("/http/request/referrer") == Some(&Value::Null))
            .count()
    };
    assert_eq!(nulls(""), 0);
    assert!(nulls("keep_null = true") > 0);
    let documents = http("keep_null = true");
    assert_eq!(first(&documents, "/http/version"), Some(&"1.1".into()), "what is there stays");
}

#[test]
fn processes_are_told_unless_they_are_not_wanted() {
    let names = |options: &str| {
        let config = format!("[http]\nany_port = true\n{options}");
        let documents = documents("demo.kcap", &config);
        assert!(!documents.is_empty());
        let text = |pointer: &str| first(&documents, pointer).and_then(Value::as_str).map(str::to_owned);
        (text("/client/process/name"), text("/server/process/name"), text("/process/name"))
    };
    let (client, server, process) = names("");
    assert_eq!((client.as_deref(), server.as_deref()), (Some("curl"), Some("nginx")));
    assert!(process.is_some());
    assert_eq!(names("monitor_processes = false"), (None, None, None));
}

#[test]
fn what_is_wrong_in_a_file_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for (config, complaint) in [
        ("[http]\nmax_message_size = \"much\"", "[http] max_message_size: "),
        ("[htp]\n", "no protocol is called htp;"),
        ("[mysql]\nmax_row = 1", "[mysql] has no option max_row;"),
        ("[dns]\ntransaction_timeout = \"soon\"", "[dns] transaction_timeout: "),
        ("processors = [{ drop_everything = {} }]", "drop_everything"),
    ] {
        std::fs::write(file.path(), config).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        command.args(["convert", "--to", "ecs", "--config"]).arg(file.path());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/demo.kcap");
        let output = command.arg(source).arg("-").output().expect("kcap runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{config}");
        assert!(
            message.matches(complaint).count() == 1 && message.lines().count() == 1,
            "{config}: {message}"
        );
    }
}
