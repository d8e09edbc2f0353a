//! kcap-sockets: uses sockets in every way in which their owner is hard to tell, and says whose packets they were.
//!
//! ```text
//! kcap-sockets before        makes sockets, prints "ready", and uses them when a line comes on standard input
//! kcap-sockets during        makes and uses sockets
//! ```
//!
//! Each prints lines of JSON, one [`Expectation`] each, and "done". It has one thread, so that it may fork, and needs
//! 127.0.0.1 and ::1 for itself.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kcap_tests::owners::{Expectation, Filter};
use nix::cmsg_space;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrIn, UnixAddr, recvmsg, sendmsg, sendto, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// A peer that says nothing for so long is gone.
const PEER_TIME_MAX: Duration = Duration::from_secs(30);
/// Data bytes of the echo requests through a raw and through a ping socket, by which they are told apart.
const RAW_ECHO_LEN: usize = 100;
const PING_ECHO_LEN: usize = 200;
const IPV4_HEADER_LEN: usize = 20;
const ICMP_HEADER_LEN: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

fn main() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the parent")?;
    match std::env::args().nth(1).as_deref() {
        Some("before") => older_sockets()?,
        Some("during") => younger_sockets()?,
        _ => bail!("usage: kcap-sockets before|during"),
    }
    print_line("done")
}

/// Sockets that are older than the recorder.
fn older_sockets() -> Result<()> {
    let (silent, silent_peer) = (udp()?, udp()?);
    let (sender, sender_peer) = (udp()?, udp()?);
    let listener = TcpListener::bind(localhost())?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    print_line("ready")?;
    io::stdin().lock().read_line(&mut String::new())?;

    silent_peer.send_to(b"nobody reads this", silent.local_addr()?)?;
    tell(
        "older, never used since",
        Filter::arriving(UDP, port(&silent_peer)?, port(&silent)?),
        &["proc_scan"],
    )?;
    sender.send_to(b"sent by an older socket", sender_peer.local_addr()?)?;
    receive(&sender_peer)?;
    tell("older, unconnected UDP", Filter::leaving(UDP, port(&sender)?, port(&sender_peer)?), &["cookie"])?;
    client.write_all(b"sent by an older connection")?;
    ensure!(server.read(&mut [0; 64])? > 0, "the connection is closed");
    server.write_all(b"answer")?;
    ensure!(client.read(&mut [0; 64])? > 0, "the connection is closed");
    let ports = (client.local_addr()?.port(), listener.local_addr()?.port());
    tell("older, TCP client", Filter::leaving(TCP, ports.0, ports.1), &["cookie", "proc_scan"])?;
    tell("older, TCP server", Filter::leaving(TCP, ports.1, ports.0), &["cookie", "proc_scan"])
}

fn younger_sockets() -> Result<()> {
    connection()?;
    inherited()?;
    passed()?;
    not_yet_accepted()?;
    preforked()?;
    shared_port()?;
    unconnected()?;
    mapped()?;
    raw_and_ping()?;
    made_by_the_kernel()
}

fn connection() -> Result<()> {
    let listener = TcpListener::bind(localhost())?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"question")?;
    client.shutdown(Shutdown::Write)?;
    server.read_to_end(&mut Vec::new())?;
    let ports = (client.local_addr()?.port(), listener.local_addr()?.port());
    tell("younger, TCP client", Filter::leaving(TCP, ports.0, ports.1), &["cookie"])?;
    // The handshake's answer comes from the listener.
    tell("younger, TCP server", Filter::leaving(TCP, ports.1, ports.0), &["cookie", "socket_storage"])
}

fn inherited() -> Result<()> {
    let (sender, receiver) = (udp()?, udp()?);
    let to = receiver.local_addr()?;
    let child = in_child(|| Ok(sender.send_to(b"from the child", to).map(drop)?))?;
    receive(&receiver)?;
    tell_of(child, "inherited by fork", Filter::leaving(UDP, port(&sender)?, to.port()), &["cookie"])
}

fn passed() -> Result<()> {
    let receiver = udp()?;
    let to = receiver.local_addr()?;
    let (near, far) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::empty())?;
    // Forked before there is anything to inherit.
    let child = start_child(|| {
        let socket = receive_descriptor(far.as_raw_fd())?;
        Ok(UdpSocket::from(socket).send_to(b"through another process's socket", to).map(drop)?)
    })?;
    let sender = udp()?;
    let from = port(&sender)?;
    let descriptors = [sender.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<UnixAddr>(near.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None)?;
    drop(sender);
    wait_for(child)?;
    receive(&receiver)?;
    let case = "passed over a Unix socket";
    tell_of(pid_of(child), case, Filter::leaving(UDP, from, to.port()), &["cookie"])
}

fn receive_descriptor(from: RawFd) -> Result<OwnedFd> {
    let mut byte = [0];
    let mut space = cmsg_space!(RawFd);
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<UnixAddr>(from, &mut buffers, Some(&mut space), MsgFlags::empty())?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control
            && let [descriptor] = descriptors[..]
        {
            // SAFETY: the kernel has just made it for this process, and nobody else knows of it.
            return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
    bail!("no descriptor came")
}

/// The kernel acknowledges what comes before accept(2).
fn not_yet_accepted() -> Result<()> {
    let listener = TcpListener::bind(localhost())?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"nobody accepted yet")?;
    let ports = (client.local_addr()?.port(), listener.local_addr()?.port());
    let filter = Filter::leaving(TCP, ports.1, ports.0);
    // Ends without ever being accepted. The handshake's answer comes from the listener.
    drop(client);
    drop(listener);
    tell("not accepted", filter, &["cookie", "socket_storage", "kernel"])
}

fn preforked() -> Result<()> {
    const WORKERS: usize = 3;
    let listener = TcpListener::bind(localhost())?;
    let server = listener.local_addr()?;
    let serve = || {
        let (mut stream, _) = listener.accept()?;
        stream.read_to_end(&mut Vec::new())?;
        stream.write_all(std::process::id().to_string().as_bytes())?;
        Ok(())
    };
    let workers = (0..WORKERS).map(|_| start_child(serve)).collect::<Result<Vec<_>>>()?;
    for _ in 0..WORKERS {
        let mut client = TcpStream::connect(server)?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        let worker = answer.parse().context("a worker says its pid")?;
        let answers = Filter { with_payload: true, ..Filter::leaving(TCP, server.port(), port_of(&client)?) };
        tell_of(worker, "pre-forked worker", answers, &["cookie"])?;
    }
    workers.into_iter().try_for_each(wait_for)
}

/// Two processes with sockets of their own on one port.
fn shared_port() -> Result<()> {
    let bind = |port: u16| -> Result<UdpSocket> {
        let shared = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
        setsockopt(&shared, sockopt::ReusePort, &true)?;
        let address = SockaddrIn::new(127, 0, 0, 1, port);
        nix::sys::socket::bind(shared.as_raw_fd(), &address)?;
        Ok(UdpSocket::from(shared))
    };
    let first = bind(0)?;
    let shared = port(&first)?;
    let receivers = [udp()?, udp()?];
    let [to_first, to_second] = [receivers[0].local_addr()?, receivers[1].local_addr()?];
    let child = in_child(|| {
        let second = bind(shared)?;
        Ok(second.send_to(b"from the second", to_second).map(drop)?)
    })?;
    first.send_to(b"from the first", to_first)?;
    receivers.iter().try_for_each(receive)?;
    tell("SO_REUSEPORT, first", Filter::leaving(UDP, shared, to_first.port()), &["cookie"])?;
    tell_of(child, "SO_REUSEPORT, second", Filter::leaving(UDP, shared, to_second.port()), &["cookie"])
}

fn unconnected() -> Result<()> {
    let (sender, receiver) = (udp()?, udp()?);
    sender.send_to(b"to anybody", receiver.local_addr()?)?;
    receive(&receiver)?;
    tell("unconnected UDP", Filter::leaving(UDP, port(&sender)?, port(&receiver)?), &["cookie"])?;
    tell("unconnected UDP, read", Filter::arriving(UDP, port(&sender)?, port(&receiver)?), &["cookie"])
}

/// An IPv6 socket that speaks IPv4.
fn mapped() -> Result<()> {
    let (sender, receiver) = (UdpSocket::bind("[::]:0")?, udp()?);
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), port(&receiver)?);
    sender.send_to(b"mapped", to)?;
    receive(&receiver)?;
    tell("IPv4-mapped UDP", Filter::leaving(UDP, port(&sender)?, to.port()), &["cookie"])?;
    let listener = TcpListener::bind("[::]:0")?;
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), listener.local_addr()?.port());
    let mut client = TcpStream::connect(to)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"mapped")?;
    client.shutdown(Shutdown::Write)?;
    server.read_to_end(&mut Vec::new())?;
    let from = client.local_addr()?.port();
    tell("IPv4-mapped TCP client", Filter::leaving(TCP, from, to.port()), &["cookie"])?;
    let handshake = &["cookie", "socket_storage"];
    tell("IPv4-mapped TCP server", Filter::leaving(TCP, to.port(), from), handshake)
}

fn raw_and_ping() -> Result<()> {
    let target = SockaddrIn::new(127, 0, 0, 1, 0);
    for (case, socket_type, len) in
        [("raw socket", SockType::Raw, RAW_ECHO_LEN), ("ping socket", SockType::Datagram, PING_ECHO_LEN)]
    {
        let echo = socket(AddressFamily::Inet, socket_type, SockFlag::empty(), SockProtocol::Icmp)
            .with_context(|| case.to_owned())?;
        sendto(echo.as_raw_fd(), &echo_request(len), &target, MsgFlags::empty())?;
        let wire_len = IPV4_HEADER_LEN + ICMP_HEADER_LEN + len;
        tell(case, Filter::icmp(ICMP, 8, Some(wire_len)), &["cookie"])?;
        let answer = format!("{case}, the answer");
        tell_of(0, &answer, Filter::icmp(ICMP, 0, Some(wire_len)), &["kernel"])?;
    }
    Ok(())
}

/// Type 8, and the checksum of RFC 1071.
fn echo_request(len: usize) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.extend(std::iter::repeat_n(0xa5, len));
    let words = message.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

/// What nobody listens for is refused by the kernel.
fn made_by_the_kernel() -> Result<()> {
    let closed = udp()?.local_addr()?;
    let sender = udp()?;
    sender.send_to(b"to nobody", closed)?;
    tell("UDP to a closed port", Filter::leaving(UDP, port(&sender)?, closed.port()), &["cookie"])?;
    tell_of(0, "port unreachable", Filter::icmp(ICMP, 3, None), &["kernel"])?;
    let closed = {
        let listener = TcpListener::bind(localhost())?;
        listener.local_addr()?
    };
    ensure!(TcpStream::connect(closed).is_err(), "somebody listens on {closed}");
    tell_of(
        0,
        "reset",
        Filter { source_port: Some(closed.port()), ..Filter::leaving(TCP, 0, 0) },
        &["kernel"],
    )
}

fn localhost() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn udp() -> Result<UdpSocket> {
    let socket = UdpSocket::bind(localhost())?;
    socket.set_read_timeout(Some(PEER_TIME_MAX))?;
    Ok(socket)
}

fn port(socket: &UdpSocket) -> Result<u16> {
    Ok(socket.local_addr()?.port())
}

fn port_of(stream: &TcpStream) -> Result<u16> {
    Ok(stream.local_addr()?.port())
}

fn receive(socket: &UdpSocket) -> Result<()> {
    Ok(socket.recv(&mut [0; 256]).map(drop)?)
}

/// Runs in a child, and gives its pid when it has ended well.
fn in_child(body: impl FnOnce() -> Result<()>) -> Result<u32> {
    let child = start_child(body)?;
    wait_for(child)?;
    Ok(pid_of(child))
}

fn start_child(body: impl FnOnce() -> Result<()>) -> Result<Pid> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let result = prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into).and_then(|()| body());
            if let Err(error) = &result {
                let _ = writeln!(io::stderr(), "child: {error:#}");
            }
            std::process::exit(i32::from(result.is_err()));
        }
    }
}

fn wait_for(child: Pid) -> Result<()> {
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => bail!("a child ended with {other:?}"),
    }
}

fn pid_of(child: Pid) -> u32 {
    child.as_raw().cast_unsigned()
}

/// The packets of the filter are this process's.
fn tell(case: &str, filter: Filter, attributions: &[&str]) -> Result<()> {
    tell_of(std::process::id(), case, filter, attributions)
}

/// They are that process's; 0 for none.
fn tell_of(pid: u32, case: &str, filter: Filter, attributions: &[&str]) -> Result<()> {
    let attributions = attributions.iter().map(|name| (*name).to_owned()).collect();
    print_line(&serde_json::to_string(&Expectation { case: case.to_owned(), pid, filter, attributions })?)
}

fn print_line(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
