//! Flows and streams, through the program itself, against what other programs made of the same captures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where kcap and tshark rightly differ: the capture, the ends, and why. Each row must be used.
const EXPLAINED: [(&str, &str, &str); 3] = [
    (
        "tcp-reassembly.pcap",
        "tcp 172.16.128.201:1060 172.16.133.6:1731",
        "sFlow: tshark gives the fields of the headers that a datagram quotes",
    ),
    ("tcp-reassembly.pcap", "udp 172.16.128.233:6343 172.16.133.254:39259", "the datagram that quotes them"),
    ("ip4_fragments.pcap", "udp", "tshark counts the last fragment of a datagram, kcap each of them"),
];

/// A capture of the collection that lies beside the checkout (or where `KCAP_CAPTURES` says). `None`, and a line that
/// says so, when it isn't there.
fn collection(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let root = std::env::var_os("KCAP_CAPTURES").map_or(beside, PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// Files below a folder whose names end like this.
fn gather(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            gather(&entry, endings, found);
        } else if endings.iter().any(|ending| entry.to_string_lossy().ends_with(ending)) {
            found.push(entry);
        }
    }
    found.sort();
}

fn kcap<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs")
}

/// The rows of an answer as CSV.
fn rows(source: &Path, options: &[&str], sql: &str) -> Vec<String> {
    let mut arguments = vec!["sql".as_ref(), source.as_os_str(), "--format".as_ref(), "csv".as_ref()];
    arguments.extend(options.iter().map(std::ffi::OsStr::new));
    arguments.extend(["-c".as_ref(), std::ffi::OsStr::new(sql)]);
    let output = kcap(&arguments);
    assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::to_owned).collect()
}

/// What an end sent: packets, bytes, retransmissions.
type Sent = [u64; 3];

/// Conversations by protocol and ends, the smaller end first; there can be several with the same ends.
type Conversations = BTreeMap<(String, String, String), Vec<[Sent; 2]>>;

fn add(conversations: &mut Conversations, protocol: &str, ends: [(String, Sent); 2]) {
    let [one, other] = ends;
    let (one, other) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    conversations.entry((protocol.to_owned(), one.0, other.0)).or_default().push([one.1, other.1]);
}

fn by_tshark(capture: &Path) -> Option<Conversations> {
    let fields = "frame.len tcp.stream udp.stream ip.src ipv6.src ip.dst ipv6.dst tcp.srcport udp.srcport tcp.dstport udp.dstport \
        tcp.analysis.retransmission";
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture)
        .args(["-T", "fields", "-E", "occurrence=l", "-E", "separator=|"])
        .args(fields.split(' ').flat_map(|field| ["-e", field]))
        .output()
        .ok()?;
    let mut streams: BTreeMap<(&str, String), BTreeMap<String, Sent>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let values: Vec<&str> = line.split('|').collect();
        let [len, tcp, udp, v4, v6, to_v4, to_v6, tcp_port, udp_port, to_tcp_port, to_udp_port, again] =
            values[..]
        else {
            panic!("{line}")
        };
        let (protocol, stream, port, to_port) = match (tcp, udp) {
            ("", "") => continue,
            ("", udp) => ("udp", udp, udp_port, to_udp_port),
            (tcp, _) => ("tcp", tcp, tcp_port, to_tcp_port),
        };
        let ends = streams.entry((protocol, stream.to_owned())).or_default();
        ends.entry(format!("{to_v4}{to_v6}:{to_port}")).or_default();
        let sent = ends.entry(format!("{v4}{v6}:{port}")).or_default();
        sent[0] += 1;
        sent[1] += len.parse::<u64>().expect("a length");
        sent[2] += u64::from(!again.is_empty());
    }
    let mut found = Conversations::new();
    for ((protocol, _), ends) in streams {
        let mut ends = ends.into_iter();
        let first = ends.next().expect("a stream has packets");
        // A conversation of an end with itself has one.
        let second = ends.next().unwrap_or_else(|| (first.0.clone(), Sent::default()));
        add(&mut found, protocol, [first, second]);
    }
    found.values_mut().for_each(|same| same.sort_unstable());
    Some(found)
}

fn by_kcap(source: &Path) -> Conversations {
    let sql = "SELECT ip_proto_name, ip_text(client_ip), client_port, client_packets, client_bytes, coalesce(client_retransmissions, 0), \
        ip_text(server_ip), server_port, server_packets, server_bytes, coalesce(server_retransmissions, 0) FROM flows \
        WHERE ip_proto IN (6, 17) AND client_port IS NOT NULL";
    let mut found = Conversations::new();
    // Wireshark's conversations of UDP never end.
    for row in rows(source, &["--flow-timeout", "100000h"], sql) {
        let values: Vec<&str> = row.split(',').collect();
        let number = |place: usize| values[place].parse::<u64>().expect("a number");
        let end = |at: usize| {
            let mut sent = [number(at + 2), number(at + 3), number(at + 4)];
            let name = format!("{}:{}", values[at], values[at + 1]);
            // tshark has both sides of a conversation with oneself in one.
            if values[1..3] == values[6..8] {
                sent = if at == 1 {
                    std::array::from_fn(|place| number(3 + place) + number(8 + place))
                } else {
                    Sent::default()
                };
            }
            (name, sent)
        };
        add(&mut found, values[0], [end(1), end(6)]);
    }
    found.values_mut().for_each(|same| same.sort_unstable());
    found
}

#[test]
fn conversations_of_every_capture_are_those_of_tshark() {
    let Some(root) = collection("") else { return };
    let mut captures = Vec::new();
    gather(&root, &[".pcap", ".pcapng"], &mut captures);
    let mut used = [false; EXPLAINED.len()];
    let (mut compared, mut differences) = (0, Vec::new());
    for capture in captures {
        let Some(expected) = by_tshark(&capture) else {
            println!("skipped: tshark is not installed");
            return;
        };
        let found = by_kcap(&capture);
        let name = capture.file_name().expect("captures have names").to_string_lossy();
        let mut keys: Vec<_> = expected.keys().chain(found.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            compared += 1;
            if expected.get(key) == found.get(key) {
                continue;
            }
            let ends = format!("{} {} {}", key.0, key.1, key.2);
            let row = EXPLAINED
                .iter()
                .position(|(capture, prefix, _)| *capture == name && ends.starts_with(prefix));
            match row {
                Some(row) => used[row] = true,
                None => differences.push(format!(
                    "{name}, {ends}:\n  tshark {:?}\n  kcap   {:?}",
                    expected.get(key),
                    found.get(key)
                )),
            }
        }
    }
    println!("{compared} pairs of ends compared");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 100 && used.iter().all(|used| *used), "explanations without a difference: {used:?}");
}

#[test]
fn segments_answer_as_the_captures_that_they_were_made_of() {
    let Some(root) = collection("zeek") else { return };
    let mut captures = Vec::new();
    gather(&root, &[".pcap"], &mut captures);
    let folder = tempfile::tempdir().expect("a folder");
    for (number, capture) in captures.iter().enumerate() {
        let segments = folder.path().join(number.to_string());
        let arguments = ["convert", "--to", "segments"].map(std::ffi::OsStr::new);
        let made = kcap(&[&arguments[..], &[capture.as_os_str(), segments.as_os_str()]].concat());
        assert!(made.status.success(), "{}", capture.display());
        assert_eq!(by_kcap(capture), by_kcap(&segments), "{}", capture.display());
    }
}

#[test]
fn streams_are_those_of_pcapplusplus() {
    let folder = "pcapplusplus/Tests";
    let examples = format!("{folder}/ExamplesTest");
    let Some(capture) = collection(&format!("{examples}/pcap_examples/tcp-reassembly.pcap")) else { return };
    let golden = |name: &str| {
        let path =
            collection(&format!("{examples}/expected_output/{name}")).expect("goldens lie with captures");
        fs::read(path).expect("a golden")
    };
    let id = rows(&capture, &[], "SELECT flow_id FROM flows WHERE client_port = 64370 AND ip_proto = 6");
    let follow = |side: &str| {
        let path = capture.to_str().expect("captures have plain names");
        let output = kcap(&["follow", &id[0], path, "--format", "raw", "--side", side]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let ends = "172.16.133.54.64370-23.21.118.18.80";
    let back = "23.21.118.18.80-172.16.133.54.64370";
    assert!(follow("both") == golden(&format!("tcpreassembly_sanity/{ends}.txt")));
    assert!(follow("client") == golden(&format!("tcpreassembly_sides/{ends}.txt")));
    assert!(follow("server") == golden(&format!("tcpreassembly_sides/{back}.txt")));
    // The table has the same bytes, in order.
    let sql = format!(
        "SELECT sum(len), max(\"offset\" + len), count(*) FILTER (WHERE gap_before > 0) FROM streams \
         WHERE flow_id = {} AND side = 'client'",
        id[0]
    );
    let len = follow("client").len();
    assert_eq!(rows(&capture, &[], &sql), [format!("{len},{len},0")]);
}

#[test]
fn states_and_histories_are_those_of_zeek() {
    let baseline = "zeek/testing/btest/Baseline/scripts.base.protocols.dhcp.dhcp-all-msg-types/conn.log";
    let (Some(log), Some(capture)) =
        (collection(baseline), collection("zeek/testing/btest/Traces/dhcp/dhcp.pcap"))
    else {
        return;
    };
    let log = fs::read_to_string(log).expect("a log");
    let names: Vec<&str> =
        log.lines().find_map(|line| line.strip_prefix("#fields\t")).expect("names").split('\t').collect();
    let wanted = "id.orig_h id.orig_p id.resp_h id.resp_p ip_proto conn_state history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes";
    let mut expected: Vec<String> = log
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let values: Vec<&str> = line.split('\t').collect();
            let value = |name| values[names.iter().position(|other| *other == name).expect("a field")];
            wanted.split(' ').map(value).collect::<Vec<_>>().join(",")
        })
        .collect();
    let sql = "SELECT ip_text(client_ip), client_port, ip_text(server_ip), server_port, ip_proto, conn_state, history, \
        client_packets, client_ip_bytes, server_packets, server_ip_bytes FROM flows";
    let mut found = rows(&capture, &["--flow-timeout", "60s"], sql);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

/// Community IDs in a text.
fn community_ids(text: &str) -> Vec<String> {
    const LEN: usize = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".len();
    let id = |(at, _)| {
        let id = text.get(at..at + LEN)?;
        let is_base64 = |character: char| character.is_ascii_alphanumeric() || "+/".contains(character);
        (id.ends_with('=') && id[2..LEN - 1].chars().all(is_base64)).then(|| id.to_owned())
    };
    text.match_indices("1:").filter_map(id).collect()
}

#[test]
fn community_ids_are_those_of_packetbeat_and_arkime() {
    let Some(root) = collection("") else { return };
    let mut goldens = Vec::new();
    gather(&root.join("beats/golden_by_pcap"), &[".expect.json"], &mut goldens);
    gather(&root.join("beats/libbeat"), &[".pcap.log"], &mut goldens);
    gather(&root.join("arkime"), &[".test"], &mut goldens);
    let mut captures = Vec::new();
    gather(&root, &[".pcap"], &mut captures);
    let mut compared = 0;
    for golden in goldens {
        let ids = community_ids(&fs::read_to_string(&golden).expect("a golden"));
        let name = golden.file_name().expect("goldens have names").to_string_lossy().into_owned();
        let name = name
            .strip_suffix(".expect.json")
            .or(name.strip_suffix(".log"))
            .map_or_else(|| name.replace(".test", ".pcap"), str::to_owned);
        if ids.is_empty() {
            continue;
        }
        let capture = captures.iter().find(|path| path.ends_with(&name));
        let capture = capture.unwrap_or_else(|| panic!("no capture of {}", golden.display()));
        let found = rows(capture, &[], "SELECT DISTINCT community_id FROM flows");
        for id in ids {
            compared += 1;
            assert!(found.contains(&id), "{name}: {id} is none of {found:?}");
        }
    }
    println!("{compared} Community IDs compared");
    assert!(compared > 10);
}
