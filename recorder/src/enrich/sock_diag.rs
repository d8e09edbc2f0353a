//! Asking the kernel for the sockets of a network namespace (`sock_diag(7)`).

use std::io;

use kcap_format::proto::{Event, SocketEvent, event, socket_event};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

use super::interface::address_bytes;
use crate::clock;

/// Most sockets that are taken from one namespace.
const SOCKETS_MAX: usize = 1 << 18;
/// What is asked for, as family, protocol and `SOCK_*` type.
const KINDS: [(u8, u8, i32); 4] = [
    (AF_INET, IPPROTO_TCP, libc::SOCK_STREAM),
    (AF_INET, IPPROTO_UDP, libc::SOCK_DGRAM),
    (AF_INET6, IPPROTO_TCP, libc::SOCK_STREAM),
    (AF_INET6, IPPROTO_UDP, libc::SOCK_DGRAM),
];

/// The TCP and UDP sockets of the calling thread's network namespace, as events without their owners.
pub(crate) fn dump(netns_cookie: u64) -> io::Result<Vec<Event>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut events = Vec::new();
    for (family, protocol, socket_type) in KINDS {
        socket.send(&request(family, protocol), 0)?;
        let told = |response: &InetResponse| to_event(response, protocol, socket_type, netns_cookie);
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            if parse(&datagram, &mut |response| {
                if events.len() < SOCKETS_MAX {
                    events.push(told(response));
                }
            })? {
                break;
            }
        }
    }
    Ok(events)
}

fn request(family: u8, protocol: u8) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Hands over each socket of a datagram; true when it was the last datagram of the answer.
fn parse(datagram: &[u8], told: &mut dyn FnMut(&InetResponse)) -> io::Result<bool> {
    let malformed = |error| io::Error::other(format!("sock_diag answered with a malformed message: {error}"));
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = NetlinkBuffer::new_checked(rest).map_err(malformed)?.length() as usize;
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(malformed)?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => told(&response),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        // Messages are aligned to four bytes; `new_checked` made sure that the length is at least a header's.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn to_event(response: &InetResponse, protocol: u8, socket_type: i32, netns_cookie: u64) -> Event {
    let header = &response.header;
    let id = &header.socket_id;
    let has_peer = id.destination_port != 0;
    let socket = SocketEvent {
        kind: socket_event::Kind::Enumerate.into(),
        cookie: cookie(id.cookie),
        netns_cookie,
        family: u32::from(header.family),
        r#type: socket_type as u32,
        protocol: u32::from(protocol),
        local_address: address_bytes(id.source_address),
        local_port: u32::from(id.source_port),
        remote_address: if has_peer { address_bytes(id.destination_address) } else { Vec::new() },
        remote_port: u32::from(id.destination_port),
        inode: u64::from(header.inode),
        ..SocketEvent::default()
    };
    let event = Some(event::Event::Socket(socket));
    Event { time_ns: clock::boot_ns(), snapshot: true, event, ..Event::default() }
}

/// `inet_diag_sockid` holds a cookie as two native words, the low one first.
fn cookie(bytes: [u8; 8]) -> u64 {
    let [a, b, c, d, e, f, g, h] = bytes;
    u64::from(u32::from_ne_bytes([a, b, c, d])) | u64::from(u32::from_ne_bytes([e, f, g, h])) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    fn find(events: &[Event], protocol: u8, port: u16) -> Option<SocketEvent> {
        events.iter().find_map(|event| match &event.event {
            Some(event::Event::Socket(socket))
                if socket.local_port == u32::from(port) && socket.protocol == u32::from(protocol) =>
            {
                Some(socket.clone())
            }
            _ => None,
        })
    }

    #[test]
    fn the_kernel_tells_of_sockets_of_this_process() {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        udp.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
        let events = dump(11).unwrap();
        let listener = find(&events, IPPROTO_TCP, tcp.local_addr().unwrap().port()).expect("listener");
        assert_eq!((listener.local_address.as_slice(), listener.remote_port), (&[127, 0, 0, 1][..], 0));
        assert!(listener.cookie != 0 && listener.inode != 0 && listener.netns_cookie == 11);
        let datagram = find(&events, IPPROTO_UDP, udp.local_addr().unwrap().port()).expect("datagram socket");
        assert_eq!((datagram.remote_port, datagram.remote_address.len()), (9, 4));
        assert_ne!(datagram.cookie, listener.cookie);
    }

    #[test]
    fn an_answer_in_pieces_ends_only_with_done() {
        // nlmsghdr: length 20, type NLMSG_DONE (3), flags NLM_F_MULTI, sequence, port; then the status.
        let done = [20, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let noop = [16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut nothing = |_: &InetResponse| panic!("there is no socket in it");
        if cfg!(target_endian = "little") {
            assert!(parse(&done, &mut nothing).unwrap());
            assert!(!parse(&noop, &mut nothing).unwrap());
            assert!(parse(&[noop.as_slice(), &done].concat(), &mut nothing).unwrap());
        }
        for end in 1..done.len() {
            assert!(parse(&done[..end], &mut nothing).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_length_of_zero_is_refused() {
        assert!(parse(&[0; 32], &mut |_| ()).is_err());
    }
}
