//! Servers and clients that run the `kcap-traffic` binary: real processes, whose ids, ports and bytes are known.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::process::Command;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::binary;
use crate::command::{COMMAND_TIME_MAX, Running, run};
use crate::namespace::Namespace;

/// Bytes of the largest UDP payload over IPv4.
pub const DATAGRAM_LEN_MAX: usize = 65_507;

/// Ports that servers listen on: below those that the kernel gives to clients, so that a capture filter can tell this
/// traffic from whatever else goes on.
pub const SERVER_PORTS: RangeInclusive<u16> = 21_000..=21_999;

/// What one process of `kcap-traffic` did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The process, as the initial pid namespace knows it.
    pub pid: u32,
    /// Ports of the clients, one a connection or datagram.
    pub client_ports: BTreeSet<u16>,
    /// Connections or datagrams.
    pub count: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
}

impl Summary {
    /// An empty one of this process.
    pub fn of_this_process() -> Self {
        Self {
            pid: std::process::id(),
            client_ports: BTreeSet::new(),
            count: 0,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// Adds one connection or datagram.
    pub fn add(&mut self, client_port: u16, sent_bytes: usize, received_bytes: usize) {
        self.client_ports.insert(client_port);
        self.count += 1;
        self.sent_bytes += sent_bytes as u64;
        self.received_bytes += received_bytes as u64;
    }

    #[track_caller]
    fn parse(output: &str) -> Self {
        let line = output.lines().last().expect("a summary");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("not a summary: {line}: {error}"))
    }
}

/// `length` bytes that differ between offsets, so that a lost, doubled or moved byte shows.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// How the traffic is carried and served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP, served by the process that listens.
    Tcp,
    /// TCP, served by a child forked after listen(2).
    TcpFork,
    /// UDP, echoed.
    Udp,
}

impl Kind {
    /// `tcp` or `udp`.
    pub fn transport(self) -> &'static str {
        match self {
            Kind::Tcp | Kind::TcpFork => "tcp",
            Kind::Udp => "udp",
        }
    }

    fn server(self) -> &'static str {
        match self {
            Kind::Tcp => "tcp",
            Kind::TcpFork => "tcp-fork",
            Kind::Udp => "udp",
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    /// The process that listens; with [`Kind::TcpFork`] a child of it serves.
    pub pid: u32,
}

impl Server {
    /// Starts a server for `count` connections or datagrams, in a namespace or in that of the test.
    #[track_caller]
    pub fn start(kind: Kind, address: IpAddr, count: usize, namespace: Option<&Namespace>) -> Self {
        let mut command = traffic(namespace);
        command.args(["serve", kind.server(), &address.to_string(), &count.to_string()]);
        let mut running = Running::start(&mut command);
        let port = running.wait_for_line("listening ").parse().expect("a port");
        // `ip netns exec` becomes the program that it runs, so the pid is the server's either way.
        Self { pid: running.pid(), running, address: SocketAddr::new(address, port) }
    }

    /// Waits until it has served all, and tells what it did.
    #[track_caller]
    pub fn finish(self) -> Summary {
        Summary::parse(&self.running.wait(COMMAND_TIME_MAX).success().text())
    }
}

/// Runs a client to its end: `count` connections or datagrams of `bytes` bytes each way.
#[track_caller]
pub fn connect(
    kind: Kind,
    server: SocketAddr,
    count: usize,
    bytes: usize,
    namespace: Option<&Namespace>,
) -> Summary {
    let mut command = traffic(namespace);
    command.args(["connect", kind.transport(), &server.to_string(), &count.to_string(), &bytes.to_string()]);
    Summary::parse(&run(&mut command).success().text())
}

fn traffic(namespace: Option<&Namespace>) -> Command {
    let program = binary::kcap_traffic();
    namespace.map_or_else(|| Command::new(&program), |namespace| namespace.command(&program))
}

/// A port that nothing listens on just now, for servers that can't choose one by themselves.
#[track_caller]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("its address").port()
}

/// What a flood was.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// The receiver's port.
    pub port: u16,
    /// The process that sent.
    pub sender: u32,
    /// The process that received.
    pub receiver: u32,
}

/// Sends datagrams over loopback as fast as they go, without waiting for answers, to a process that reads what it can.
#[track_caller]
pub fn flood(count: usize, bytes: usize) -> Flood {
    let mut receiver = Running::start(traffic(None).args(["sink", "127.0.0.1"]));
    let port: u16 = receiver.wait_for_line("listening ").parse().expect("a port");
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let mut sender = traffic(None);
    sender.args(["flood", &server.to_string(), &count.to_string(), &bytes.to_string()]);
    let sender = Summary::parse(&run(&mut sender).success().text());
    let flood = Flood { port, sender: sender.pid, receiver: receiver.pid() };
    receiver.stop(Signal::SIGTERM);
    flood
}
