//! While nobody is wanted, the programs that see packets aren't attached: a hook that nothing hangs on costs the host
//! nothing.
//!
//! The programs that see processes stay. When one of them finds a process that may be wanted, it calls; so does whoever decides
//! about cgroups. A thread that waits for nothing else then attaches the rest, for good; meanwhile the process waits, for a
//! millisecond at most.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use crossbeam_channel::Sender;
use kcap_recorder_ebpf::{ALERTNESS_ASLEEP, ALERTNESS_WAITED_FOR, RULE_RECORD, Rules, WakeCall};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tracing::{debug, info, warn};

use crate::condition::Tables;
use crate::intake::Intake;
use crate::pipeline::ToSink;
use crate::ring::WakeCalls;
use crate::run::spawn;
use crate::{clock, lockdown, priority};

/// Whether processes can be wanted only by ways that the programs see that stay attached.
///
/// A process may become another user without any of them. Without conditions of its own, the first rule holds for all.
pub(crate) fn is_possible(rules: &Rules) -> bool {
    rules.all & RULE_RECORD != 0 && rules.user == 0
}

/// Rings when somebody may be wanted, and when that is of no interest any more. For any thread.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    is_called: AtomicBool,
    is_ending: AtomicBool,
    has_failed: AtomicBool,
    woken: Mutex<Option<Woken>>,
}

/// How it came that packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Woken {
    /// When somebody was found to be wanted, and when the programs were attached.
    pub(crate) asked_ns: u64,
    pub(crate) attached_ns: u64,
    /// How often processes that may be wanted made, bound or connected a socket in between.
    pub(crate) early_sockets: u64,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(Self(Arc::new(Inner {
            event,
            is_called: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            woken: Mutex::new(None),
        })))
    }

    /// Somebody may be wanted.
    pub(crate) fn ring(&self) {
        self.0.is_called.store(true, Ordering::Release);
        self.0.wake();
    }

    /// Nobody is to be woken for any more.
    pub(crate) fn end(&self) {
        self.0.is_ending.store(true, Ordering::Release);
        self.0.wake();
    }

    /// Whether it was rung.
    pub(crate) fn is_called(&self) -> bool {
        self.0.is_called.load(Ordering::Acquire)
    }

    /// How it was woken, once it is.
    pub(crate) fn woken(&self) -> Option<Woken> {
        *self.0.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody may be wanted, and not all could be attached.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Acquire)
    }

    fn fail(&self) {
        self.0.has_failed.store(true, Ordering::Release);
    }
}

impl Inner {
    fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes, as an eventfd wants them. It is only ever full when it has been rung.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// Whether processes can be let wait while a thread attaches: it takes another processor.
pub(crate) fn alertness() -> u32 {
    if processors().len() > 1 { ALERTNESS_WAITED_FOR } else { ALERTNESS_ASLEEP }
}

/// The first two processors of those that the calling thread may run on.
fn processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return vec![0] };
    (0..CpuSet::count()).filter(|processor| allowed.is_set(*processor).unwrap_or(false)).take(2).collect()
}

/// What the threads that attach the rest need.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) bell: Bell,
    pub(crate) intake: Arc<Mutex<Intake>>,
    pub(crate) tables: Tables,
    /// Is told what is attached since then.
    pub(crate) to_sink: Sender<ToSink>,
}

/// Starts these threads. There are two, each on a processor of its own: a process that waits keeps one busy.
pub(crate) fn start(bed: &Bed, calls: WakeCalls) -> Result<Vec<JoinHandle<Result<()>>>> {
    let calls = Arc::new(Mutex::new(calls));
    let start = |processor| {
        let waker = Waker { processor, calls: Arc::clone(&calls), bed: bed.clone() };
        spawn("waker", move || waker.run())
    };
    processors().into_iter().map(start).collect()
}

/// One of the threads.
struct Waker {
    processor: usize,
    calls: Arc<Mutex<WakeCalls>>,
    bed: Bed,
}

/// Who called.
enum Caller {
    Process(WakeCall),
    Cgroup,
}

impl Waker {
    /// Waits for a call, and attaches; or for the end of the recording. Until then the thread keeps what attaching takes.
    fn run(self) -> Result<()> {
        self.stay_on_processor();
        priority::urgent();
        if let Err(error) = lockdown::keep_for_attaching() {
            debug!(%error, "capabilities are kept");
        }
        let caller = self.wait().context("cannot wait for processes that are wanted");
        let result = caller.and_then(|caller| caller.map_or(Ok(()), |caller| self.wake(&caller)));
        let bell = &self.bed.bell;
        if result.is_err() {
            bell.fail();
            if bell.woken().is_none() {
                // Nobody is to wait for what doesn't come. That it can't be said costs who is wanted a millisecond each time.
                self.bed.tables.set_alertness(ALERTNESS_ASLEEP).ok();
            }
        }
        // The other thread has nothing to do any more.
        bell.end();
        result
    }

    fn stay_on_processor(&self) {
        let mut own = CpuSet::new();
        let set = own.set(self.processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &own));
        if let Err(error) = set {
            debug!(%error, "may run on any processor");
        }
    }

    fn wait(&self) -> io::Result<Option<Caller>> {
        let descriptor = |fd: i32| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let calls = || self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let (ring, event) = (calls().as_fd().as_raw_fd(), self.bed.bell.0.event.as_raw_fd());
        loop {
            if self.bed.bell.0.is_ending.load(Ordering::Acquire) {
                return Ok(None);
            }
            if let Some(call) = calls().next() {
                return Ok(Some(Caller::Process(call)));
            }
            if self.bed.bell.is_called() {
                return Ok(Some(Caller::Cgroup));
            }
            let mut descriptors = [descriptor(ring), descriptor(event)];
            // SAFETY: both descriptors are open, and the array has the length that is told.
            if unsafe { libc::poll(descriptors.as_mut_ptr(), 2, -1) } < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }

    fn wake(&self, caller: &Caller) -> Result<()> {
        let Bed { bell, intake, tables, to_sink } = &self.bed;
        let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
        if bell.woken().is_some() || bell.has_failed() {
            return Ok(());
        }
        let asked_ns = match caller {
            Caller::Process(call) => call.time_ns,
            Caller::Cgroup => clock::boot_ns(),
        };
        let missing_before = intake.missing().len();
        // While the intake is locked: the other thread is not to try it, too.
        intake.attach_packets().inspect_err(|_| bell.fail()).context(FAILED)?;
        let attached_ns = clock::boot_ns();
        let woken = Woken { asked_ns, attached_ns, early_sockets: tables.early_sockets() };
        let rest = intake.attach().context(FAILED);
        let missing = intake.missing().split_off(missing_before);
        for line in &missing {
            warn!(missing = line, "recording without");
        }
        // The sink ends after all that send to it.
        let _ = to_sink.send(ToSink::Attached { hooks: intake.hooks(), missing });
        *bell.0.woken.lock().unwrap_or_else(PoisonError::into_inner) = Some(woken);
        drop(intake);
        let (microseconds, early_sockets) =
            (attached_ns.saturating_sub(asked_ns) / 1000, woken.early_sockets);
        match caller {
            Caller::Process(call) => {
                info!(pid = call.pid, microseconds, early_sockets, "awake: a process may be wanted");
            }
            Caller::Cgroup => info!(microseconds, early_sockets, "awake: a container may be wanted"),
        }
        rest
    }
}

const FAILED: &str = "somebody is wanted, and the programs that see packets can't be attached";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_seen_to_begin_can_be_waited_for() {
        let rules = Rules { all: 1, name: 1, ..Rules::default() };
        assert!(is_possible(&rules));
        assert!(is_possible(&Rules { all: 3, pid: 2, children: 2, ..rules }));
        assert!(!is_possible(&Rules { user: 1, ..rules }), "users change without a hook");
        assert!(!is_possible(&Rules { all: 2, name: 2, ..rules }), "a task beside all packets");
        assert!(!is_possible(&Rules::default()));
    }
}
