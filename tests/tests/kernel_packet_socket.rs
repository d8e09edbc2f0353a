//! Frames through `AF_PACKET`, by a recorder that may not load programs.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use kcap_format::proto::{LossProgram, event};
use kcap_format::{BlockType, Capture, PacketColumns, Segment};
use kcap_tests::books::Books;
use kcap_tests::command::run;
use kcap_tests::complaint::{FAILURE, assert_says};
use kcap_tests::namespace::Namespace;
use kcap_tests::recorder::Recorder;
use kcap_tests::tcpdump::Tcpdump;
use kcap_tests::{binary, kernel, pcap};

/// Runs a program without the capabilities that loading takes.
fn without_bpf(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-bpf,-perfmon,-sys_admin", "--"]).arg(program);
    command
}

/// How often each frame of the interface was recorded.
fn recorded(segments: &[Segment], index: u32) -> BTreeMap<Vec<u8>, usize> {
    let mut frames = BTreeMap::new();
    for segment in segments {
        for block in segment.blocks_of(BlockType::PACKETS) {
            let batch = segment.packets(block, PacketColumns::ALL).expect("packets");
            for row in (0..batch.len).filter(|row| batch.interface_index[*row] == index) {
                let (header, payload) = (batch.header.get(row), batch.payload.get(row));
                let frame = [header.unwrap_or_default(), payload.unwrap_or_default()].concat();
                assert_eq!((batch.wire_len[row] as usize, batch.link_type[row]), (frame.len(), 1));
                *frames.entry(frame).or_default() += 1;
            }
        }
    }
    frames
}

fn index_of(interface: &str) -> u32 {
    let index = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"));
    index.expect("an index").trim().parse().expect("a number")
}

/// Datagrams to a port of the other end where nobody listens, and what comes back.
fn send(space: &Namespace, lengths: &[usize]) {
    let sender = UdpSocket::bind((space.near(false), 0)).expect("a socket");
    for length in lengths {
        sender.send_to(&vec![*length as u8; *length], (space.far(false), 9)).expect("a datagram");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn segments(folder: &Path) -> Vec<Segment> {
    Capture::open(folder).expect("a capture").segments
}

#[test]
fn frames_are_those_of_tcpdump_and_the_books_add_up() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let space = Namespace::new();
    let capture = folder.path().join("capture");
    let mut recorder = Recorder::start_as(&capture, &["--interface", &space.interface], without_bpf);
    recorder.wait_for_stderr("AF_PACKET");
    let file = folder.path().join("seen.pcap");
    let tcpdump = Tcpdump::start(&file, &space.interface, "");
    send(&space, &[1, 2, 100, 1400, 1400, 7]);
    tcpdump.stop();
    recorder.stop();

    let segments = segments(&capture);
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for frame in pcap::frames(&file) {
        *seen.entry(frame).or_default() += 1;
    }
    let recorded = recorded(&segments, index_of(&space.interface));
    for (frame, count) in &seen {
        assert!(recorded.get(frame).is_some_and(|found| found >= count), "{frame:02x?}");
    }
    assert!(seen.keys().any(|frame| frame[12..14] == [8, 6]), "ARP");
    assert!(seen.len() >= 10, "datagrams, and what the other kernel says of them: {}", seen.len());

    let books = Books::of(&segments, LossProgram::PacketSocket);
    books.check_complete();
    assert_eq!((books.there, books.lost_total()), (books.stored, 0));
    assert!(books.there as usize >= seen.values().sum());
    let info = segments[0].file_info();
    let by = info.recorder.as_ref().expect("a recorder");
    assert!(by.hooks.values().any(|hook| hook.contains("AF_PACKET")), "{:?}", by.hooks);
    assert!(by.missing.iter().any(|line| line.contains("kernel programs")), "{:?}", by.missing);
}

#[test]
fn filters_and_lengths_hold_and_what_is_left_out_is_counted() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let space = Namespace::new();
    let options = ["--interface", &space.interface, "--filter", "udp dst port 9", "--payload", "10"];
    let recorder = Recorder::start_as(folder.path(), &options, without_bpf);
    send(&space, &[600; 20]);
    recorder.stop();
    let segments = segments(folder.path());
    let books = Books::of(&segments, LossProgram::PacketSocket);
    books.check_complete();
    assert_eq!((books.there, books.lost_total()), (20, 0));
    assert!(books.filtered >= 2, "ARP, and errors that come back: {books:?}");
    for block in segments[0].blocks_of(BlockType::PACKETS) {
        let batch = segments[0].packets(block, PacketColumns::ALL).expect("packets");
        for row in 0..batch.len {
            assert_eq!(batch.header.get(row).map(<[u8]>::len), Some(14 + 28));
            assert_eq!(batch.payload.get(row), Some(&[600_usize as u8; 10][..]));
        }
    }
}

#[test]
fn processes_are_looked_for_again_and_again() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start_as(folder.path(), &["--interface", "lo"], without_bpf);
    let later = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = u32::from(later.local_addr().expect("an address").port());
    let is_known = || {
        segments(folder.path()).iter().any(|segment| {
            let blocks = segment.blocks_of(BlockType::SNAPSHOT);
            let mut events = blocks.flat_map(|block| segment.events(block).unwrap_or_default());
            events.any(|found| match found.event {
                Some(event::Event::Socket(socket)) => {
                    socket.local_port == port && socket.owner.is_some_and(|by| by.pid == std::process::id())
                }
                _ => false,
            })
        })
    };
    kcap_tests::command::wait_until("the socket to be found", || is_known().then_some(()));
    recorder.stop();
}

#[test]
fn a_flood_that_nobody_reads_is_counted_as_lost() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let options = ["--interface", "lo", "--packet-buffer", "256KiB"];
    let recorder = Recorder::start_as(folder.path(), &options, without_bpf);
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    recorder.while_stopped(|| {
        for _ in 0..2000 {
            sender.send_to(&[5; 1000], receiver.local_addr().expect("an address")).expect("a datagram");
        }
    });
    recorder.stop();
    let books = Books::of(&segments(folder.path()), LossProgram::PacketSocket);
    books.check_complete();
    assert!(books.lost_total() > 0 && books.seen >= 4000, "{books:?}");
}

#[test]
fn sockets_packets_take_programs() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let finished = run(without_bpf(binary::kcap_record()).arg("run").arg("-o").arg(folder.path()));
    assert_says(&finished, FAILURE, "--interface");
    let doctor = run(without_bpf(binary::kcap_record()).arg("doctor"));
    assert_eq!(doctor.status.code(), Some(FAILURE));
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("AF_PACKET") && said.contains("--interface"), "{said}");
}
