//! Known traffic, recorded by kcap and by tcpdump at the same time: the same packets with the same bytes, once where the
//! arriving copies are left out, and each attributed to the process that sent it and to the one that received it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use kcap_tests::kcap::{kcap, number, number_with_duplicates, sql};
use kcap_tests::namespace::Namespace;
use kcap_tests::recorder::Recorder;
use kcap_tests::tcpdump::Tcpdump;
use kcap_tests::traffic::{Kind, SERVER_PORTS, Server, Summary, connect};
use kcap_tests::{kernel, packets, pcap};

/// Bytes each way of a TCP connection: several segments even of the size that segmentation offload makes.
const CONNECTION_BYTES: usize = 300_000;
/// Bytes of a datagram that fits an Ethernet frame.
const DATAGRAM_BYTES: usize = 1_200;

/// Above the default: TCP hands packets of up to 128 KiB to the loopback interface.
const SNAPLEN: &str = "262144";

/// What took place on one server port.
struct Exchange {
    port: u16,
    clients: Vec<Summary>,
    /// The process that listened.
    listener: u32,
    /// The process that served; another one where the server forks.
    server: Summary,
}

impl Exchange {
    /// Runs a server to its end, for as many clients as are given, each a process.
    fn run(
        kind: Kind,
        address: IpAddr,
        clients: usize,
        bytes: usize,
        namespaces: [Option<&Namespace>; 2],
    ) -> Self {
        let [client_space, server_space] = namespaces;
        let server = Server::start(kind, address, clients, server_space);
        let (address, listener) = (server.address, server.pid);
        let clients = (0..clients).map(|_| connect(kind, address, 1, bytes, client_space)).collect();
        Self { port: address.port(), clients, listener, server: server.finish() }
    }

    /// The same packets as tcpdump's, each once.
    fn assert_bytes(&self, capture: &Path, recorded: &[Vec<u8>], seen: &[Vec<u8>]) {
        let recorded = packets::of_port(recorded, self.port);
        packets::assert_same(&recorded, &packets::of_port(seen, self.port));
        let rows = number(capture, &format!("SELECT count(*) FROM packets WHERE {}", self.on_port()));
        assert_eq!(rows, recorded.len() as u64, "rows of the packets table");
    }

    /// Each packet was recorded leaving and arriving, and what arrived names what left.
    fn assert_copies(&self, capture: &Path) {
        let count = format!("SELECT count(*) FROM packets WHERE {}", self.on_port());
        let once = number(capture, &count);
        let named = number_with_duplicates(capture, &format!("{count} AND duplicate_of IS NOT NULL"));
        assert_eq!(number_with_duplicates(capture, &count), once + named);
        // More than half, since a packet may arrive in pieces.
        assert!(named >= once, "each packet leaves and arrives on this host: {named} of {once} arrived");
        let arriving = format!("{count} AND direction = 'ingress'");
        assert_eq!(number(capture, &arriving), 0, "only what arrived is a copy");
    }

    /// Every packet belongs to the client that owns its port, and to the server.
    fn assert_owners(&self, capture: &Path) {
        // A port that one client has let go of may be given to the next.
        let mut clients_of_port: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for client in &self.clients {
            for port in &client.client_ports {
                clients_of_port.entry(u64::from(*port)).or_default().insert(u64::from(client.pid));
            }
        }
        let (listener, server) = (u64::from(self.listener), u64::from(self.server.pid));
        let rows = sql(
            capture,
            &format!(
                "SELECT src_port, dst_port, src_pid, dst_pid, payload_len > 0 AS has_payload, count(*) AS packets
                 FROM packets WHERE {} GROUP BY 1, 2, 3, 4, 5",
                self.on_port()
            ),
        );
        let mut seen_clients = BTreeSet::new();
        for row in &rows {
            let value = |name: &str| row[name].as_u64();
            let to_server = value("dst_port") == Some(u64::from(self.port));
            let ends = if to_server {
                (value("src_port"), value("src_pid"), value("dst_pid"))
            } else {
                (value("dst_port"), value("dst_pid"), value("src_pid"))
            };
            let (Some(client_port), Some(client_pid), Some(server_pid)) = ends else {
                panic!("an end without an owner: {row}");
            };
            let clients = clients_of_port.get(&client_port);
            assert!(
                clients.is_some_and(|clients| clients.contains(&client_pid)),
                "the client's end, of {clients:?}: {row}"
            );
            // The handshake is the listening process's work, the data are those of the one that serves.
            let may_own = server_pid == server || (server_pid == listener && row["has_payload"] == false);
            assert!(may_own, "the server's end, of {server} (listener {listener}): {row}");
            seen_clients.insert(client_pid);
        }
        assert_eq!(seen_clients.len(), self.clients.len(), "each client has packets");
    }

    fn on_port(&self) -> String {
        format!("(src_port = {port} OR dst_port = {port})", port = self.port)
    }
}

/// The packets of a capture from the network header on, without the copies of local traffic.
fn exported(capture: &Path, folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("exported.pcap");
    kcap(["convert".as_ref(), "--to".as_ref(), "pcap".as_ref(), capture.as_os_str(), path.as_os_str()])
        .success();
    pcap::network_packets(&path)
}

/// Records while `traffic` runs, beside a tcpdump on `interface`, and checks everything about each exchange.
fn compare(interface: &str, traffic: impl FnOnce() -> Vec<Exchange>) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &["--snaplen", SNAPLEN]);
    let filter = format!("portrange {}-{}", SERVER_PORTS.start(), SERVER_PORTS.end());
    let tcpdump = Tcpdump::start(&folder.path().join("tcpdump.pcap"), interface, &filter);
    let exchanges = traffic();
    let seen = tcpdump.stop();
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let recorded = exported(&capture, folder.path());
    for exchange in &exchanges {
        exchange.assert_bytes(&capture, &recorded, &seen);
        exchange.assert_copies(&capture);
        exchange.assert_owners(&capture);
    }
}

#[test]
fn loopback_is_recorded_as_tcpdump_sees_it() {
    if !kernel::available() {
        return;
    }
    compare("lo", || {
        let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let run = |kind, address, bytes| Exchange::run(kind, address, 3, bytes, [None, None]);
        addresses
            .into_iter()
            .flat_map(|address| {
                [
                    run(Kind::Tcp, address, CONNECTION_BYTES),
                    run(Kind::Udp, address, DATAGRAM_BYTES),
                    // The smallest, and one that takes the largest slot of the ring.
                    run(Kind::Udp, address, 1),
                    run(Kind::Udp, address, 60_000),
                ]
            })
            .collect()
    });
}

#[test]
fn another_host_is_recorded_as_tcpdump_sees_it() {
    if !kernel::available() {
        return;
    }
    let host = Namespace::new();
    compare(&host.interface, || {
        let mut exchanges = Vec::new();
        for v6 in [false, true] {
            for (kind, bytes) in [(Kind::Tcp, CONNECTION_BYTES), (Kind::Udp, DATAGRAM_BYTES)] {
                exchanges.push(Exchange::run(kind, host.far(v6), 2, bytes, [None, Some(&host)]));
                exchanges.push(Exchange::run(kind, host.near(v6), 2, bytes, [Some(&host), None]));
            }
        }
        exchanges
    });
}

#[test]
fn short_lived_processes_own_their_packets() {
    if !kernel::available() {
        return;
    }
    compare("lo", || {
        [(Kind::Tcp, 100), (Kind::Udp, 100)]
            .map(|(kind, bytes)| Exchange::run(kind, Ipv4Addr::LOCALHOST.into(), 40, bytes, [None, None]))
            .into()
    });
}

#[test]
fn a_server_that_forks_after_listening_owns_what_its_child_serves() {
    if !kernel::available() {
        return;
    }
    compare("lo", || {
        let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let run = |address| Exchange::run(Kind::TcpFork, address, 3, CONNECTION_BYTES, [None, None]);
        let exchanges: Vec<_> = addresses.map(run).into();
        assert!(exchanges.iter().all(|exchange| exchange.server.pid != exchange.listener));
        exchanges
    });
}
