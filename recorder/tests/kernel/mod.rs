//! A recording session for tests: programs on the running kernel, and a thread that drains the rings.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use kcap_recorder::{
    capture_switch::CaptureSwitch,
    losses::ProgramCounters,
    probe::{Kernel, LoadOptions, Loaded},
    ring::{EventRecord, EventRing, PacketRing, Wakeups},
};
use kcap_recorder_ebpf::{
    CgroupEvent, EventHead, ExecEvent, ExitEvent, ForkEvent, MappingEvent, PacketHead, Program, SNAPLEN_MAX,
    SocketEvent,
};

/// Makes tests fail where they would skip.
const REQUIRE_VARIABLE: &str = "KCAP_TEST_KERNEL";

/// One session at a time: each sees all traffic of the host.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Options of most tests: everything, both ends.
pub fn options() -> LoadOptions {
    LoadOptions { elide_local_copies: false, snaplen: SNAPLEN_MAX, ..LoadOptions::default() }
}

/// A packet record.
pub struct Packet {
    pub head: PacketHead,
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn is_tcp(&self) -> bool {
        match self.bytes.first().map(|byte| byte >> 4) {
            Some(4) => self.bytes[9] == 6,
            // Packets above 64 KiB carry their length in a hop-by-hop option (RFC 2675).
            Some(6) => self.bytes[6] == 6 || self.bytes[6] == 0 && self.bytes[40] == 6,
            _ => false,
        }
    }

    /// Source and destination port of UDP, whole or first fragment, without options.
    pub fn udp_ports(&self) -> Option<(u16, u16)> {
        let (protocol, at) = match self.bytes.first()? >> 4 {
            4 => (self.bytes[9], 20),
            6 => (self.bytes[6], 40),
            _ => return None,
        };
        let port = |at: usize| Some(u16::from_be_bytes([*self.bytes.get(at)?, *self.bytes.get(at + 1)?]));
        (protocol == 17).then(|| Some((port(at)?, port(at + 2)?)))?
    }
}

/// `SO_COOKIE` of a socket.
pub fn cookie(socket: &impl AsRawFd) -> u64 {
    socket_option(socket, libc::SO_COOKIE)
}

/// `SO_NETNS_COOKIE` of a socket; 0 where the kernel has no such option.
pub fn netns_cookie(socket: &impl AsRawFd) -> u64 {
    socket_option(socket, libc::SO_NETNS_COOKIE)
}

fn socket_option(socket: &impl AsRawFd, option: libc::c_int) -> u64 {
    let (mut value, mut len) = (0u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: room for the value, as `len` says.
    let failed = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut len)
    };
    let error = std::io::Error::last_os_error();
    // The cookie of a namespace can be asked for since Linux 5.14.
    assert!(failed == 0 || error.raw_os_error() == Some(libc::ENOPROTOOPT), "{option}: {error}");
    value
}

/// An event record.
#[derive(Debug)]
pub enum Event {
    Fork(ForkEvent),
    Exec(Box<Exec>),
    Exit(ExitEvent),
    Socket(SocketEvent),
    Cgroup { event: CgroupEvent, path: Vec<u8> },
    Mapping { event: MappingEvent, path: Vec<u8> },
}

impl Event {
    /// What all events have.
    pub fn head(&self) -> &EventHead {
        match self {
            Self::Fork(event) => &event.head,
            Self::Exec(exec) => &exec.event.head,
            Self::Exit(event) => &event.head,
            Self::Socket(event) => &event.head,
            Self::Mapping { event, .. } => &event.head,
            Self::Cgroup { event, .. } => &event.head,
        }
    }
}

/// An exec record; the paths as they are in it, from the leaf up.
#[derive(Clone, Debug)]
pub struct Exec {
    pub event: ExecEvent,
    pub filename: Vec<u8>,
    pub path: Vec<u8>,
    pub stream_paths: [Vec<u8>; 3],
    pub arguments: Vec<u8>,
    pub environment: Vec<u8>,
}

/// What a session brought.
pub struct Recorded {
    pub packets: Vec<Packet>,
    pub events: Vec<Event>,
    pub counters: Vec<ProgramCounters>,
}

/// Programs attached, rings being drained.
pub struct Session {
    loaded: Loaded,
    stop: Arc<AtomicBool>,
    drainer: Option<thread::JoinHandle<Drainer>>,
    idle: Option<Drainer>,
    _guard: MutexGuard<'static, ()>,
}

impl Session {
    /// What a program hangs on.
    pub fn hook(&self, program: Program) -> &str {
        self.loaded.hooks.get(program.name()).map_or("", String::as_str)
    }

    /// `None`: this host can't, and the test is skipped.
    pub fn start(options: &LoadOptions) -> Option<Self> {
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let attached = Kernel::load(options).and_then(|mut loaded| loaded.attach().map(|()| loaded));
        let mut loaded = match attached {
            Ok(loaded) => loaded,
            Err(error) if std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "require") => {
                panic!("{REQUIRE_VARIABLE}=require: {error}")
            }
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        };
        let drainer = Drainer {
            packet_ring: loaded.take_packet_ring().unwrap(),
            event_ring: loaded.take_event_ring().unwrap(),
            packets: Vec::new(),
            events: Vec::new(),
        };
        let mut session =
            Self { loaded, stop: Arc::default(), drainer: None, idle: Some(drainer), _guard: guard };
        session.drain();
        Some(session)
    }

    /// What is attached and what isn't.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What the programs hang on, to attach more.
    pub fn loaded_mut(&mut self) -> &mut Loaded {
        &mut self.loaded
    }

    /// What changes how much is captured, once.
    pub fn capture_switch(&mut self) -> CaptureSwitch {
        self.loaded.take_capture_switch().unwrap()
    }

    fn drain(&mut self) {
        let Some(mut drainer) = self.idle.take() else { return };
        let stop = Arc::clone(&self.stop);
        self.drainer = Some(thread::spawn(move || {
            let wakeups = Wakeups::new(&[
                drainer.packet_ring.parts()[0],
                drainer.packet_ring.parts()[1],
                &drainer.event_ring,
            ])
            .unwrap();
            while !stop.load(Ordering::Relaxed) {
                drainer.drain();
                wakeups.wait(Duration::from_millis(10)).unwrap();
            }
            drainer
        }));
    }

    /// Leaves the rings to fill.
    pub fn stop_draining(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(drainer) = self.drainer.take() {
            self.idle = Some(drainer.join().unwrap());
        }
    }

    /// Empties the rings once, while nobody drains them.
    pub fn drain_once(&mut self) {
        self.idle.as_mut().unwrap().drain();
    }

    /// Detaches, drains what is left, and checks the sums: each run has one fate, and each stored record came.
    pub fn finish(mut self) -> Recorded {
        self.stop_draining();
        self.loaded.detach().unwrap();
        let mut drainer = self.idle.take().unwrap();
        drainer.drain();
        let counters = self.loaded.counters().read().unwrap();
        for ProgramCounters { program, cpu, counters } in &counters {
            let fates = counters.filtered + counters.stored + counters.lost();
            assert_eq!(counters.seen, fates, "{} on processor {cpu}: {counters:?}", program.name());
        }
        let stored = |from: Program, to: Program| -> u64 {
            let rows = counters.iter().filter(|row| row.program >= from && row.program <= to);
            rows.map(|row| row.counters.stored).sum()
        };
        let packets = stored(Program::PacketIngress, Program::PacketEgress)
            + stored(Program::InterfaceIngress, Program::InterfaceEgress);
        assert_eq!(packets, drainer.packets.len() as u64);
        assert_eq!(stored(Program::SocketCreate, Program::SyscallExit), drainer.events.len() as u64);
        Recorded { packets: drainer.packets, events: drainer.events, counters }
    }
}

struct Drainer {
    packet_ring: PacketRing,
    event_ring: EventRing,
    packets: Vec<Packet>,
    events: Vec<Event>,
}

impl Drainer {
    fn drain(&mut self) {
        let drained = self.packet_ring.drain(u64::MAX, |head, bytes| {
            self.packets.push(Packet { head: *head, bytes: bytes.to_vec() });
        });
        assert_eq!(drained.bad, 0);
        let drained = self.event_ring.drain(u64::MAX, |event| {
            self.events.push(match event {
                EventRecord::Fork(event) => Event::Fork(*event),
                EventRecord::Exec(record) => Event::Exec(Box::new(Exec {
                    event: *record.event,
                    filename: record.filename.into(),
                    path: record.path.into(),
                    stream_paths: record.stream_paths.map(Vec::from),
                    arguments: record.arguments.into(),
                    environment: record.environment.into(),
                })),
                EventRecord::Mapping { event, path } => Event::Mapping { event: *event, path: path.into() },
                EventRecord::Exit(event) => Event::Exit(*event),
                EventRecord::Socket(event) => Event::Socket(*event),
                EventRecord::Cgroup { event, path } => Event::Cgroup { event: *event, path: path.to_vec() },
            });
        });
        assert_eq!(drained.bad, 0);
    }
}
