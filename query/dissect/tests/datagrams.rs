//! DNS, DHCP and ICMP in captures: against Zeek's logs, and against tshark.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::process::Command;

use kcap_dissect::protocol::{Transaction, Value};
use support::golden;

/// The transactions of a capture; packets are named by their frame numbers.
fn of_capture(capture: &Path) -> Vec<Transaction> {
    support::transactions::of_capture(capture, "")
}

fn text(transaction: &Transaction, path: &str) -> Option<String> {
    match transaction.fields.value(path)? {
        Value::Text(text) => Some(text.clone()),
        Value::Uint(number) => Some(number.to_string()),
        Value::Ip(address) => Some(Ipv6Addr::from(*address).to_canonical().to_string()),
        _ => None,
    }
}

/// A line for each frame that tshark shows, with these fields; `None` when there is no tshark.
fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    // In two passes: requests know their replies in the second one.
    command.args(["-n", "-2", "-r"]).arg(capture).args(["-Y", filter, "-T", "fields", "-E", "occurrence=f"]);
    for field in ["frame.number"].iter().chain(fields) {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        println!("skipped: tshark is not there");
        return None;
    };
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(lines.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// Every message that tshark sees is in a transaction, with the same id, name and code.
#[test]
fn dns_as_tshark_sees_it() {
    let fields = ["dns.id", "dns.flags.response", "dns.qry.name", "dns.flags.rcode", "dns.count.answers"];
    let mut compared = 0;
    for capture in support::all_captures() {
        let filter = "dns && udp && !icmp && !icmpv6 && !mdns && !llmnr && !nbns";
        let Some(lines) = tshark(&capture, filter, &fields) else { return };
        if lines.is_empty() {
            continue;
        }
        let mut found: BTreeMap<u64, &Transaction> = BTreeMap::new();
        let transactions = of_capture(&capture);
        for transaction in transactions.iter().filter(|transaction| transaction.protocol == "dns") {
            for message in [transaction.request, transaction.response].into_iter().flatten() {
                found.insert(message.first.packet_id, transaction);
            }
        }
        for line in &lines {
            let frame: u64 = line[0].parse().unwrap();
            let transaction =
                found.get(&frame).unwrap_or_else(|| panic!("{}: frame {frame}", capture.display()));
            let id = u64::from_str_radix(line[1].trim_start_matches("0x"), 16).unwrap();
            assert_eq!(transaction.fields.value("dns.id"), Some(&Value::Uint(id)));
            if !line[3].is_empty() && line[3] != "<Root>" {
                assert_eq!(text(transaction, "dns.question.name").as_ref(), Some(&line[3]));
            }
            if line[2] == "True" || line[2] == "1" {
                assert_eq!(text(transaction, "dns.answers_count").as_ref(), Some(&line[5]), "{frame}");
            }
            compared += 1;
        }
    }
    println!("{compared} messages of DNS");
}

/// The same echoes with and without replies.
#[test]
fn echoes_as_tshark_sees_them() {
    let mut compared = 0;
    for capture in support::all_captures() {
        let Some(lines) =
            tshark(&capture, "icmp.type == 8 && !(icmp.type == 3) && !gre && !vxlan", &["icmp.resp_in"])
        else {
            return;
        };
        let expected: BTreeSet<(u64, Option<u64>)> = lines
            .iter()
            .filter_map(|line| {
                Some((line[0].parse().ok()?, line.get(1).and_then(|reply| reply.parse().ok())))
            })
            .collect();
        let transactions = of_capture(&capture);
        let found: BTreeSet<(u64, Option<u64>)> = transactions
            .iter()
            .filter(|transaction| text(transaction, "icmp.request.type").as_deref() == Some("8"))
            .filter_map(|transaction| {
                let reply = transaction.response.map(|reply| reply.first.packet_id);
                Some((transaction.request?.first.packet_id, reply))
            })
            .collect();
        compared += expected.len();
        assert_eq!(found, expected, "{}", capture.display());
    }
    println!("{compared} echoes");
}

/// Every message that tshark sees is there, with the same type, transaction and address.
#[test]
fn dhcp_as_tshark_sees_it() {
    const TYPES: [&str; 9] =
        ["", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"];
    let mut captures = support::all_captures();
    support::gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/names"), &mut captures);
    let mut compared = 0;
    for capture in captures {
        let fields = ["dhcp.id", "dhcp.option.dhcp", "dhcp.ip.your"];
        let Some(lines) = tshark(&capture, "dhcp", &fields) else { return };
        let expected: BTreeSet<_> = lines
            .iter()
            .map(|line| {
                let kind = line[2].parse::<usize>().ok().and_then(|number| TYPES.get(number).copied());
                let address = Some(line[3].clone()).filter(|address| address != "0.0.0.0");
                (line[0].clone(), line[1].clone(), kind.map(str::to_owned), address)
            })
            .collect();
        let transactions = of_capture(&capture);
        let found: BTreeSet<_> = transactions
            .iter()
            .filter(|transaction| transaction.protocol == "dhcpv4")
            .filter_map(|transaction| {
                let message = transaction.request.or(transaction.response)?;
                let field = |path: &str| text(transaction, path);
                let id = field("dhcpv4.transaction_id")?;
                let kind = field("dhcpv4.option.message_type");
                Some((message.first.packet_id.to_string(), id, kind, field("dhcpv4.assigned_ip")))
            })
            .collect();
        compared += expected.len();
        assert_eq!(found, expected, "{}", capture.display());
    }
    assert!(compared > 10, "{compared}");
}

/// Captures of this project: dnsmasq with dig and udhcpc, and ping.
#[test]
fn names_as_their_golden_files_say() {
    let dns = golden::check("names", "dns", "53");
    let unanswered = dns.iter().filter(|one| one.incomplete.is_some()).count();
    assert_eq!((dns.len(), unanswered), (22, 1), "dig was told that nobody answers one of its queries");
    let dhcp = golden::check("names", "dhcpv4", "67, 68");
    let methods: Vec<_> = dhcp.iter().filter_map(|one| one.method.as_deref()).collect();
    assert_eq!(methods[..7], ["DISCOVER", "OFFER", "REQUEST", "ACK", "REQUEST", "ACK", "RELEASE"]);
    let icmp = golden::check("names", "icmp", "");
    let replies = icmp.iter().filter(|one| one.request.is_some() && one.response.is_some()).count();
    assert_eq!(replies, 6, "ping had three replies on each version of IP");
}

/// Zeek has a line for the messages of a client that belong together; field by field what the messages say.
#[test]
fn dhcp_as_zeek_logs_it() {
    let log = "zeek/testing/btest/Baseline/scripts.base.protocols.dhcp.dhcp-all-msg-types/dhcp.log";
    let capture = "zeek/testing/btest/Traces/dhcp/dhcp.pcap";
    let (Some(log), Some(capture)) = (support::collection(log), support::collection(capture)) else { return };
    let log = fs::read_to_string(log).unwrap();
    let names: Vec<_> =
        log.lines().find_map(|line| line.strip_prefix("#fields\t")).unwrap().split('\t').collect();
    let transactions = of_capture(&capture);
    let mut messages = transactions.iter().filter(|transaction| transaction.protocol == "dhcpv4");
    let mut compared = 0;
    for row in log.lines().filter(|line| !line.starts_with('#')) {
        let row: BTreeMap<_, _> = names.iter().copied().zip(row.split('\t')).collect();
        let types: Vec<_> = row["msg_types"].split(',').collect();
        let of_row: Vec<_> = messages.by_ref().take(types.len()).collect();
        let methods: Vec<_> = of_row.iter().filter_map(|message| message.method.as_deref()).collect();
        assert_eq!(methods, types);
        // Zeek keeps the last value of each field.
        let last = |path: &str| of_row.iter().rev().find_map(|message| text(message, path));
        for (name, path) in [
            ("mac", "dhcpv4.client_mac"),
            ("host_name", "dhcpv4.option.hostname"),
            ("domain", "dhcpv4.option.domain_name"),
            ("assigned_addr", "dhcpv4.assigned_ip"),
            ("requested_addr", "dhcpv4.option.requested_ip_address"),
            ("server_message", "dhcpv4.option.message"),
        ] {
            // A message of a client, as the DECLINE of this capture has, is Zeek's `client_message`.
            if row[name] != "-" {
                assert_eq!(last(path).as_deref(), Some(row[name]), "{name}");
                compared += 1;
            }
        }
        if row["lease_time"] != "-" {
            let seconds: f64 = row["lease_time"].parse().unwrap();
            assert_eq!(last("dhcpv4.option.ip_address_lease_time_sec"), Some(format!("{seconds:.0}")));
        }
    }
    assert_eq!(messages.count(), 0);
    assert!(compared >= 9, "{compared}");
}
