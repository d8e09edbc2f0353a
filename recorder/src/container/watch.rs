//! The thread that puts together what kernel and runtimes tell of containers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::Sender;
use kcap_format::container_path::container_of;
use kcap_format::proto::{CgroupEvent, Container, Event, cgroup_event::Kind, event};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout_at};
use tracing::{debug, warn};

use super::runtime::{LOOKUPS_MAX, Link, Protocol, Told, keep_following};
use super::store::Store;
use super::{CRI_SOCKETS, DOCKER_SOCKETS, SocketChoice};
use crate::clock;
use crate::condition::Decider;
use crate::pipeline::ToSink;
use crate::run::spawn;

/// Cgroup events that may wait for the thread.
const CGROUPS_WAITING_MAX: usize = 1 << 15;
/// What runtimes said that may wait for the thread.
const TOLD_WAITING_MAX: usize = 256;
/// Containers that ended are forgotten this often.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// Cgroups that wait for a decision are looked at this often.
const DECIDE_INTERVAL: Duration = Duration::from_millis(500);
/// How long the answers of runtimes are waited for when the recording ends.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Where cgroup events are handed in.
#[derive(Clone)]
pub(crate) struct Tap {
    cgroups: mpsc::Sender<CgroupEvent>,
    /// Those outside of containers too, about which conditions have to decide.
    all: bool,
    missed: Arc<AtomicUsize>,
}

impl Tap {
    /// Hands a cgroup event in. Never waits: when there is no room, the cgroup is still recorded, but its runtime isn't
    /// asked for its container.
    pub(crate) fn note(&self, event: &Event) {
        let Some(event::Event::Cgroup(cgroup)) = &event.event else { return };
        if cgroup.container_id.is_empty() && !self.all {
            return;
        }
        if self.cgroups.try_send(cgroup.clone()).is_err() && self.missed.fetch_add(1, Ordering::Relaxed) == 0
        {
            warn!("containers come faster than their runtimes can be asked for them");
        }
    }
}

/// What comes out of a tap.
pub(crate) struct Cgroups(mpsc::Receiver<CgroupEvent>);

/// A tap, for cgroups of containers or for all, and the end at which [`start`] listens.
pub(crate) fn tap(all: bool) -> (Tap, Cgroups) {
    let (cgroups, receiver) = mpsc::channel(CGROUPS_WAITING_MAX);
    (Tap { cgroups, all, missed: Arc::default() }, Cgroups(receiver))
}

/// Starts the thread. It ends when all taps are gone.
pub(crate) fn start(
    docker: &SocketChoice,
    cri: &SocketChoice,
    Cgroups(cgroups): Cgroups,
    decider: Decider,
    to_sink: Sender<ToSink>,
) -> Result<JoinHandle<()>> {
    let sockets: Vec<_> =
        [(docker, &DOCKER_SOCKETS[..], Protocol::Docker), (cri, &CRI_SOCKETS[..], Protocol::Cri)]
            .into_iter()
            .flat_map(|(choice, usual, protocol)| {
                choice.runtimes(usual).into_iter().map(move |runtime| (runtime, protocol))
            })
            .collect();
    let executor = executor().context("cannot follow container runtimes")?;
    spawn("containers", move || {
        executor.block_on(async {
            let pending = Arc::new(AtomicUsize::new(0));
            let (told_sender, told) = mpsc::channel(TOLD_WAITING_MAX);
            let mut lookups = Vec::new();
            for (runtime, protocol) in sockets {
                let (sender, receiver) = mpsc::channel(LOOKUPS_MAX);
                let link = Link::new(receiver, told_sender.clone(), Arc::clone(&pending));
                tokio::spawn(keep_following(runtime, protocol, link));
                lookups.push(sender);
            }
            let watch = Watch { store: Store::default(), decider, to_sink, lookups, pending };
            watch.run(cgroups, told, told_sender).await;
        });
        // Whatever hangs is left behind.
        executor.shutdown_background();
    })
}

fn executor() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

struct Watch {
    store: Store,
    decider: Decider,
    to_sink: Sender<ToSink>,
    /// One for each runtime.
    lookups: Vec<mpsc::Sender<String>>,
    /// Lookups that were not yet answered.
    pending: Arc<AtomicUsize>,
}

impl Watch {
    /// `_keep` keeps `told` open when there is no runtime.
    async fn run(
        mut self,
        mut cgroups: mpsc::Receiver<CgroupEvent>,
        mut told: mpsc::Receiver<Told>,
        _keep: mpsc::Sender<Told>,
    ) {
        let mut forget = interval(FORGET_INTERVAL);
        let mut decide = interval(DECIDE_INTERVAL);
        loop {
            tokio::select! {
                // What the kernel says is waited for by nobody who lies.
                biased;
                cgroup = cgroups.recv() => match cgroup {
                    Some(cgroup) => self.note_cgroup(&cgroup),
                    None => break,
                },
                Some(told) = told.recv() => self.note_told(told),
                _ = forget.tick() => self.store.forget_gone(clock::boot_ns()),
                _ = decide.tick() => self.decider.tick(clock::boot_ns()),
            }
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while self.pending.load(Ordering::Acquire) > 0
            && let Ok(Some(told)) = timeout_at(deadline, told.recv()).await
        {
            self.note_told(told);
        }
        while let Ok(told) = told.try_recv() {
            self.note_told(told);
        }
        if self.store.refused > 0 {
            debug!(count = self.store.refused, "containers that there was no room for");
        }
    }

    fn note_cgroup(&mut self, cgroup: &CgroupEvent) {
        self.decider.note_cgroup(cgroup, self.store.container(&cgroup.container_id));
        let is_own = container_of(&cgroup.path).is_some_and(|named| named.is_own);
        let known = self.store.note_cgroup(cgroup, is_own, clock::boot_ns());
        let Some(container) = known else { return };
        if cgroup.kind() != Kind::Remove && container.name.is_empty() {
            self.ask_for(&container.id);
        }
        self.tell(container);
    }

    fn note_told(&mut self, told: Told) {
        let now_ns = clock::boot_ns();
        let known = match told {
            Told::Container(container) => self.store.note_told(*container, now_ns),
            Told::Gone(id) => self.store.note_gone(&id, now_ns),
        };
        if let Some(container) = known {
            self.decider.note_container(&container);
            self.tell(container);
        }
    }

    fn ask_for(&self, id: &str) {
        for runtime in &self.lookups {
            self.pending.fetch_add(1, Ordering::AcqRel);
            if runtime.try_send(id.to_owned()).is_err() {
                self.pending.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn tell(&self, container: Container) {
        let event = Some(event::Event::Container(container));
        let event = Event { time_ns: clock::boot_ns(), event, ..Event::default() };
        // The sink outlives all that send to it.
        let _ = self.to_sink.send(ToSink::Told(Box::new(event)));
    }
}
