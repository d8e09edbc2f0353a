//! What there is of processes, sockets and interfaces, looked for in `/proc` and asked of the kernel: once, or again and
//! again where no program tells of what comes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use kcap_format::proto::{Event, event::Event as Kind};
use rustc_hash::FxHashSet;

use crate::enrich::{self, Enumerated, Sessions};
use crate::pipeline::ToSink;
use crate::{container, priority};

/// Time between two scans: short enough for sockets that live some seconds, and so many times as long as a scan takes, that
/// it costs a small part of a processor.
const INTERVAL: Duration = Duration::from_secs(2);
const INTERVAL_FACTOR: u32 = 20;
/// How long it may take until it is seen that no further scan is wanted.
const WAIT: Duration = Duration::from_millis(100);
/// What a thread gives way that may take a while.
const NICE: u8 = 10;

/// Looks for what there is.
pub(crate) struct Scan {
    /// The root of cgroup2.
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) arguments_len_max: usize,
    pub(crate) sessions: Arc<Mutex<Sessions>>,
    pub(crate) containers: container::Tap,
    pub(crate) to_sink: Sender<ToSink>,
    /// Scan again until this is set; `None`: once is enough.
    pub(crate) again_until: Option<Arc<AtomicBool>>,
}

impl Scan {
    /// Scans. `wanted` gets a copy of what is found first.
    pub(crate) fn run(self, wanted: Option<Sender<Enumerated>>) {
        let found = self.scan();
        if let Some(wanted) = wanted {
            let _ = wanted.send(found.clone());
        }
        let Some(ending) = self.again_until.clone() else {
            let _ = self.to_sink.send(ToSink::Enumerated(found));
            return;
        };
        let mut known: FxHashSet<Thing> = found.events.iter().filter_map(Thing::of).collect();
        let _ = self.to_sink.send(ToSink::Enumerated(found));
        priority::give_way(NICE);
        let mut interval = INTERVAL;
        while pause(interval, &ending) {
            let begun = Instant::now();
            let Enumerated { mut events, .. } = self.scan();
            let now: FxHashSet<Thing> = events.iter().filter_map(Thing::of).collect();
            events.retain(|event| Thing::of(event).is_some_and(|thing| !known.contains(&thing)));
            known = now;
            if !events.is_empty() {
                let _ = self.to_sink.send(ToSink::Enumerated(events.into()));
            }
            interval = INTERVAL.max(begun.elapsed() * INTERVAL_FACTOR);
        }
    }

    fn scan(&self) -> Enumerated {
        let found = enrich::enumerate(self.cgroup.as_deref(), self.arguments_len_max, &self.sessions);
        found.events.iter().for_each(|event| self.containers.note(event));
        found
    }
}

/// False when it is to end.
fn pause(time: Duration, ending: &AtomicBool) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if ending.load(Ordering::Acquire) {
            return false;
        }
        thread::sleep(WAIT);
    }
    !ending.load(Ordering::Acquire)
}

/// What tells one thing that was found from another.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Thing {
    Process { pid: u32, start_time_ns: u64 },
    Socket { cookie: u64, inode: u64, owner: Option<u32> },
    Interface { netns_cookie: u64, index: u32 },
    Cgroup(u64),
}

impl Thing {
    fn of(event: &Event) -> Option<Self> {
        match event.event.as_ref()? {
            Kind::Enumerate(found) => {
                let id = found.process.as_ref()?.id?;
                Some(Self::Process { pid: id.pid, start_time_ns: id.start_time_ns })
            }
            Kind::Socket(socket) => Some(Self::Socket {
                cookie: socket.cookie,
                inode: socket.inode,
                owner: socket.owner.map(|owner| owner.pid),
            }),
            Kind::Interface(interface) => {
                Some(Self::Interface { netns_cookie: interface.netns_cookie, index: interface.index })
            }
            Kind::Cgroup(cgroup) => Some(Self::Cgroup(cgroup.id)),
            _ => None,
        }
    }
}
