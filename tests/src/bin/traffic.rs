//! kcap-traffic: makes traffic whose packets, owners and bytes the tests know.
//!
//! ```text
//! kcap-traffic serve tcp ADDRESS CONNECTIONS       prints "listening PORT", serves, prints a summary
//! kcap-traffic serve tcp-fork ADDRESS CONNECTIONS  the same in a child that is forked after listen(2)
//! kcap-traffic serve udp ADDRESS DATAGRAMS         echoes datagrams
//! kcap-traffic connect tcp ADDRESS:PORT CONNECTIONS BYTES
//! kcap-traffic connect udp ADDRESS:PORT DATAGRAMS BYTES
//! kcap-traffic sink ADDRESS                        prints "listening PORT", reads datagrams until it is killed
//! kcap-traffic flood ADDRESS:PORT DATAGRAMS BYTES  sends without waiting
//! kcap-traffic ledger ADDRESS:PORT RATE BYTES FILE sends so many datagrams a second until SIGTERM, and keeps a ledger
//! kcap-traffic crowd PROCESSES                     forks so many, prints "ready", and ends with them at SIGTERM
//! ```
//!
//! All but the last two and the sink print one line of JSON at its end, a [`Summary`]. Every TCP connection carries `BYTES` bytes each way.
//! Both sides are closed in the order that leaves full sockets in charge until the last packet: the client half-closes,
//! the server answers and closes, the client reads the end and closes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kcap_tests::traffic::{DATAGRAM_LEN_MAX, SERVER_PORTS, Summary, pattern};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pause};

/// A peer that says nothing for so long is gone.
const PEER_TIME_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    end_with_parent()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let summary = match words[..] {
        ["serve", "tcp", address, count] => serve_tcp(address, count.parse()?)?,
        ["serve", "tcp-fork", address, count] => return serve_in_child(address, count.parse()?),
        ["serve", "udp", address, count] => serve_udp(address, count.parse()?)?,
        ["connect", "tcp", address, count, bytes] => {
            connect_tcp(address.parse()?, count.parse()?, bytes.parse()?)?
        }
        ["connect", "udp", address, count, bytes] => {
            connect_udp(address.parse()?, count.parse()?, bytes.parse()?)?
        }
        ["sink", address] => return sink(address),
        ["ledger", address, rate, bytes, file] => {
            return kcap_tests::ledger::keep(address.parse()?, rate.parse()?, bytes.parse()?, file.as_ref());
        }
        ["crowd", count] => return crowd(count.parse()?),
        ["flood", address, count, bytes] => flood(address.parse()?, count.parse()?, bytes.parse()?)?,
        _ => bail!(
            "usage: serve tcp|tcp-fork|udp ADDRESS COUNT, or connect tcp|udp ADDRESS:PORT COUNT BYTES,\
                  \nor crowd PROCESSES, or sink ADDRESS, or flood ADDRESS:PORT COUNT BYTES, or ledger ADDRESS:PORT RATE BYTES FILE"
        ),
    };
    print_line(&serde_json::to_string(&summary)?)
}

/// A test that fails leaves nobody behind.
fn end_with_parent() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the parent")
}

fn serve_tcp(address: &str, connections: usize) -> Result<Summary> {
    let listener = listen(address)?;
    accept_all(&listener, connections)
}

/// Listens in this process; accepts and serves in a child.
fn serve_in_child(address: &str, connections: usize) -> Result<()> {
    let listener = listen(address)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            end_with_parent()?;
            let summary = accept_all(&listener, connections)?;
            print_line(&serde_json::to_string(&summary)?)
        }
        ForkResult::Parent { child } => {
            drop(listener);
            match waitpid(child, None)? {
                WaitStatus::Exited(_, 0) => Ok(()),
                other => bail!("the child that serves ended with {other:?}"),
            }
        }
    }
}

fn listen(address: &str) -> Result<TcpListener> {
    let listener = bind(address, TcpListener::bind)?;
    print_line(&format!("listening {}", listener.local_addr()?.port()))?;
    Ok(listener)
}

/// Binds to the first of [`SERVER_PORTS`] that is free, beginning anywhere.
fn bind<T>(address: &str, bind: impl Fn(SocketAddr) -> io::Result<T>) -> Result<T> {
    let address = address.parse()?;
    let start = usize::try_from(std::process::id())? % SERVER_PORTS.len();
    for port in SERVER_PORTS.skip(start).chain(SERVER_PORTS.take(start)) {
        match bind(SocketAddr::new(address, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound.context("bind"),
        }
    }
    bail!("all ports are in use")
}

fn accept_all(listener: &TcpListener, connections: usize) -> Result<Summary> {
    let mut summary = Summary::of_this_process();
    for _ in 0..connections {
        let (mut stream, peer) = listener.accept()?;
        stream.set_read_timeout(Some(PEER_TIME_MAX))?;
        let mut request = Vec::new();
        stream.read_to_end(&mut request)?;
        ensure!(request == pattern(request.len()), "the request from {peer} is not what was sent");
        stream.write_all(&request)?;
        summary.add(peer.port(), request.len(), request.len());
    }
    Ok(summary)
}

fn connect_tcp(server: SocketAddr, connections: usize, bytes: usize) -> Result<Summary> {
    let mut summary = Summary::of_this_process();
    let request = pattern(bytes);
    for _ in 0..connections {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PEER_TIME_MAX))?;
        stream.write_all(&request)?;
        stream.shutdown(Shutdown::Write)?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        ensure!(response == request, "the response is not the request");
        summary.add(stream.local_addr()?.port(), request.len(), response.len());
    }
    Ok(summary)
}

fn serve_udp(address: &str, datagrams: usize) -> Result<Summary> {
    let socket = bind(address, UdpSocket::bind)?;
    socket.set_read_timeout(Some(PEER_TIME_MAX))?;
    print_line(&format!("listening {}", socket.local_addr()?.port()))?;
    let mut summary = Summary::of_this_process();
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    for _ in 0..datagrams {
        let (length, peer) = socket.recv_from(&mut buffer)?;
        ensure!(buffer[..length] == pattern(length), "the datagram from {peer} is not what was sent");
        socket.send_to(&buffer[..length], peer)?;
        summary.add(peer.port(), length, length);
    }
    Ok(summary)
}

/// Sends a datagram once the one before was answered, so that no buffer ever overflows.
fn connect_udp(server: SocketAddr, datagrams: usize, bytes: usize) -> Result<Summary> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PEER_TIME_MAX))?;
    let request = pattern(bytes);
    let mut summary = Summary::of_this_process();
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    for _ in 0..datagrams {
        socket.send(&request)?;
        let length = socket.recv(&mut buffer)?;
        ensure!(buffer[..length] == request, "the answer is not the request");
        summary.add(socket.local_addr()?.port(), bytes, length);
    }
    Ok(summary)
}

fn sink(address: &str) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(address.parse()?, 0)).context("bind")?;
    print_line(&format!("listening {}", socket.local_addr()?.port()))?;
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        socket.recv(&mut buffer)?;
    }
}

/// Processes that do nothing.
fn crowd(count: usize) -> Result<()> {
    for _ in 0..count {
        // SAFETY: this process has one thread.
        if let ForkResult::Child = unsafe { fork() }.context("cannot make so many processes")? {
            end_with_parent()?;
            pause();
        }
    }
    print_line("ready")?;
    pause();
    Ok(())
}

fn flood(server: SocketAddr, datagrams: usize, bytes: usize) -> Result<Summary> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let port = socket.local_addr()?.port();
    let datagram = pattern(bytes);
    let mut summary = Summary::of_this_process();
    for _ in 0..datagrams {
        socket.send(&datagram)?;
        summary.add(port, bytes, 0);
    }
    Ok(summary)
}

fn print_line(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}
