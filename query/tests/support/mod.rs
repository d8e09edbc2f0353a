//! A recording made by hand: a small host whose every packet and process is known.

#![allow(dead_code)] // each test file uses a part

use std::path::{Path, PathBuf};

use kcap_format::proto::{self, event::Event as Kind, socket_event::Kind as SocketKind};
use kcap_format::{
    BlockEncoder, Direction, Effort, FileStorage, PacketBatch, PacketRow, Recipient, SegmentWriter,
};

/// 2026-01-01T00:00:00Z: the wall time at boot of the host.
pub(crate) const BOOT_REALTIME_NS: u64 = 1_767_225_600_000_000_000;
/// The first record is a second after boot.
pub(crate) const START_NS: u64 = 1_000_000_000;
/// `LINKTYPE_RAW`.
pub(crate) const RAW_IP: u16 = 101;

pub(crate) const CURL: u32 = 100;
pub(crate) const NGINX: u32 = 200;
pub(crate) const CURL_COOKIE: u64 = 11;
pub(crate) const NGINX_COOKIE: u64 = 21;
pub(crate) const DNS_COOKIE: u64 = 12;

/// Writes segments one after the other.
pub(crate) struct Recorder {
    folder: PathBuf,
    sequence: u64,
    recipients: Vec<Recipient>,
    pub(crate) payload_tasks: Vec<proto::PayloadTask>,
}

/// One segment while it is written.
pub(crate) struct Segment {
    pub(crate) writer: SegmentWriter<FileStorage>,
    pub(crate) encoder: BlockEncoder,
}

impl Recorder {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), sequence: 0, recipients: Vec::new(), payload_tasks: Vec::new() }
    }

    /// As if so many segments had been written and removed.
    pub(crate) fn skip(&mut self, segments: u64) {
        self.sequence += segments;
    }

    /// Begins the next segment.
    pub(crate) fn segment(&mut self) -> Segment {
        self.sequence += 1;
        let file = proto::FileInfo {
            capture_id: vec![7; 16],
            segment_sequence: self.sequence,
            host: Some(proto::Host {
                hostname: "testhost".into(),
                boot_id: (1..=16).collect(),
                kernel_release: "6.18.0".into(),
                architecture: "x86_64".into(),
                cpu_count: 2,
                os: "Debian GNU/Linux 12 (bookworm)".into(),
                namespace_device: 4,
                ..proto::Host::default()
            }),
            recorder: Some(proto::Recorder {
                name: "kcap-record".into(),
                version: "0.1.0".into(),
                command_line: vec!["kcap-record".into(), "run".into()],
                hooks: [("packet_egress".to_owned(), "cgroup_skb/egress".to_owned())].into(),
                payload_tasks: self.payload_tasks.clone(),
                ..proto::Recorder::default()
            }),
            clock: Some(clock(START_NS)),
            ..proto::FileInfo::default()
        };
        let path = self.folder.join(format!("{:06}.kcap", self.sequence));
        let storage = FileStorage::create(path).expect("the folder can be written");
        let writer = SegmentWriter::create_encrypted(storage, &file, &self.recipients)
            .expect("a segment can be begun");
        Segment { writer, encoder: BlockEncoder::new() }
    }
}

impl Segment {
    pub(crate) fn events(&mut self, events: &[proto::Event]) {
        let block = self.encoder.events(events, Effort::default());
        self.writer.append(&block).expect("events can be written");
    }

    pub(crate) fn snapshot(&mut self, events: &[proto::Event]) {
        let block = self.encoder.snapshot(events, Effort::default());
        self.writer.append(&block).expect("a snapshot can be written");
    }

    pub(crate) fn packets(&mut self, batch: &PacketBatch) {
        let block = self.encoder.packets(batch, Effort::default());
        self.writer.append(&block).expect("packets can be written");
    }

    pub(crate) fn losses(&mut self, reports: &[proto::LossReport]) {
        let block = self.encoder.losses(reports);
        self.writer.append(&block).expect("losses can be written");
    }

    pub(crate) fn clocks(&mut self, samples: &[proto::ClockSample]) {
        let block = self.encoder.clock(samples);
        self.writer.append(&block).expect("samples can be written");
    }

    pub(crate) fn seal(self) {
        self.writer.seal().expect("a segment can be sealed");
    }
}

pub(crate) fn clock(boot_ns: u64) -> proto::ClockSample {
    proto::ClockSample {
        boot_before_ns: boot_ns - 50,
        boot_after_ns: boot_ns + 50,
        monotonic_ns: boot_ns,
        realtime_ns: BOOT_REALTIME_NS + boot_ns,
        tai_ns: 0,
    }
}

pub(crate) fn process(pid: u32, name: &str, arguments: &[&str]) -> proto::Process {
    proto::Process {
        id: Some(process_id(pid)),
        parent: Some(process_id(1)),
        name: name.into(),
        executable: format!("/usr/bin/{name}").into(),
        arguments: arguments.iter().map(|text| text.as_bytes().to_vec()).collect(),
        credentials: Some(proto::Credentials { uid: 1000, gid: 1000 }),
        cgroup_id: 77,
        tid: pid,
        ..proto::Process::default()
    }
}

/// A process that started `pid` ticks of 10 ms after boot, exactly known.
pub(crate) fn process_id(pid: u32) -> proto::ProcessId {
    proto::ProcessId { pid, start_time_ns: u64::from(pid) * 10_000_000 + 1234, start_time_coarse: false }
}

pub(crate) fn event(time_ns: u64, kind: Kind) -> proto::Event {
    proto::Event { time_ns, event: Some(kind), ..proto::Event::default() }
}

pub(crate) fn exec(time_ns: u64, process: proto::Process) -> proto::Event {
    event(time_ns, Kind::Exec(proto::ProcessExec { process: Some(process) }))
}

pub(crate) fn exit(time_ns: u64, pid: u32, name: &str, exit_code: u32) -> proto::Event {
    let exit = proto::ProcessExit { id: Some(process_id(pid)), exit_code, name: name.into() };
    event(time_ns, Kind::Exit(exit))
}

pub(crate) fn socket(time_ns: u64, kind: SocketKind, cookie: u64, pid: u32, name: &str) -> proto::Event {
    let socket = proto::SocketEvent {
        kind: kind.into(),
        cookie,
        netns_cookie: 1,
        family: 2,
        r#type: 1,
        protocol: 6,
        owner: Some(process_id(pid)),
        owner_name: name.into(),
        ..proto::SocketEvent::default()
    };
    event(time_ns, Kind::Socket(socket))
}

pub(crate) fn row(time_ns: u64, direction: Direction, cookie: u64, wire_len: usize) -> PacketRow {
    PacketRow {
        time_ns,
        socket_cookie: cookie,
        netns_cookie: 1,
        interface_index: 1,
        wire_len: wire_len as u32,
        link_type: RAW_IP,
        direction,
        program: if direction == Direction::Egress { 2 } else { 1 },
        ..PacketRow::default()
    }
}

/// IPv4 and TCP headers without options.
pub(crate) fn tcp(
    source: ([u8; 4], u16),
    destination: ([u8; 4], u16),
    id: u16,
    sequence: u32,
    flags: u8,
    payload_len: usize,
) -> Vec<u8> {
    let mut bytes = ipv4(6, source.0, destination.0, id, 20 + payload_len);
    bytes.extend(source.1.to_be_bytes());
    bytes.extend(destination.1.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0x50, flags, 0x10, 0, 0, 0, 0, 0]);
    bytes
}

/// IPv4 and UDP headers.
pub(crate) fn udp(
    source: ([u8; 4], u16),
    destination: ([u8; 4], u16),
    id: u16,
    payload_len: usize,
) -> Vec<u8> {
    let mut bytes = ipv4(17, source.0, destination.0, id, 8 + payload_len);
    bytes.extend(source.1.to_be_bytes());
    bytes.extend(destination.1.to_be_bytes());
    bytes.extend((8 + payload_len as u16).to_be_bytes());
    bytes.extend([0; 2]);
    bytes
}

fn ipv4(protocol: u8, source: [u8; 4], destination: [u8; 4], id: u16, after: usize) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + after as u16).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend([0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(source);
    bytes.extend(destination);
    bytes
}

pub(crate) const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
pub(crate) const HOST: [u8; 4] = [10, 0, 0, 2];
pub(crate) const RESOLVER: [u8; 4] = [10, 0, 0, 53];

/// Two segments: curl asks a resolver over the network, then nginx over loopback.
///
/// Seven packets: two of DNS (in the first segment), and five of TCP that were each recorded leaving and arriving; the
/// last of them leaves in the first segment and arrives in the second.
pub(crate) fn web_recording(folder: &Path) {
    web_recording_to(Recorder::new(folder));
}

/// As [`web_recording`], encrypted.
pub(crate) fn encrypted_web_recording(folder: &Path, recipients: Vec<Recipient>) {
    web_recording_to(Recorder { recipients, ..Recorder::new(folder) });
}

fn web_recording_to(mut recorder: Recorder) {
    let mut first = recorder.segment();
    let ms = |milliseconds: u64| START_NS + milliseconds * 1_000_000;
    let mut nginx = event(
        ms(0),
        Kind::Enumerate(proto::ProcessEnumerate {
            process: Some(process(NGINX, "nginx", &["nginx", "-g", "daemon off;"])),
        }),
    );
    nginx.snapshot = true;
    let mut listener = socket(ms(0), SocketKind::Enumerate, 20, NGINX, "nginx");
    listener.snapshot = true;
    let mut interface = event(
        ms(0),
        Kind::Interface(proto::InterfaceInfo {
            index: 1,
            name: "lo".into(),
            mtu: 65536,
            addresses: vec![LOOPBACK.to_vec()],
            hardware_type: 772,
            ..proto::InterfaceInfo::default()
        }),
    );
    interface.snapshot = true;
    first.snapshot(&[nginx.clone(), listener, interface]);
    let mut accepted = socket(ms(21), SocketKind::Accepted, NGINX_COOKIE, 0, "");
    if let Some(Kind::Socket(socket)) = &mut accepted.event {
        socket.inherited_owner = Some(process_id(NGINX));
        socket.owner = None;
    }
    first.events(&[
        event(ms(1), Kind::Fork(proto::ProcessFork { process: Some(process(CURL, "bash", &[])) })),
        exec(ms(2), process(CURL, "curl", &["curl", "http://localhost/"])),
        socket(ms(9), SocketKind::Create, DNS_COOKIE, CURL, "curl"),
        socket(ms(19), SocketKind::Create, CURL_COOKIE, CURL, "curl"),
        socket(ms(20), SocketKind::Connect, CURL_COOKIE, CURL, "curl"),
        accepted,
    ]);

    let mut dns = PacketBatch::default();
    let question = udp((HOST, 5353), (RESOLVER, 53), 1, 30);
    dns.push(&row(ms(10), Direction::Egress, DNS_COOKIE, 58), &question, &[b'q'; 30]);
    let answer = udp((RESOLVER, 53), (HOST, 5353), 9, 46);
    dns.push(&row(ms(12), Direction::Ingress, DNS_COOKIE, 74), &answer, &[b'a'; 46]);
    first.packets(&dns);

    let (client, server) = ((LOOPBACK, 40000), (LOOPBACK, 80));
    let request = b"GET / HTTP/1.1\r\n\r\n";
    let conversation: [(bool, Vec<u8>, &[u8]); 5] = [
        (true, tcp(client, server, 1, 1000, 0x02, 0), b""),
        (false, tcp(server, client, 0, 5000, 0x12, 0), b""),
        (true, tcp(client, server, 2, 1001, 0x18, request.len()), request),
        (false, tcp(server, client, 3, 5001, 0x18, 5), b"HELLO"),
        (true, tcp(client, server, 3, 1019, 0x11, 0), b""),
    ];
    let mut web = PacketBatch::default();
    let mut tail = PacketBatch::default();
    for (number, (from_client, header, payload)) in conversation.iter().enumerate() {
        let time = ms(20 + number as u64);
        let (sender, receiver) =
            if *from_client { (CURL_COOKIE, NGINX_COOKIE) } else { (NGINX_COOKIE, CURL_COOKIE) };
        let len = header.len() + payload.len();
        web.push(&row(time, Direction::Egress, sender, len), header, payload);
        let arriving = if number == 4 { &mut tail } else { &mut web };
        arriving.push(&row(time + 5_000, Direction::Ingress, receiver, len), header, payload);
    }
    first.packets(&web);
    first.losses(&[
        report(2, 6, 0, 6, &[]),
        report(1, 7, 1, 5, &[(proto::LossCause::RingFull, 1)]),
        report(16, 6, 0, 6, &[]),
    ]);
    first.seal();

    let mut second = recorder.segment();
    nginx.time_ns = ms(24);
    let mut curl = event(
        ms(24),
        Kind::Enumerate(proto::ProcessEnumerate {
            process: Some(process(CURL, "curl", &["curl", "http://localhost/"])),
        }),
    );
    curl.snapshot = true;
    let mut client_socket = socket(ms(24), SocketKind::Connect, CURL_COOKIE, CURL, "curl");
    client_socket.snapshot = true;
    let mut server_socket = socket(ms(24), SocketKind::Receive, NGINX_COOKIE, NGINX, "nginx");
    server_socket.snapshot = true;
    second.snapshot(&[nginx, curl, client_socket, server_socket]);
    second.packets(&tail);
    second.events(&[
        socket(ms(30), SocketKind::Release, CURL_COOKIE, CURL, "curl"),
        exit(ms(31), CURL, "curl", 3 << 8),
    ]);
    second.losses(&[report(1, 1, 0, 1, &[]), report(18, 2, 0, 2, &[])]);
    second.seal();
}

pub(crate) fn report(
    program: i32,
    seen: u64,
    filtered: u64,
    stored: u64,
    lost: &[(proto::LossCause, u64)],
) -> proto::LossReport {
    proto::LossReport {
        begin_ns: START_NS,
        end_ns: START_NS + 40_000_000,
        program,
        seen,
        filtered,
        stored,
        lost: lost
            .iter()
            .map(|(cause, count)| proto::Lost { cause: (*cause).into(), count: *count })
            .collect(),
        kernel_seen: seen,
        ..proto::LossReport::default()
    }
}

/// One process sends datagrams that all look alike to another one over loopback: so many blocks of so many records in each
/// direction. A packet arrives when the next two have left.
pub(crate) fn flood_recording(folder: &Path, blocks: u64, packets: u64) {
    const CLIENT: u32 = 300;
    const SERVER: u32 = 400;
    const IN_FLIGHT: u64 = 3;
    let mut recorder = Recorder::new(folder);
    let mut segment = recorder.segment();
    segment.events(&[
        socket(START_NS, SocketKind::Send, 31, CLIENT, "client"),
        socket(START_NS, SocketKind::Receive, 41, SERVER, "server"),
    ]);
    let header = udp((LOOPBACK, 9999), (LOOPBACK, 7777), 0, 30);
    let total = blocks * packets;
    let mut batch = PacketBatch::default();
    for number in 0..total + IN_FLIGHT {
        let time = START_NS + number * 20_000;
        if number < total {
            batch.push(&row(time, Direction::Egress, 31, 58), &header, &[0; 30]);
        }
        if number >= IN_FLIGHT {
            batch.push(&row(time + 1000, Direction::Ingress, 41, 58), &header, &[0; 30]);
        }
        if batch.len as u64 >= 2 * packets {
            segment.packets(&batch);
            batch.clear();
        }
    }
    segment.packets(&batch);
    segment.seal();
}

/// Blocks whose times overlap, as those of processors that write side by side: every packet has its own length.
pub(crate) fn interleaved_recording(folder: &Path) {
    let mut recorder = Recorder::new(folder);
    let mut segment = recorder.segment();
    for block in 0..4_u64 {
        let mut batch = PacketBatch::default();
        // Rows of a block are out of order, too.
        for packet in [2, 0, 1, 3_u64] {
            let place = block * 3 + packet * 2;
            let header = udp((HOST, 1000), (RESOLVER, 53), 1, 0);
            let len = 100 + place * 10 + block;
            batch.push(
                &row(START_NS + place * 1000 + block, Direction::Egress, DNS_COOKIE, len as usize),
                &header,
                &[],
            );
        }
        segment.packets(&batch);
    }
    segment.seal();
}

/// A datagram that waits in a queue for 600 ms between its departure and its arrival, and others that leave the host
/// meanwhile, each in a block of its own.
pub(crate) fn queued_recording(folder: &Path, others: u64) {
    let mut recorder = Recorder::new(folder);
    let mut segment = recorder.segment();
    let mut block = |time_ns: u64, direction: Direction, cookie: u64, header: &[u8]| {
        let mut batch = PacketBatch::default();
        batch.push(&row(time_ns, direction, cookie, 58), header, &[0; 30]);
        segment.packets(&batch);
    };
    let queued = udp((LOOPBACK, 9999), (LOOPBACK, 7777), 1, 30);
    block(START_NS, Direction::Egress, 31, &queued);
    for number in 1..=others {
        let header = udp((HOST, 1000), (RESOLVER, 53), number as u16, 30);
        block(START_NS + number * 600_000_000 / (others + 1), Direction::Egress, DNS_COOKIE, &header);
    }
    block(START_NS + 600_000_000, Direction::Ingress, 41, &queued);
    segment.seal();
}
