//! What is written is read back: by the library, and by Wireshark's tools where they are installed.

use std::process::Command;

use pcap_file::pcapng::{Block, PcapNgReader};

use super::*;

const TIME_NS: u64 = 1_700_000_000_123_456_789;

/// An IPv4 header, and a UDP header from 40000 to 53 with four bytes of data.
const HEADER: [u8; 28] = [
    0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0x7c, 0xca, 127, 0, 0, 1, 127, 0, 0, 1, 0x9c, 0x40, 0, 99, 0, 12, 0,
    0,
];

fn interface(netns_cookie: u64, link_type: u16, name: &str) -> ExportInterface {
    let key = InterfaceKey { netns_cookie, index: 1, link_type };
    let mac_address = (link_type == 1).then_some([2, 0, 0, 0, 0, 1]);
    let description = format!("network namespace {netns_cookie}");
    ExportInterface { key, name: name.into(), description, mac_address, snaplen: 65_535 }
}

fn packet(interface: &ExportInterface) -> ExportPacket<'_> {
    ExportPacket {
        time_ns: TIME_NS,
        interface,
        direction: PacketDirection::Outbound,
        wire_len: 32,
        header: &HEADER,
        payload: b"ping",
        process: Some((1234, 1235)),
        packet_id: Some(0x0102_0304_0506_0708),
        comment: Some("dig (pid 1234): dig @127.0.0.1 — by cookie"),
        drop_count: 0,
    }
}

fn section() -> SectionInfo {
    SectionInfo {
        hardware: "x86_64, 2 processors".into(),
        os: "Linux 6.1".into(),
        application: "kcap-record 0.1.0".into(),
        comment: "host example".into(),
    }
}

/// Three packets of two interfaces, one of them after a loss, and one left out.
fn sample() -> Vec<u8> {
    let (raw, ethernet) = (interface(1, 101, "lo"), interface(2, 1, "eth0"));
    let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &HEADER].concat();
    let mut writer = PcapngWriter::new(Vec::new(), &section()).unwrap();
    writer.write(&packet(&raw)).unwrap();
    let arriving = ExportPacket {
        time_ns: TIME_NS + 1,
        direction: PacketDirection::Inbound,
        wire_len: 46,
        header: &frame,
        process: None,
        comment: None,
        ..packet(&ethernet)
    };
    writer.write(&arriving).unwrap();
    let cut = ExportPacket { time_ns: TIME_NS + 2, payload: &[], drop_count: 7, ..packet(&raw) };
    writer.write(&cut).unwrap();
    writer.count_left_out(&raw, 3).unwrap();
    writer.count_dropped(&raw, 2).unwrap();
    assert_eq!(writer.packet_count(), 3);
    writer.finish().unwrap()
}

fn blocks(bytes: &[u8]) -> Vec<Block<'static>> {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let mut blocks = vec![Block::SectionHeader(reader.section().clone())];
    while let Some(block) = reader.next_block() {
        blocks.push(block.unwrap().0.into_owned());
    }
    blocks
}

fn unknown_option(block: &EnhancedPacketBlock<'_>, code: u16) -> Option<Vec<u8>> {
    block.options.iter().find_map(|option| match option {
        EnhancedPacketOption::Common(CommonOption::Unknown(option)) if option.code == code => {
            Some(option.value.to_vec())
        }
        _ => None,
    })
}

#[test]
fn the_library_reads_it_back() {
    let blocks = blocks(&sample());
    let Block::SectionHeader(header) = &blocks[0] else { panic!("{:?}", blocks[0]) };
    assert!(header.options.contains(&SectionHeaderOption::OS("Linux 6.1".into())));
    let Block::InterfaceDescription(lo) = &blocks[1] else { panic!("{:?}", blocks[1]) };
    assert_eq!((lo.linktype, lo.snaplen), (DataLink::RAW, 65_535));
    let Block::EnhancedPacket(first) = &blocks[2] else { panic!("{:?}", blocks[2]) };
    assert_eq!(first.timestamp, Duration::from_nanos(TIME_NS));
    assert_eq!((first.data.len(), first.original_len), (32, 32));
    assert!(first.options.contains(&EnhancedPacketOption::Flags(2)));
    assert_eq!(unknown_option(first, 8), Some(vec![0xd2, 4, 0, 0, 0xd3, 4, 0, 0]));
    assert_eq!(unknown_option(first, 5), Some(vec![8, 7, 6, 5, 4, 3, 2, 1]));
    let Block::InterfaceDescription(ethernet) = &blocks[3] else { panic!("{:?}", blocks[3]) };
    assert_eq!(ethernet.linktype, DataLink::ETHERNET);
    let Block::EnhancedPacket(cut) = &blocks[5] else { panic!("{:?}", blocks[5]) };
    assert_eq!((cut.interface_id, cut.data.len(), cut.original_len), (0, 28, 32));
    assert!(cut.options.contains(&EnhancedPacketOption::DropCount(7)));
    let Block::InterfaceStatistics(statistics) = &blocks[6] else { panic!("{:?}", blocks[6]) };
    for expected in [
        InterfaceStatisticsOption::IsbStartTime(Duration::from_nanos(TIME_NS)),
        InterfaceStatisticsOption::IsbEndTime(Duration::from_nanos(TIME_NS + 2)),
        InterfaceStatisticsOption::IsbIfRecv(14),
        InterfaceStatisticsOption::IsbIfDrop(9),
        InterfaceStatisticsOption::IsbUsrDeliv(2),
    ] {
        assert!(statistics.options.contains(&expected), "{expected:?} in {statistics:?}");
    }
    assert_eq!(blocks.len(), 8);
}

#[test]
fn long_comments_are_cut_between_characters() {
    let raw = interface(1, 101, "lo");
    let long = "é".repeat(COMMENT_LEN_MAX);
    let mut writer = PcapngWriter::new(Vec::new(), &section()).unwrap();
    writer.write(&ExportPacket { comment: Some(&long), ..packet(&raw) }).unwrap();
    let blocks = blocks(&writer.finish().unwrap());
    let Block::EnhancedPacket(packet) = &blocks[2] else { panic!("{:?}", blocks[2]) };
    let comment = packet.options.iter().find_map(|option| match option {
        EnhancedPacketOption::Common(CommonOption::Comment(comment)) => Some(comment.len()),
        _ => None,
    });
    assert_eq!(comment, Some(COMMENT_LEN_MAX));
}

/// Standard output of a tool that reads the sample; nothing may come out of its standard error. `None` when it isn't
/// installed.
fn run(tool: &str, arguments: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.pcapng");
    std::fs::write(&path, sample()).unwrap();
    let output = Command::new(tool).args(arguments).arg(&path).output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let errors = String::from_utf8(output.stderr).unwrap();
    let complaints: Vec<_> =
        errors.lines().filter(|line| !line.starts_with("Running as user \"root\"")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{tool}: {complaints:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn tshark_reads_it_without_a_complaint() {
    let fields =
        ["frame.time_epoch", "frame.packet_flags_direction", "frame.comment", "udp.srcport", "_ws.malformed"];
    let arguments = ["-T", "fields", "-E", "separator=;"].into_iter();
    let arguments: Vec<_> =
        arguments.chain(fields.iter().flat_map(|field| ["-e", field])).chain(["-r"]).collect();
    let Some(text) = run("tshark", &arguments) else { return };
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let comment = "dig (pid 1234): dig @127.0.0.1 — by cookie";
    assert_eq!(lines[0], format!("1700000000.123456789;0x00000002;{comment};40000;"));
    assert_eq!(lines[1], "1700000000.123456790;0x00000001;;40000;");
}

#[test]
fn capinfos_reads_it_without_a_complaint() {
    let Some(text) = run("capinfos", &[]) else { return };
    for expected in
        ["x86_64, 2 processors", "Linux 6.1", "kcap-record 0.1.0", "host example", "Name = eth0", "Raw IP"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}
