//! The kernel runs compiled filters on packets, through `BPF_PROG_TEST_RUN`, and says the same as the evaluator, which
//! `tcpdump.rs` compares with tcpdump. Needs root, and is skipped without, unless `KCAP_TEST_KERNEL` is `require`.
#![cfg(target_os = "linux")]

mod support;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use kcap_filter::{Filter, Instruction, Packet, VERDICT_MATCH, VERDICT_OTHER, link_type};
use support::{all_packets, expressions, frames_made_here, without_link_header};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_CGROUP_SKB: u32 = 8;
/// Its programs may return up to 3.
const ATTACH_CGROUP_INET_EGRESS: u32 = 1;
const LICENSE: &CStr = c"GPL";

/// The kernel takes no test packet that doesn't fit into a page with room around it.
const PACKET_LEN_MAX: usize = 3000;
/// Nor one without an Ethernet header.
const ETHERNET_LEN: usize = 14;
/// An Ethernet and an IPv6 header: in shorter ones, the kernel may miss the network header.
const IP_FRAME_LEN_MIN: usize = 54;
/// Packets of the captures that are asked, spread evenly over all.
const PACKET_COUNT_MAX: usize = 1500;

/// Attributes of bpf(2), as words: what isn't set is zero.
#[repr(align(8))]
struct Attributes([u32; 32]);

impl Attributes {
    fn set_pointer(&mut self, at: usize, pointer: *const u8) {
        let pointer = (pointer as u64).to_ne_bytes();
        let (low, high) = (pointer.first_chunk().unwrap(), pointer.last_chunk().unwrap());
        self.0[at] = u32::from_ne_bytes(*low);
        self.0[at + 1] = u32::from_ne_bytes(*high);
    }

    fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_long> {
        // SAFETY: the attributes are as long as said, and what they point to lives until the call returns.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size_of_val(&self.0)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}

/// A filter in the kernel.
struct Loaded(OwnedFd);

impl Loaded {
    fn new(filter: &Filter, link_type: u16) -> io::Result<Self> {
        // r2 = context->len: the function's second argument.
        let length = Instruction { opcode: 0x61, registers: 0x12, offset: 0, immediate: 0 };
        let code: Vec<_> = [length].into_iter().chain(filter.compile().unwrap()).collect();
        let code: Vec<u8> = code.into_iter().flat_map(Instruction::to_le_bytes).collect();
        let is_frame = link_type == link_type::ETHERNET;
        let mut log = vec![0_u8; 1 << 20];
        let mut attributes = Attributes([0; 32]);
        attributes.0[0] = if is_frame { PROG_TYPE_SCHED_CLS } else { PROG_TYPE_CGROUP_SKB };
        attributes.0[1] = code.len() as u32 / 8;
        attributes.set_pointer(2, code.as_ptr());
        attributes.set_pointer(4, LICENSE.as_ptr().cast());
        attributes.0[17] = if is_frame { 0 } else { ATTACH_CGROUP_INET_EGRESS };
        match attributes.call(BPF_PROG_LOAD) {
            // SAFETY: the kernel has made this descriptor for us.
            Ok(descriptor) => Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(error),
            Err(error) => {
                attributes.0[6] = 1;
                attributes.0[7] = log.len() as u32;
                attributes.set_pointer(8, log.as_mut_ptr());
                let _ = attributes.call(BPF_PROG_LOAD);
                let log = String::from_utf8_lossy(&log);
                let end: Vec<_> = log.trim_end_matches('\0').lines().rev().take(20).collect();
                panic!("the verifier refuses it ({error}), from the end: {end:#?}");
            }
        }
    }

    /// The verdict on a frame. `None`: the kernel makes no packet of it, since its IP header is cut off.
    fn run(&self, frame: &[u8]) -> Option<u32> {
        let mut attributes = Attributes([0; 32]);
        attributes.0[0] = self.0.as_raw_fd() as u32;
        attributes.0[2] = frame.len() as u32;
        attributes.set_pointer(4, frame.as_ptr());
        match attributes.call(BPF_PROG_TEST_RUN) {
            Ok(_) => Some(attributes.0[1]),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && frame.len() < IP_FRAME_LEN_MIN => {
                None
            }
            Err(error) => panic!("{error}: {frame:02x?}"),
        }
    }
}

/// False: this user may not load programs, and the test is skipped.
fn may_load() -> bool {
    let filter = Filter::parse("", link_type::RAW).unwrap();
    let Err(error) = Loaded::new(&filter, link_type::RAW) else { return true };
    let is_required = std::env::var_os("KCAP_TEST_KERNEL").is_some_and(|value| value == "require");
    assert!(!is_required, "KCAP_TEST_KERNEL=require: {error}");
    println!("skipped: {error}");
    false
}

fn compare(packets: &[support::Packet], link_type: u16) {
    // The Ethernet header that the kernel takes off before it runs programs of sockets.
    let frame_of = |packet: &support::Packet| {
        if link_type == link_type::ETHERNET {
            return packet.bytes.clone();
        }
        let ether_type = if packet.bytes[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
        [&[0; 12][..], &ether_type, &packet.bytes].concat()
    };
    let fits = |packet: &&support::Packet| {
        let is_whole = link_type == link_type::RAW || packet.bytes.len() > ETHERNET_LEN;
        packet.link_type == link_type && is_whole && (1..PACKET_LEN_MAX).contains(&packet.bytes.len())
    };
    let packets: Vec<_> = packets.iter().filter(fits).collect();
    let packets: Vec<_> = packets.iter().step_by(packets.len() / PACKET_COUNT_MAX + 1).collect();
    let frames: Vec<_> = packets.iter().map(|packet| frame_of(packet)).collect();
    let mut matched = 0_u64;
    for expression in expressions() {
        let Ok(filter) = Filter::parse(&expression, link_type) else { continue };
        let loaded = Loaded::new(&filter, link_type).unwrap();
        for (packet, frame) in packets.iter().zip(&frames) {
            let wire_len = packet.bytes.len() as u32;
            let expected = filter.matches(&Packet { header: &packet.bytes, payload: &[], wire_len });
            let expected = if expected { VERDICT_MATCH } else { VERDICT_OTHER };
            let Some(verdict) = loaded.run(frame) else { continue };
            assert_eq!(verdict, expected, "{expression}: {:02x?}", packet.bytes);
            matched += u64::from(expected);
        }
    }
    println!("{} packets, {matched} verdicts of yes", packets.len());
    assert!(matched > 0 || packets.is_empty());
}

#[test]
fn packets_made_here() {
    if may_load() {
        let frames = frames_made_here();
        compare(&frames, link_type::ETHERNET);
        compare(&without_link_header(&frames), link_type::RAW);
    }
}

#[test]
fn packets_of_captures() {
    if may_load() {
        let mut packets = all_packets();
        packets.extend(without_link_header(&packets));
        compare(&packets, link_type::ETHERNET);
        compare(&packets, link_type::RAW);
    }
}

/// The longest expressions, the deepest arithmetic, and numbers from anywhere in the packet.
#[test]
fn what_asks_most_of_the_verifier() {
    if !may_load() {
        return;
    }
    let packets = frames_made_here();
    let many_hosts: Vec<_> = (0..200).map(|number| format!("host 10.0.1.{number}")).collect();
    let many_ports: Vec<_> = (0..60).map(|number| format!("port {}", number + 21)).collect();
    let balanced =
        |leaves: &str| (0..6).fold(leaves.to_owned(), |sum, _| format!("({sum} + {sum})")) + " > 3";
    let nested = (0..40).fold("len".to_owned(), |sum, _| format!("(ip[1] + {sum})")) + " != 0";
    let looked_up = "ip[ip[ip[0] & 3] & 15 : 2] > 7";
    let expressions = [
        many_hosts.join(" or "),
        format!("not ({})", many_ports.join(" or ")),
        balanced("len"),
        balanced("ip[3]"),
        nested,
        looked_up.to_owned(),
        "tcp[tcp[12] >> 2 : 4] = 0x47455420".to_owned(),
        "len << len = 0 and len >> 3 > 1 and len / (len - len + 1) = len".to_owned(),
        "1 / (len - len) = 0 or tcp".to_owned(),
        "udp[100:4] = 0 or udp[20] = 7 or ip[len - 1] = 7".to_owned(),
        "ip[4294967295] = 0 or ip[2147483647:4] = 0 or tcp[2147483640] = 0 or ip".to_owned(),
    ];
    let raw = without_link_header(&packets);
    for (packets, link_type) in [(&packets, link_type::ETHERNET), (&raw, link_type::RAW)] {
        for expression in &expressions {
            let filter =
                Filter::parse(expression, link_type).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let loaded = Loaded::new(&filter, link_type).unwrap();
            for packet in packets.iter().filter(|packet| packet.bytes.len() > ETHERNET_LEN) {
                let bytes = &packet.bytes;
                let expected =
                    filter.matches(&Packet { header: bytes, payload: &[], wire_len: bytes.len() as u32 });
                let frame = if link_type == link_type::ETHERNET {
                    bytes.clone()
                } else {
                    let ether_type = if bytes[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
                    [&[0; 12][..], &ether_type, bytes].concat()
                };
                let Some(verdict) = loaded.run(&frame) else { continue };
                assert_eq!(verdict, u32::from(expected), "{expression}: {bytes:02x?}");
            }
        }
    }
}
