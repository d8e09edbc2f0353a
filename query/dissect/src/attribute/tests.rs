//! Owners of packets: the orders in which kernels tell of sockets and their users.

use std::sync::Arc;

use super::*;
use crate::decode::samples::{CLIENT_V4, SERVER_V4, ethernet, ipv4, tcp, udp};
use crate::decode::{decode, link_type, map_ipv4};

const MASTER: ProcessRef = ProcessRef { pid: 10, start_time_ns: 1_000_000_000, coarse: false };
const WORKER: ProcessRef = ProcessRef { pid: 11, start_time_ns: 2_000_000_000, coarse: false };

fn socket(time_ns: u64, cookie: u64, kind: SocketFactKind, owner: Option<ProcessRef>) -> SocketFact {
    SocketFact { time_ns, cookie, kind, owner, protocol: 6, ..SocketFact::default() }
}

fn index(facts: impl IntoIterator<Item = SocketFact>) -> OwnerIndex {
    let mut builder = OwnerIndexBuilder::default();
    facts.into_iter().for_each(|fact| builder.socket(fact));
    builder.build()
}

fn answer(index: &OwnerIndex, cookie: u64, time_ns: u64) -> (Option<u32>, Attribution) {
    let owner = index.owner_of_cookie(cookie, time_ns).expect("a known socket");
    (owner.process.map(|process| index.process(process).process.pid), owner.attribution)
}

#[test]
fn the_last_user_before_the_packet_owns_it() {
    use SocketFactKind::{Connect, Create, Receive, Send};
    let index = index([
        socket(10, 1, Create, Some(MASTER)),
        socket(30, 1, Send, Some(WORKER)),
        socket(20, 1, Connect, Some(MASTER)),
        socket(40, 1, Receive, Some(MASTER)),
    ]);
    assert_eq!(answer(&index, 1, 20), (Some(10), Attribution::Cookie));
    assert_eq!(answer(&index, 1, 29), (Some(10), Attribution::Cookie));
    assert_eq!(answer(&index, 1, 30), (Some(11), Attribution::Cookie));
    assert_eq!(answer(&index, 1, 99), (Some(10), Attribution::Cookie));
}

/// A server forks after it listened: what arrives before the child first reads is the child's all the same.
#[test]
fn the_first_reader_owns_what_arrived_before_it_read() {
    use SocketFactKind::{Accepted, Bind, Create, Receive};
    let accepted = SocketFact { inherited_owner: Some(MASTER), ..socket(10, 2, Accepted, None) };
    let with_reader = index([accepted.clone(), socket(50, 2, Receive, Some(WORKER))]);
    assert_eq!(answer(&with_reader, 2, 20), (Some(11), Attribution::Cookie));
    assert_eq!(answer(&index([accepted]), 2, 20), (Some(10), Attribution::SocketStorage));

    let datagrams = [
        socket(1, 3, Create, Some(MASTER)),
        socket(2, 3, Bind, Some(MASTER)),
        socket(9, 3, Receive, Some(WORKER)),
    ];
    assert_eq!(answer(&index(datagrams), 3, 5), (Some(11), Attribution::Cookie));
}

#[test]
fn creators_and_proc_are_the_last_resort() {
    let created = index([socket(10, 1, SocketFactKind::Create, Some(MASTER))]);
    assert_eq!(answer(&created, 1, 5), (Some(10), Attribution::Cookie));
    let coarse = ProcessRef { coarse: true, ..MASTER };
    let older = index([socket(10, 1, SocketFactKind::Enumerate, Some(coarse))]);
    assert_eq!(answer(&older, 1, 5), (Some(10), Attribution::ProcScan));
    let nobody = index([socket(10, 1, SocketFactKind::Established, None)]);
    assert_eq!(answer(&nobody, 1, 15), (None, Attribution::NoOwner));
    assert_eq!(nobody.owner_of_cookie(2, 15), None);
    assert_eq!(nobody.owner_of_cookie(0, 15), None);
}

/// `/proc` rounds the start down to 10 ms: both names are one process, but a number that was given anew is another.
#[test]
fn coarse_starts_find_the_exact_process() {
    let exact = ProcessRef { pid: 5, start_time_ns: 77_123_456_789, coarse: false };
    let coarse = ProcessRef { pid: 5, start_time_ns: 77_120_000_000, coarse: true };
    let reused = ProcessRef { pid: 5, start_time_ns: 99_000_000_000, coarse: false };
    let mut table = ProcessTable::default();
    for (time_ns, process, name) in [(1, coarse, "init"), (2, exact, "init"), (3, reused, "late")] {
        let description = Description { name: name.as_bytes().into(), ..Description::default() };
        table.add(ProcessFact { time_ns, process, description, ..ProcessFact::default() });
    }
    assert_eq!(table.lives().len(), 2);
    assert_eq!(table.lives()[0].process, exact, "the exact start replaces the coarse one");
    assert_eq!(table.find(coarse), table.find(exact));
    assert_ne!(table.find(reused), table.find(exact));
    let neighbour = ProcessRef { start_time_ns: exact.start_time_ns + 1, ..exact };
    assert_eq!(table.find(neighbour), None, "exact starts must agree exactly");
}

#[test]
fn descriptions_change_with_exec_and_are_inherited_by_fork() {
    let describe = |name: &str, executable: &str| Description {
        name: name.as_bytes().into(),
        executable: executable.as_bytes().into(),
        ..Description::default()
    };
    let mut builder = OwnerIndexBuilder::default();
    let mut tell = |time_ns, kind, process, parent, description| {
        let exit_code = (kind == ProcessFactKind::Exit).then_some(256);
        builder.process(ProcessFact {
            time_ns,
            kind,
            process,
            parent,
            description,
            exit_code,
            pid_namespace: 0,
        });
    };
    tell(10, ProcessFactKind::Enumerate, MASTER, None, describe("bash", "/bin/bash"));
    tell(20, ProcessFactKind::Fork, WORKER, Some(MASTER), describe("bash", ""));
    tell(30, ProcessFactKind::Exec, WORKER, Some(MASTER), describe("curl", "/usr/bin/curl"));
    tell(40, ProcessFactKind::Exit, WORKER, None, describe("curl", ""));
    let index = builder.build();
    let worker = index.process(index.processes().find(WORKER).unwrap());
    let executable_at = |time_ns| &worker.description(time_ns).unwrap().executable[..];
    assert_eq!((executable_at(5), executable_at(25)), (&b"/bin/bash"[..], &b"/bin/bash"[..]));
    assert_eq!((executable_at(30), executable_at(99)), (&b"/usr/bin/curl"[..], &b"/usr/bin/curl"[..]));
    assert_eq!((worker.first_seen, worker.parent), (ProcessFactKind::Fork, Some(MASTER)));
    assert_eq!((worker.exited_ns, worker.exit_code), (Some(40), Some(256)));
    assert_eq!(worker.descriptions().len(), 2, "facts that are told twice count once");
}

/// Arguments may be a megabyte, and clones a hundred thousand.
#[test]
fn clones_share_what_they_run() {
    let mut builder = OwnerIndexBuilder::default();
    let arguments = Arc::from([b"server".to_vec(), vec![b'x'; 1000]]);
    let description = Description { arguments: Arc::clone(&arguments), ..Description::default() };
    let kind = ProcessFactKind::Exec;
    builder.process(ProcessFact { time_ns: 1, kind, process: MASTER, description, ..ProcessFact::default() });
    let fork = ProcessFact { kind: ProcessFactKind::Fork, parent: Some(MASTER), ..ProcessFact::default() };
    builder.process(ProcessFact { time_ns: 2, process: WORKER, ..fork });
    let moved = Description { cgroup_id: 7, ..Description::default() };
    let kind = ProcessFactKind::CgroupAttach;
    builder.process(ProcessFact {
        time_ns: 3,
        kind,
        process: WORKER,
        description: moved,
        ..ProcessFact::default()
    });
    let index = builder.build();
    let worker = index.process(index.processes().find(WORKER).unwrap());
    assert_eq!(worker.descriptions().len(), 2);
    for (_, description) in worker.descriptions() {
        assert!(Arc::ptr_eq(&description.arguments, &arguments));
    }
}

const CLIENT_PORT: u16 = 40_000;

fn client_end() -> Endpoint {
    Endpoint { address: map_ipv4(CLIENT_V4), port: CLIENT_PORT }
}

fn server_end(address: [u8; 4]) -> Endpoint {
    Endpoint { address: map_ipv4(address), port: 443 }
}

/// From client to server.
fn segment(flags: u8) -> Decoded {
    let packet = ipv4(CLIENT_V4, SERVER_V4, 6, 1, &tcp(CLIENT_PORT, 443, 1, 1, flags));
    decode(link_type::RAW, &packet, 40)
}

fn facts(decoded: &Decoded, direction: Direction, socket_cookie: u64) -> PacketFacts<'_> {
    PacketFacts { time_ns: 100, direction, socket_cookie, netns_cookie: 0, at_interface: false, decoded }
}

fn pid(index: &OwnerIndex, owner: Owner) -> Option<u32> {
    owner.process.map(|process| index.process(process).process.pid)
}

/// After the client closed, its connection lingers in TIME_WAIT: the kernel acknowledges the server's end through a
/// socket of its own, which no event tells of.
#[test]
fn acknowledgements_after_the_close_are_the_kernels() {
    let connect = SocketFact {
        local: Some(client_end()),
        remote: Some(server_end(SERVER_V4)),
        ..socket(10, 1, SocketFactKind::Connect, Some(MASTER))
    };
    let open = index([connect.clone()]);
    let closed = index([connect, socket(90, 1, SocketFactKind::Release, Some(MASTER))]);
    let (ack, reset) = (segment(0x10), segment(0x14));
    const KERNEL_SOCKET: u64 = 999;

    let owner = closed.attribute(&facts(&ack, Direction::Egress, KERNEL_SOCKET), None);
    assert_eq!((pid(&closed, owner), owner.attribution), (Some(10), Attribution::Kernel));
    let owner = open.attribute(&facts(&ack, Direction::Egress, KERNEL_SOCKET), None);
    assert_eq!((pid(&open, owner), owner.attribution), (Some(10), Attribution::Tuple));
    let owner = open.attribute(&facts(&reset, Direction::Egress, 0), None);
    assert_eq!((pid(&open, owner), owner.attribution), (Some(10), Attribution::Kernel));
    let owner = open.attribute(&facts(&ack, Direction::Egress, 1), None);
    assert_eq!((pid(&open, owner), owner.attribution), (Some(10), Attribution::Cookie));
    let nobody = OwnerIndex::default();
    let reasons = [0, KERNEL_SOCKET].map(|cookie| {
        let owner = nobody.attribute(&facts(&ack, Direction::Egress, cookie), None);
        (owner.process, owner.attribution)
    });
    assert_eq!(reasons, [(None, Attribution::NoSocket), (None, Attribution::UnknownSocket)]);
}

#[test]
fn pings_are_answered_by_the_kernel() {
    let reply = decode(link_type::RAW, &ipv4(SERVER_V4, CLIENT_V4, 1, 1, &[0; 8]), 28);
    let request = decode(link_type::RAW, &ipv4(CLIENT_V4, SERVER_V4, 1, 1, &[8, 0, 0, 0, 0, 0, 0, 0]), 28);
    let index = OwnerIndex::default();
    let attribution = |decoded, direction| index.attribute(&facts(decoded, direction, 0), None).attribution;
    assert_eq!(attribution(&reply, Direction::Egress), Attribution::Kernel);
    assert_eq!(attribution(&reply, Direction::Ingress), Attribution::NoSocket);
    assert_eq!(attribution(&request, Direction::Egress), Attribution::NoSocket);
}

#[test]
fn a_listener_is_found_for_packets_without_socket() {
    let bound = |address| SocketFact {
        local: Some(Endpoint { address, port: 443 }),
        ..socket(10, 8, SocketFactKind::Bind, Some(MASTER))
    };
    let syn = segment(0x02);
    for address in [[0; 16], map_ipv4([0; 4]), map_ipv4(SERVER_V4)] {
        let index = index([bound(address)]);
        let owner = index.attribute(&facts(&syn, Direction::Ingress, 0), None);
        assert_eq!((pid(&index, owner), owner.attribution), (Some(10), Attribution::Tuple));
        let owner = index.attribute(&facts(&syn, Direction::Egress, 0), None);
        assert_eq!(owner.attribution, Attribution::NoSocket, "the client is somebody else");
    }
    let elsewhere = index([bound(map_ipv4([10, 0, 0, 77]))]);
    assert_eq!(elsewhere.attribute(&facts(&syn, Direction::Ingress, 0), None).process, None);
}

/// A router listens on a port, and so does a host behind it.
#[test]
fn what_is_forwarded_belongs_to_nobody_here() {
    const NETNS: u64 = 5;
    let bound = SocketFact {
        netns_cookie: NETNS,
        local: Some(Endpoint { address: [0; 16], port: 443 }),
        ..socket(10, 8, SocketFactKind::Bind, Some(MASTER))
    };
    let ask = |addresses: &[[u8; 4]], decoded: &Decoded, direction| {
        let mut builder = OwnerIndexBuilder::default();
        builder.socket(bound.clone());
        addresses.iter().for_each(|address| builder.local_address(NETNS, map_ipv4(*address)));
        builder.local_address(NETNS + 1, map_ipv4(SERVER_V4));
        let index = builder.build();
        let packet = PacketFacts { netns_cookie: NETNS, at_interface: true, ..facts(decoded, direction, 0) };
        let owner = index.attribute(&packet, None);
        (pid(&index, owner), owner.attribution)
    };
    let (syn, reset) = (segment(0x02), segment(0x14));
    assert_eq!(ask(&[], &syn, Direction::Ingress), (None, Attribution::NoSocket), "of another namespace");
    assert_eq!(ask(&[SERVER_V4], &syn, Direction::Ingress), (Some(10), Attribution::Tuple));
    assert_eq!(ask(&[], &reset, Direction::Egress), (None, Attribution::NoSocket));
    assert_eq!(ask(&[CLIENT_V4], &reset, Direction::Egress), (None, Attribution::Kernel));
    let arp = decode(link_type::ETHERNET, &ethernet(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 0, 0]), 60);
    let whole = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 20]].concat();
    let whole = decode(link_type::ETHERNET, &ethernet(0x0806, &whole), 60);
    for direction in [Direction::Ingress, Direction::Egress] {
        assert_eq!(ask(&[], &whole, direction), (None, Attribution::Kernel));
        assert_eq!(ask(&[], &arp, direction), (None, Attribution::NoSocket), "cut off");
    }
}

#[test]
fn tuples_are_learned_from_packets() {
    let index = index([socket(10, 1, SocketFactKind::Create, Some(MASTER))]);
    let datagram = decode(link_type::RAW, &ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(CLIENT_PORT, 53, 0)), 28);
    let answer = decode(link_type::RAW, &ipv4(SERVER_V4, CLIENT_V4, 17, 1, &udp(53, CLIENT_PORT, 0)), 28);
    let mut learned = TupleTable::default();
    index.learn(&mut learned, &facts(&datagram, Direction::Egress, 1));
    let owner = index.attribute(&facts(&answer, Direction::Ingress, 0), Some(&learned));
    assert_eq!((pid(&index, owner), owner.attribution), (Some(10), Attribution::Tuple));
    assert_eq!(index.attribute(&facts(&answer, Direction::Ingress, 0), None).process, None);
}

/// What a connection in TIME_WAIT sends is recorded only where it arrives.
#[test]
fn the_other_end_is_found_by_the_tuple() {
    let connect = SocketFact {
        netns_cookie: 5,
        local: Some(client_end()),
        remote: Some(server_end(SERVER_V4)),
        ..socket(10, 1, SocketFactKind::Connect, Some(MASTER))
    };
    let listener = SocketFact {
        local: Some(Endpoint { address: [0; 16], port: 443 }),
        ..socket(10, 8, SocketFactKind::Bind, Some(WORKER))
    };
    let index = index([connect, listener]);
    let ack = segment(0x10);
    let arriving = index.other_end(&facts(&ack, Direction::Ingress, 2)).unwrap();
    assert_eq!((pid(&index, arriving), arriving.attribution), (Some(10), Attribution::Tuple));
    assert_eq!(
        index.other_end(&facts(&ack, Direction::Egress, 1)),
        None,
        "a listener on any address here says nothing about a server elsewhere"
    );
}

/// Every container has its own 127.0.0.1: a tuple of one namespace says nothing in another.
#[test]
fn tuples_stay_in_their_namespace() {
    let connect = |netns_cookie, cookie, owner| SocketFact {
        netns_cookie,
        local: Some(client_end()),
        remote: Some(server_end(SERVER_V4)),
        ..socket(10, cookie, SocketFactKind::Connect, Some(owner))
    };
    let index = index([connect(1, 100, MASTER), connect(2, 200, WORKER)]);
    let ack = segment(0x10);
    let owner_in = |netns_cookie| {
        let packet = PacketFacts { netns_cookie, ..facts(&ack, Direction::Egress, 0) };
        pid(&index, index.attribute(&packet, None))
    };
    assert_eq!((owner_in(1), owner_in(2)), (Some(10), Some(11)));
    assert_eq!(owner_in(3), None);
    assert_eq!(owner_in(0), None, "an unknown namespace could be either");
}
