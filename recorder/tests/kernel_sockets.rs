//! Sockets: who made, bound, connected, accepted, used and closed them.

mod kernel;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{self, Command, Stdio},
};

use kcap_recorder_ebpf::{Program, SocketEvent, SocketEventKind};

use kcap_recorder::probe::LoadOptions;
use kernel::{Event, Recorded, Session, cookie, options};

/// The smallest event ring.
const EVENT_RING_LEN: u32 = 256 << 10;

#[test]
fn a_tcp_connection_is_told_from_both_ends() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Some(session) = Session::start(&options()) else { return };
        let listener = TcpListener::bind(address).unwrap();
        let server = listener.local_addr().unwrap();
        let client_socket = TcpStream::connect(server).unwrap();
        let client = client_socket.local_addr().unwrap();
        let (accepted_socket, _) = listener.accept().unwrap();
        let cookies = [cookie(&listener), cookie(&client_socket), cookie(&accepted_socket)];
        drop((client_socket, accepted_socket, listener));
        let recorded = session.finish();

        let [listening, connecting, accepted] = cookies;
        let bound = one(&recorded, listening, SocketEventKind::Bind);
        assert_eq!(local(&bound), server);
        let connect = one(&recorded, connecting, SocketEventKind::Connect);
        assert_eq!(remote(&connect), server);
        for created in [listening, connecting] {
            let create = one(&recorded, created, SocketEventKind::Create);
            assert_eq!((create.head.process.pid, create.socket_type, create.protocol), (process::id(), 1, 6));
        }
        let established = one(&recorded, connecting, SocketEventKind::Established);
        assert_eq!((local(&established), remote(&established)), (client, server));
        assert_eq!(established.head.process.pid, 0, "softirq names nobody");
        let accept = one(&recorded, accepted, SocketEventKind::Accepted);
        assert_eq!((local(&accept), remote(&accept)), (server, client));
        assert_eq!(accept.inherited_owner.pid, process::id());
        assert_eq!(accept.inherited_owner.start_time_ns, bound.head.process.start_time_ns);
        for released in cookies {
            assert_eq!(one(&recorded, released, SocketEventKind::Release).head.process.pid, process::id());
        }
        let netns = bound.netns_cookie;
        assert!(netns != 0 && connect.netns_cookie == netns && accept.netns_cookie == netns);
        // Packets name the same sockets.
        for owner in [connecting, accepted] {
            assert!(recorded.packets.iter().any(|packet| packet.head.socket_cookie == owner));
        }
    }
}

#[test]
fn who_sends_on_an_inherited_socket_is_told_once() {
    let Some(session) = Session::start(&options()) else { return };
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let sending = cookie(&sender);
    for _ in 0..100 {
        sender.send(b"parent").unwrap();
    }
    let output = Stdio::from(OwnedFd::from(sender.try_clone().unwrap()));
    let script = "i=0; while [ $i -lt 100 ]; do echo child; i=$((i+1)); done";
    let mut child = Command::new("/bin/sh").args(["-c", script]).stdout(output).spawn().unwrap();
    child.wait().unwrap();
    sender.send(b"parent again").unwrap();
    let recorded = session.finish();

    let sends = all(&recorded, sending, SocketEventKind::Send);
    let senders: Vec<u32> = sends.iter().map(|event| event.head.process.pid).collect();
    // The parent is known from the creation; then each change of hands is told.
    assert_eq!(senders, [child.id(), process::id()]);
    let packets = recorded.packets.iter().filter(|packet| packet.head.socket_cookie == sending);
    assert!(packets.count() >= 201);
}

/// The owner used to be remembered as told before there was a place in the ring for the event: after a full ring it was
/// never told.
#[test]
fn an_owner_who_could_not_be_told_is_told_at_the_next_use() {
    let small = LoadOptions { event_ring_bytes: EVENT_RING_LEN, ..options() };
    let Some(mut session) = Session::start(&small) else { return };
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap();
    session.stop_draining();
    // Each is at least made and released.
    for _ in 0..EVENT_RING_LEN as usize / size_of::<SocketEvent>() {
        drop(UdpSocket::bind("127.0.0.1:0").unwrap());
    }
    let unconnected = UdpSocket::bind("127.0.0.1:0").unwrap();
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(to).unwrap();
    connected.send(b"while the ring is full").unwrap();
    unconnected.send_to(b"while the ring is full", to).unwrap();
    let cookies = [cookie(&unconnected), cookie(&connected)];
    session.drain_once();
    for _ in 0..2 {
        unconnected.send_to(b"afterwards", to).unwrap();
        connected.send(b"afterwards").unwrap();
    }
    let recorded = session.finish();
    for cookie in cookies {
        assert!(all(&recorded, cookie, SocketEventKind::Create).is_empty(), "the ring was not full");
        assert_eq!(one(&recorded, cookie, SocketEventKind::Send).head.process.pid, process::id());
    }
}

#[test]
fn whoever_receives_is_told() {
    let Some(session) = Session::start(&options()) else { return };
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let receiving = cookie(&receiver);
    sender.send_to(b"one line\n", receiver.local_addr().unwrap()).unwrap();
    let input = Stdio::from(OwnedFd::from(receiver.try_clone().unwrap()));
    let mut child =
        Command::new("/usr/bin/head").args(["-c", "9"]).stdin(input).stdout(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    let recorded = session.finish();
    let receives = all(&recorded, receiving, SocketEventKind::Receive);
    assert_eq!(receives.iter().map(|event| event.head.process.pid).collect::<Vec<_>>(), [child.id()]);
}

#[test]
fn all_hooks_of_this_kernel_are_attached() {
    let Some(session) = Session::start(&options()) else { return };
    let loaded = session.loaded();
    assert_eq!(loaded.missing, Vec::<String>::new());
    for program in
        [Program::PacketIngress, Program::PacketEgress, Program::SocketCreate, Program::ProcessExec]
    {
        assert!(loaded.hooks.contains_key(program.name()), "{}", program.name());
    }
    drop(session.finish());
}

fn all(recorded: &Recorded, cookie: u64, kind: SocketEventKind) -> Vec<SocketEvent> {
    let events = recorded.events.iter().filter_map(|event| match event {
        Event::Socket(event) if event.cookie == cookie && event.socket_kind == kind as u16 => Some(*event),
        _ => None,
    });
    events.collect()
}

fn one(recorded: &Recorded, cookie: u64, kind: SocketEventKind) -> SocketEvent {
    let events = all(recorded, cookie, kind);
    assert_eq!(events.len(), 1, "{kind:?} of {cookie}");
    events[0]
}

fn local(event: &SocketEvent) -> SocketAddr {
    address(event.family, event.local_address, event.local_port)
}

fn remote(event: &SocketEvent) -> SocketAddr {
    address(event.family, event.remote_address, event.remote_port)
}

fn address(family: u16, bytes: [u8; 16], port: u16) -> SocketAddr {
    match i32::from(family) {
        libc::AF_INET => SocketAddr::from((Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]), port)),
        _ => SocketAddr::from((bytes, port)),
    }
}
