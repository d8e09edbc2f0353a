//! Frames of interfaces in a network of the test's own: host A, a router where is recorded, host B. What tcpdump sees on
//! an interface is what is recorded of it.

mod kernel;
#[allow(dead_code, unreachable_pub)] // the package of end-to-end tests has it in its library
#[path = "../../tests/src/router.rs"]
mod router;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use aya::programs::{SchedClassifier, TcAttachType};
use kcap_filter::{Filter, link_type};
use kcap_recorder::{
    interface::Link,
    probe::{InterfaceHook, LoadOptions, left_filters},
};
use kcap_recorder_ebpf::{DIRECTION_EGRESS, DIRECTION_INGRESS, LINK_TYPE_ETHERNET};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::Pid;

use kernel::{Packet, Session, options};
use router::RoutedNetwork;

/// Long enough for what is under way to have been seen.
const SETTLE_TIME: Duration = Duration::from_millis(500);

impl RoutedNetwork {
    /// Moves the calling thread into a namespace.
    fn enter(&self, side: &str) {
        setns(File::open(self.path(side)).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Sends datagrams of these lengths from `a` to an address and port of `side`, and waits for them there.
    fn send(&self, side: &str, address: &str, port: u16, lengths: &[usize]) {
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                self.enter(side);
                UdpSocket::bind((address, port)).unwrap()
            });
            let receiver = receiver.join().unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let sender = scope.spawn(|| {
                self.enter("a");
                UdpSocket::bind("0.0.0.0:0").unwrap()
            });
            let sender = sender.join().unwrap();
            let mut buffer = [0; 2000];
            for length in lengths {
                sender.send_to(&vec![*length as u8; *length], (address, port)).unwrap();
                assert_eq!(receiver.recv(&mut buffer).unwrap(), *length);
            }
        });
    }

    /// Puts datagrams of these lengths on the wire from `a`, with a VLAN tag. Nobody takes them: the router has no such VLAN.
    fn send_tagged(&self, vlan_id: u16, port: u16, lengths: &[usize]) {
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                self.enter("a");
                let flag = SockFlag::SOCK_CLOEXEC;
                let socket = socket(AddressFamily::Packet, SockType::Raw, flag, None).unwrap();
                for length in lengths {
                    let frame = tagged_frame(vlan_id, port, *length);
                    send_frame(&socket, "eth0", &frame);
                }
            });
            sender.join().unwrap();
        });
    }
}

/// Broadcast with a VLAN tag, IPv4, UDP, and zeroes.
fn tagged_frame(vlan_id: u16, port: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 7, 0x81, 0]);
    frame.extend(vlan_id.to_be_bytes());
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + length as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 1, 2, 198, 18, 1, 1, 0, 5]);
    frame.extend(port.to_be_bytes());
    frame.extend((8 + length as u16).to_be_bytes());
    frame.resize(frame.len() + 2 + length, 0);
    frame
}

fn send_frame(socket: &OwnedFd, interface: &str, frame: &[u8]) {
    // SAFETY: all bytes zero are a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = nix::net::if_::if_nametoindex(interface).unwrap() as i32;
    // SAFETY: frame and address live until the call returns.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
}

/// A tcpdump on an interface of the router.
struct Tcpdump {
    child: Child,
    path: PathBuf,
}

impl Tcpdump {
    fn start(network: &RoutedNetwork, interface: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}-{interface}.pcap", network.name));
        let mut child = network
            .command("r", "tcpdump")
            .args(["-i", interface, "-U", "--immediate-mode", "-n", "-Z", "root", "-w"])
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "tcpdump ended");
        }
        // Until it ends, so that it can go on writing there.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, path }
    }

    /// The frames that it saw, and how often.
    fn stop(mut self) -> BTreeMap<Vec<u8>, usize> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        self.child.wait().unwrap();
        let bytes = std::fs::read(&self.path).unwrap();
        std::fs::remove_file(&self.path).unwrap();
        let mut frames = BTreeMap::new();
        let mut rest = &bytes[24..];
        while let Some((header, after)) = rest.split_first_chunk::<16>() {
            let len = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
            *frames.entry(after[..len].to_vec()).or_default() += 1;
            rest = &after[len..];
        }
        frames
    }
}

/// The frame as it is on the wire.
fn frame(packet: &Packet) -> Vec<u8> {
    assert_eq!(packet.head.link_type(), LINK_TYPE_ETHERNET);
    let mut frame = packet.bytes.clone();
    if packet.head.vlan_protocol() != 0 {
        let tag = [packet.head.vlan_protocol().to_be_bytes(), packet.head.vlan_tci.to_be_bytes()].concat();
        frame.splice(12..12, tag);
    }
    frame
}

fn frames(packets: &[Packet], index: u32) -> BTreeMap<Vec<u8>, usize> {
    let mut frames = BTreeMap::new();
    for packet in packets.iter().filter(|packet| packet.head.interface_index == index) {
        *frames.entry(frame(packet)).or_default() += 1;
    }
    frames
}

/// Runs the test where nothing else of the host happens; a thread of its own, which stays in the namespace.
fn in_router(test: &'static str, run: impl FnOnce(RoutedNetwork) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let network = RoutedNetwork::new(test);
    thread::spawn(move || {
        network.enter("r");
        run(network);
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn interface_options() -> LoadOptions {
    LoadOptions { interfaces: true, ..options() }
}

/// Programs that hang on an interface, by tcx or as filters of clsact.
fn programs_on(interface: &str) -> usize {
    let tcx = [TcAttachType::Ingress, TcAttachType::Egress]
        .map(|direction| SchedClassifier::query_tcx(interface, direction).unwrap().1.len());
    let filters = ["ingress", "egress"].map(|direction| {
        let shown =
            Command::new("tc").args(["filter", "show", "dev", interface, direction]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).lines().filter(|line| line.contains("interface_")).count()
    });
    tcx.iter().chain(&filters).sum()
}

fn compare_with_tcpdump(network: &RoutedNetwork, hook: Option<InterfaceHook>) {
    let Some(mut session) = Session::start(&interface_options()) else { return };
    let links = ["to-a", "to-b"].map(|name| Link::named(name).unwrap());
    for link in &links {
        match hook {
            Some(hook) => session.loaded_mut().attach_with(link, hook),
            None => session.loaded_mut().attach_interface(link),
        }
        .unwrap();
    }
    let tcpdumps = ["to-a", "to-b"].map(|name| Tcpdump::start(network, name));
    // Forwarded, and with what ARP has to find out first.
    network.send("b", "198.18.2.2", 9, &[1, 100, 1400]);
    network.send_tagged(7, 9, &[7, 300]);
    thread::sleep(SETTLE_TIME);
    let seen = tcpdumps.map(Tcpdump::stop);
    let count = links.iter().map(|link| programs_on(&link.name)).sum::<usize>();
    assert_eq!(count, 4, "both directions of both interfaces");
    let recorded = session.finish();
    for link in &links {
        assert_eq!(programs_on(&link.name), 0, "{}", link.name);
    }
    for (link, seen) in links.iter().zip(&seen) {
        let found = frames(&recorded.packets, link.index);
        assert_eq!(&found, seen, "{}", link.name);
        assert!(found.keys().any(|frame| frame[12..14] == [8, 6]), "ARP");
        let forwarded = found.keys().filter(|frame| frame[12..14] == [8, 0] && frame[23] == 17);
        assert_eq!(forwarded.count(), 3, "{}", link.name);
    }
    let tagged = seen[0].keys().filter(|frame| frame[12..16] == [0x81, 0, 0, 7]).count();
    assert_eq!(tagged, 2);
    let directions = [DIRECTION_INGRESS, DIRECTION_EGRESS].map(|direction| {
        let of_direction = |packet: &&Packet| packet.head.direction() == direction;
        recorded.packets.iter().filter(of_direction).count()
    });
    assert!(directions[0] >= 3 && directions[1] >= 3, "{directions:?}");
}

#[test]
fn what_is_forwarded_and_what_has_no_socket_is_what_tcpdump_sees() {
    in_router("forward", |network| compare_with_tcpdump(&network, None));
}

/// What kernels before 6.6 have.
#[test]
fn clsact_sees_the_same() {
    in_router("clsact", |network| {
        compare_with_tcpdump(&network, Some(InterfaceHook::Clsact));
    });
}

#[test]
fn filters_look_at_frames_with_their_tags() {
    in_router("filter", |network| {
        let filter = Filter::parse("vlan 7 and udp dst port 9", link_type::ETHERNET).unwrap();
        let options = LoadOptions { frame_filter: Some(filter), ..interface_options() };
        let Some(mut session) = Session::start(&options) else { return };
        session.loaded_mut().attach_interface(&Link::named("to-a").unwrap()).unwrap();
        network.send("b", "198.18.2.2", 9, &[1, 100]);
        network.send_tagged(7, 9, &[7, 300]);
        network.send_tagged(7, 10, &[8]);
        network.send_tagged(8, 9, &[9]);
        let recorded = session.finish();
        let lengths: Vec<_> = recorded.packets.iter().map(|packet| frame(packet).len()).collect();
        assert_eq!(lengths, [18 + 28 + 7, 18 + 28 + 300]);
        for packet in &recorded.packets {
            assert_eq!((packet.head.vlan_tci & 0xfff, packet.head.header_len), (7, 14 + 28));
        }
    });
}

/// Names the interfaces in a process that is to be killed.
const KILLED_VARIABLE: &str = "KCAP_TEST_KILLED_AT";

/// Links end with their process, filters of clsact stay, and cost each packet. They are found and removed; those of a recorder
/// that runs are not, nor what others made.
#[test]
fn filters_of_a_killed_recorder_are_found_and_removed() {
    if let Ok(names) = std::env::var(KILLED_VARIABLE) {
        let Some(mut session) = Session::start(&interface_options()) else { return };
        for name in names.split(' ') {
            let link = Link::named(name).unwrap();
            session.loaded_mut().attach_with(&link, InterfaceHook::Clsact).unwrap();
        }
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }
    in_router("killed", |_| {
        let Some(mut living) = Session::start(&interface_options()) else { return };
        let links = ["to-a", "to-b"].map(|name| Link::named(name).unwrap());
        living.loaded_mut().attach_with(&links[1], InterfaceHook::Clsact).unwrap();
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "filters_of_a_killed_recorder_are_found_and_removed"])
            .env(KILLED_VARIABLE, "to-a to-b")
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(Signal::SIGKILL as i32), "{killed:?}");
        assert_eq!(links.each_ref().map(|link| programs_on(&link.name)), [2, 4]);
        let foreign = ["filter", "add", "dev", "to-a", "ingress", "bpf", "bytecode", "1,6 0 0 0"];
        assert!(Command::new("tc").args(foreign).status().unwrap().success());

        let left = left_filters(&links).unwrap();
        let places: Vec<_> = left.iter().map(|left| (left.interface.as_str(), left.direction)).collect();
        assert_eq!(
            places,
            [("to-a", "ingress"), ("to-a", "egress"), ("to-b", "ingress"), ("to-b", "egress")]
        );
        let recorder = || Command::new(env!("CARGO_BIN_EXE_kcap-record"));
        let doctor = recorder().arg("doctor").output().unwrap();
        let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(left.iter().all(|left| told.contains(&left.command())), "{told}");
        // As a person does it who was told.
        let command = left[3].command();
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
        left[2].remove().unwrap();
        assert_eq!(programs_on("to-b"), 2, "those of a recorder that runs");

        let folder = tempfile::tempdir().unwrap();
        let run = ["run", "--interface", "to-a", "--duration", "1s", "-o"];
        let run = recorder().args(run).arg(folder.path().join("capture")).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success() && said.matches("it is removed").count() == 2, "{said}");
        assert_eq!(links.each_ref().map(|link| programs_on(&link.name)), [0, 2]);
        assert_eq!(left_filters(&links).unwrap(), []);
        let shown = Command::new("tc").args(["filter", "show", "dev", "to-a", "ingress"]).output().unwrap();
        assert!(String::from_utf8_lossy(&shown.stdout).contains("bytecode"));
        living.finish();
    });
}
