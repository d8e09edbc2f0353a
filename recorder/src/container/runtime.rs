//! Following a runtime at its socket, whatever it does: answers late, never, nonsense or too much.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcap_format::proto::Container;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::{cri, docker};

/// Longest wait for an answer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between attempts to reach a runtime, which doubles from the first to the second.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often is looked for a socket that isn't there. Daemons may be started later.
const ABSENT_INTERVAL: Duration = Duration::from_secs(2);
/// Containers that may wait to be asked for.
pub(super) const LOOKUPS_MAX: usize = 1024;
/// Most messages of a runtime that are taken in a second; beyond, it has to wait.
const TOLD_PER_SECOND_MAX: u32 = 2000;

/// A runtime, by its socket.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    pub(super) socket: PathBuf,
    /// What it is, if its socket's place tells; empty otherwise.
    pub(super) name: &'static str,
}

/// What is spoken at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Docker,
    Cri,
}

/// What a runtime says.
#[derive(Debug)]
pub(super) enum Told {
    Container(Box<Container>),
    /// The container with this id ended.
    Gone(String),
}

/// What connects the one who follows a runtime with the one who takes note.
pub(super) struct Link {
    /// Ids of containers of which more would be good to know.
    pub(super) lookups: mpsc::Receiver<String>,
    told: mpsc::Sender<Told>,
    /// Of all runtimes: ids that were sent and not yet answered.
    pending: Arc<AtomicUsize>,
    second_begun: Instant,
    told_this_second: u32,
    is_connected: bool,
}

impl Link {
    pub(super) fn new(
        lookups: mpsc::Receiver<String>,
        told: mpsc::Sender<Told>,
        pending: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            lookups,
            told,
            pending,
            second_begun: Instant::now(),
            told_this_second: 0,
            is_connected: false,
        }
    }

    /// Hands on what was said. Waits when there is too much of it.
    pub(super) async fn tell(&mut self, told: Told) {
        const SECOND: Duration = Duration::from_secs(1);
        if self.second_begun.elapsed() >= SECOND {
            self.second_begun = Instant::now();
            self.told_this_second = 0;
        }
        self.told_this_second += 1;
        if self.told_this_second > TOLD_PER_SECOND_MAX {
            sleep_until(self.second_begun + SECOND).await;
        }
        // The other end is only gone when all ends.
        let _ = self.told.send(told).await;
    }

    /// One id of `lookups` was answered.
    pub(super) fn looked_up(&self) {
        let _ = self.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
    }

    /// All that runs was told.
    pub(super) fn connected(&mut self, runtime: &Runtime) {
        self.is_connected = true;
        info!(socket = %runtime.socket.display(), "following the container runtime");
    }

    /// Nobody can answer just now.
    fn give_up_lookups(&mut self) {
        while self.lookups.try_recv().is_ok() {
            self.looked_up();
        }
    }
}

/// Follows a runtime for ever: connects again after failures.
pub(super) async fn keep_following(runtime: Runtime, protocol: Protocol, mut link: Link) {
    let mut retry = RETRY_MIN;
    let mut warned = false;
    loop {
        link.give_up_lookups();
        if !runtime.socket.exists() {
            sleep(ABSENT_INTERVAL).await;
            continue;
        }
        link.is_connected = false;
        let followed = match protocol {
            Protocol::Docker => docker::follow(&runtime, &mut link).await,
            Protocol::Cri => cri::follow(&runtime, &mut link).await,
        };
        let Err(error) = followed else { return };
        let socket = runtime.socket.display();
        let error = format!("{error:#}");
        if link.is_connected {
            retry = RETRY_MIN;
            debug!(%socket, error, "the container runtime is followed anew");
        } else if !std::mem::replace(&mut warned, true) {
            warn!(%socket, error, "no word of this container runtime: containers have ids, but no names; trying on");
        } else {
            debug!(%socket, error, "no word of the container runtime");
        }
        // A lookup that is under way must not wait for the next attempt.
        link.give_up_lookups();
        sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}
