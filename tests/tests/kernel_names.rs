//! A resolver, a DHCP server and ping: what SQL says about a recording is what the clients report themselves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kcap_tests::command::{Running, run, wait_until};
use kcap_tests::kcap::{number, sql};
use kcap_tests::kernel;
use kcap_tests::namespace::Namespace;
use kcap_tests::recorder::Recorder;
use kcap_tests::traffic::free_port;
use nix::sys::signal::Signal;
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

/// dnsmasq without its host's settings.
fn dnsmasq(options: &[&str]) -> Running {
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
        "--pid-file",
    ]);
    Running::start(command.args(["--user=root", "--log-facility=-"]).args(options))
}

/// Starts dnsmasq as a resolver of names that it knows itself.
fn resolver(port: u16) -> Running {
    let long = format!("--txt-record=long.kcap.test,{}", vec!["x".repeat(200); 12].join(","));
    let running = dnsmasq(&[
        &format!("--port={port}"),
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--local=/kcap.test/",
        "--local-ttl=300",
        "--host-record=www.kcap.test,192.0.2.1,2001:db8::1",
        "--host-record=www.kcap.test,192.0.2.2",
        "--cname=alias.kcap.test,www.kcap.test",
        "--txt-record=text.kcap.test,some text",
        "--mx-host=kcap.test,mail.kcap.test,10",
        "--srv-host=_sip._udp.kcap.test,sip.kcap.test,5060,3,7",
        "--ptr-record=1.2.0.192.in-addr.arpa,www.kcap.test",
        &long,
    ]);
    wait_until("the resolver to answer", || {
        let mut dig = Command::new("dig");
        dig.args(["@127.0.0.1", "-p", &port.to_string(), "+tries=1", "+timeout=1", "up.kcap.test"]);
        run(&mut dig).status.success().then_some(())
    });
    running
}

/// What dig says of a response, as a row.
fn dig(port: u16, arguments: &str) -> Value {
    let mut command = Command::new("dig");
    command.args(["@127.0.0.1", "-p", &port.to_string(), "+tries=1", "+timeout=5", "+noedns"]);
    let report = run(command.args(arguments.split(' '))).success().text();
    let after = |before: &str, end: char| -> String {
        let rest = report.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {report}")).1;
        rest.split([end, '\n']).next().unwrap_or_default().trim().to_owned()
    };
    let number = |text: String| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} in {report}"));
    let flags = after("\n;; flags:", ';').to_uppercase();
    let answers = report.split_once(";; ANSWER SECTION:\n").map_or("", |(_, rest)| rest);
    let answers: Vec<Value> = answers
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let mut fields = line.split_whitespace();
            let mut next = || fields.next().unwrap_or_default().to_owned();
            let (name, ttl, class, kind) = (next(), next(), next(), next());
            let rest: Vec<_> = fields.collect();
            // Preferences, priorities, weights and ports are fields of their own.
            let data = match kind.as_str() {
                "MX" | "SRV" => rest[rest.len() - 1].to_owned(),
                _ => rest.join(" "),
            };
            let data = data.trim_matches('"').replace("\" \"", " ");
            json!([name.trim_end_matches('.'), number(ttl), class, kind, data.trim_end_matches('.')])
        })
        .collect();
    json!({
        "id": number(after("id: ", ',')),
        "code": after("status: ", ','),
        "flags": flags.split_whitespace().filter(|flag| *flag != "QR").collect::<Vec<_>>(),
        "answers": answers,
        "bytes": number(after("MSG SIZE  rcvd: ", ' ')),
        "transport": if report.contains("(TCP)") { "tcp" } else { "udp" },
    })
}

#[test]
fn dig_is_told_what_is_recorded() {
    if !kernel::available() {
        return;
    }
    let port = free_port();
    let _server = resolver(port);
    let queries = [
        "www.kcap.test A",
        "www.kcap.test AAAA",
        "alias.kcap.test A",
        "text.kcap.test TXT",
        "kcap.test MX",
        "_sip._udp.kcap.test SRV",
        "-x 192.0.2.1",
        "nothing.kcap.test A",
        "www.example.org A",
        "+tcp www.kcap.test A",
        "+ignore long.kcap.test TXT",
        "+tcp long.kcap.test TXT",
    ];
    let mut reports = Vec::new();
    let rows = recorded(
        || reports = queries.map(|query| dig(port, query)).into(),
        &format!(
            "SELECT dns.id AS id, dns.response_code AS code, dns.header_flags AS flags, dns.answers AS answers, \
             response_bytes AS bytes, ip_proto, complete, client_process_name AS client, server_process_name AS server \
             FROM dns WHERE server_port = {port} ORDER BY ts"
        ),
    );
    assert_eq!(rows.len(), queries.len());
    let mut codes = Vec::new();
    for ((row, report), query) in rows.iter().zip(&reports).zip(queries) {
        let is_tcp = report["transport"] == "tcp";
        assert_eq!(row["ip_proto"], if is_tcp { 6 } else { 17 }, "{query}");
        for field in ["id", "code", "flags"] {
            assert_eq!(row[field], report[field], "{field} of {query}");
        }
        // Over TCP its length comes before a message (RFC 1035, section 4.2.2).
        let bytes = report["bytes"].as_u64().map(|bytes| bytes + if is_tcp { 2 } else { 0 });
        assert_eq!(row["bytes"].as_u64(), bytes, "{query}");
        let answers: Vec<Value> = row["answers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(|answer| {
                json!([answer["name"], answer["ttl"], answer["class"], answer["type"], answer["data"]])
            })
            .collect();
        assert_eq!(json!(answers), report["answers"], "{query}");
        assert_eq!(row["complete"], true, "{query}");
        assert_eq!(row["server"], "dnsmasq", "{query}");
        codes.extend(row["code"].as_str().map(str::to_owned));
    }
    codes.dedup();
    assert_eq!(codes, ["NOERROR", "NXDOMAIN", "REFUSED", "NOERROR"], "the queries are of all kinds");
    assert!(reports[10]["flags"].as_array().is_some_and(|flags| flags.contains(&json!("TC"))));
}

/// Writes what the client was told into the file that is named in `REPORT`, and takes the address, which the client gives back from.
const DHCP_SCRIPT: &str =
    "#!/bin/sh\n[ \"$1\" != bound ] || { ip addr add \"$ip/24\" dev eth0; env >\"$REPORT\"; }\n";

/// Has a client ask for a lease and give it back; what it was told, by udhcpc's names.
fn lease(space: &Namespace, folder: &Path) -> BTreeMap<String, String> {
    let (script, report) = (folder.join("script"), folder.join("report"));
    fs::write(&script, DHCP_SCRIPT).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let mut client = space.command("busybox");
    client.args(["udhcpc", "-i", "eth0", "-f", "-n", "-x", "hostname:monica", "-V", "kcap 1", "-s"]);
    let mut client = Running::start(client.arg(&script).env("REPORT", &report));
    client.wait_for_stderr("lease of ");
    wait_until("the script to end", || report.exists().then_some(()));
    // udhcpc gives a lease back when it is told to, and then waits to be told to ask again.
    client.signal(Signal::SIGUSR2);
    client.wait_for_stderr("entering released state");
    client.stop(Signal::SIGTERM);
    let text = fs::read_to_string(report).expect("the client was bound");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_dhcp_client_is_told_what_is_recorded() {
    if !kernel::available() {
        return;
    }
    let (space, folder) = (Namespace::new(), tempfile::tempdir().expect("a scratch folder"));
    let near = space.near(false).to_string();
    let network = near.rsplit_once('.').expect("an IPv4 address").0;
    let leases = folder.path().join("leases");
    let mut server = dnsmasq(&[
        "--port=0",
        "--bind-interfaces",
        "--no-ping",
        "--log-dhcp",
        "--domain=kcap.test",
        "--dhcp-option=option:ntp-server,192.0.2.9",
        &format!("--interface={}", space.interface),
        &format!("--dhcp-range={network}.100,{network}.110,255.255.255.0,2h"),
        &format!("--dhcp-leasefile={}", leases.display()),
    ]);
    server.wait_for_stderr("sockets bound exclusively to interface");
    let mut told = BTreeMap::new();
    let rows = recorded(
        || told = lease(&space, folder.path()),
        &format!(
            "SELECT method, dhcpv4.assigned_ip AS ip, dhcpv4.option.subnet_mask AS subnet, \
             dhcpv4.option.router[1] AS router, dhcpv4.option.domain_name AS domain, \
             dhcpv4.option.server_identifier AS serverid, dhcpv4.option.ip_address_lease_time_sec AS lease, \
             dhcpv4.option.hostname AS hostname, dhcpv4.option.class_identifier AS class, \
             dhcpv4.option.requested_ip_address AS requested, dhcpv4.transaction_id AS transaction \
             FROM dhcpv4 WHERE client_ip IN (ip('0.0.0.0'), ip('{near}')) OR server_ip = ip('{near}') ORDER BY ts"
        ),
    );
    let methods: Vec<_> = rows.iter().filter_map(|row| row["method"].as_str()).collect();
    assert_eq!(methods, ["DISCOVER", "OFFER", "REQUEST", "ACK", "RELEASE"]);
    let [discover, offer, request, ack, release] = rows.as_slice() else { unreachable!() };
    for reply in [offer, ack] {
        for field in ["ip", "subnet", "router", "domain", "serverid", "lease"] {
            let text = reply[field].as_str().map_or_else(|| reply[field].to_string(), str::to_owned);
            assert_eq!(Some(&text), told.get(field), "{field}");
        }
    }
    for question in [discover, request] {
        assert_eq!((&question["hostname"], &question["class"]), (&json!("monica"), &json!("kcap 1")));
        assert_eq!(question["transaction"], ack["transaction"]);
    }
    assert_eq!(request["requested"].as_str(), told.get("ip").map(String::as_str));
    assert_eq!(release["serverid"].as_str(), told.get("serverid").map(String::as_str));
    assert_eq!(fs::read_to_string(leases).expect("dnsmasq's leases"), "", "the lease was given back");
}

/// Replies that ping reports: their sequence numbers; and its summary: sent, received.
fn ping(arguments: &[&str]) -> (Vec<u64>, u64, u64) {
    let mut command = Command::new("ping");
    // It fails when nobody answers, and says so.
    let report = run(command.args(["-n", "-i", "0.2", "-W", "1"]).args(arguments)).text();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} in {report}"));
    let sequences = report
        .lines()
        .filter(|line| line.contains("bytes from"))
        .filter_map(|line| line.split_once("icmp_seq=")?.1.split(' ').next())
        .map(number)
        .collect();
    let summary = report.lines().find(|line| line.contains("packets transmitted")).expect("a summary");
    let count = |what: &str| {
        let part = summary.split(", ").find(|part| part.contains(what)).expect("a count");
        number(part.split(' ').next().unwrap_or_default())
    };
    (sequences, count("transmitted"), count("received"))
}

#[test]
fn ping_counts_the_same() {
    if !kernel::available() {
        return;
    }
    for v6 in [false, true] {
        let space = Namespace::new();
        let far = space.far(v6).to_string();
        let query = format!(
            "SELECT icmp.request.seq AS seq, icmp.request.type AS request, icmp.response.type AS response, request_bytes, \
             response_bytes, status, complete, incomplete_reason, client_process_name AS client \
             FROM icmp WHERE server_ip = ip('{far}') AND icmp.request.type IN (8, 128) ORDER BY ts"
        );
        let mut report = (Vec::new(), 0, 0);
        let rows = recorded(|| report = ping(&["-c", "4", "-s", "100", &far]), &query);
        assert_eq!((report.1, report.2), (4, 4), "ping was answered");
        let found: Vec<_> = rows.iter().filter_map(|row| row["seq"].as_u64()).collect();
        assert_eq!(found, report.0);
        for row in &rows {
            let types = if v6 { (128, 129) } else { (8, 0) };
            assert_eq!((&row["request"], &row["response"]), (&json!(types.0), &json!(types.1)), "{row}");
            assert_eq!((&row["status"], &row["complete"]), (&json!("OK"), &json!(true)), "{row}");
            assert_eq!(row["client"], "ping", "{row}");
        }

        let setting = if v6 { "ipv6/icmp/echo_ignore_all" } else { "ipv4/icmp_echo_ignore_all" };
        run(space.command("sh").args(["-c", &format!("echo 1 >/proc/sys/net/{setting}")])).success();
        let rows = recorded(|| report = ping(&["-c", "3", &far]), &query);
        assert_eq!((report.1, report.2), (3, 0), "nobody answered");
        assert_eq!(rows.len(), 3);
        assert!(
            rows.iter().all(|row| row["incomplete_reason"] == "no_response" && row["response"].is_null())
        );
    }
}

#[test]
fn a_closed_port_is_told_with_the_flow_that_asked() {
    if !kernel::available() {
        return;
    }
    let space = Namespace::new();
    let far = space.far(false).to_string();
    let mut report = String::new();
    let rows = recorded(
        || {
            let mut dig = Command::new("dig");
            dig.args([&format!("@{far}"), "+tries=1", "+timeout=2", "www.kcap.test"]);
            report = run(&mut dig).text();
        },
        "SELECT icmp.original.destination.port AS port, dns.question.name AS name, dns.incomplete_reason AS reason \
         FROM icmp JOIN dns ON icmp.\"icmp.original.flow_id\" = dns.flow_id",
    );
    assert!(report.contains("connection refused"), "{report}");
    assert_eq!(rows, [json!({ "port": 53, "name": "www.kcap.test", "reason": "no_response" })]);
}
