//! What is alive: processes, sockets and interfaces, kept up to date from the events as they are written.
//!
//! Each new segment begins with these, so that it can be read alone. Kept are the events themselves, the last
//! of each kind; a snapshot repeats them with `snapshot` set.

use std::collections::VecDeque;
use std::sync::Arc;

use kcap_format::proto::{Event, Process, ProcessEnumerate, ProcessId, event, socket_event};
use rustc_hash::{FxHashMap, FxHashSet};
use tracing::warn;

use super::PROCESSES_MAX;
use super::containers::Containers;

/// Most sockets kept.
const SOCKETS_MAX: usize = 1 << 17;
/// Sockets given up together when there are more: finding those of which nothing was heard for longest means looking
/// at all.
const SOCKETS_GIVEN_UP: usize = SOCKETS_MAX / 32;
/// How long the ended are kept: packets of a closed socket may still wait to be written into the next
/// segment.
const LINGER_NS: u64 = 5_000_000_000;
/// A start read from `/proc` is exact to a clock tick, which is at most this long.
const COARSE_START_NS: u64 = 20_000_000;

/// The tables of what is alive.
#[derive(Default)]
pub(crate) struct State {
    processes: FxHashMap<u32, ProcessState>,
    sockets: FxHashMap<u64, SocketState>,
    interfaces: Vec<Event>,
    containers: Containers,
    /// What ended, oldest first.
    ended: VecDeque<(u64, Ended)>,
    /// What is older than the recorder was added: until then an end must be remembered, since the enumeration
    /// may have seen what ended a moment later.
    enumerated: bool,
    /// Processes that are alive and that there is no room for: no more than there are process ids.
    left_out: FxHashSet<u32>,
    /// Sockets that made room before their release was told.
    given_up: u64,
}

#[derive(Clone, Copy)]
enum Ended {
    Process(u32),
    Socket(u64),
}

struct ProcessState {
    id: ProcessId,
    told: Vec<Event>,
    /// What the parent it was cloned from ran; what it runs itself only once its children share it.
    image: Option<Arc<Process>>,
    ended_ns: Option<u64>,
}

#[derive(Default)]
struct SocketState {
    told: Vec<Event>,
    ended_ns: Option<u64>,
}

impl State {
    /// Adds what is older than the recorder. What events already told is newer and stays.
    pub(crate) fn add_enumerated(&mut self, events: Vec<Event>) {
        for event in events {
            match &event.event {
                Some(event::Event::Enumerate(enumerate)) => {
                    let id = enumerate.process.as_ref().and_then(|process| process.id);
                    if let Some(id) = id {
                        self.add_process(event, id);
                    }
                }
                Some(event::Event::Socket(socket)) => {
                    let cookie = socket.cookie;
                    self.tell_socket(cookie, event, false);
                }
                Some(event::Event::Interface(_)) => self.interfaces.push(event),
                Some(event::Event::Cgroup(_)) => self.containers.apply(event),
                _ => {}
            }
        }
        self.enumerated = true;
    }

    /// Takes note of an event that was written to a segment.
    pub(crate) fn apply(&mut self, mut event: Event) {
        leave_out_environment(&mut event);
        match &event.event {
            Some(event::Event::Fork(fork)) => {
                let Some(Process { id: Some(id), parent, .. }) = fork.process else { return };
                let image = parent.and_then(|parent| self.processes.get_mut(&parent.pid)?.image());
                self.insert_process(ProcessState { id, told: vec![event], image, ended_ns: None });
            }
            Some(event::Event::Exec(exec)) => {
                let Some(Process { id: Some(id), .. }) = exec.process else { return };
                let mut told = self.processes.remove(&id.pid).map(|state| state.told).unwrap_or_default();
                told.retain(|event| matches!(event.event, Some(event::Event::Fork(_))));
                told.push(event);
                self.insert_process(ProcessState { id, told, image: None, ended_ns: None });
            }
            Some(event::Event::Exit(exit)) => {
                let Some(id) = exit.id else { return };
                let time_ns = event.time_ns;
                if self.left_out.remove(&id.pid) {
                    return;
                }
                let mut state = self.processes.remove(&id.pid).unwrap_or_else(|| ProcessState::new(id));
                state.told.push(event);
                state.ended_ns = Some(time_ns);
                self.ended.push_back((time_ns, Ended::Process(id.pid)));
                self.insert_process(state);
            }
            Some(event::Event::Socket(socket)) => {
                let (cookie, released) = (socket.cookie, socket.kind() == socket_event::Kind::Release);
                self.tell_socket(cookie, event, released);
            }
            Some(event::Event::Cgroup(_) | event::Event::Container(_)) => self.containers.apply(event),
            Some(event::Event::CgroupAttach(attach)) => {
                let Some(id) = attach.process else { return };
                let Some(state) = self.processes.get_mut(&id.pid) else { return };
                state.told.retain(|event| !matches!(event.event, Some(event::Event::CgroupAttach(_))));
                state.told.push(event);
            }
            _ => {}
        }
    }

    /// Forgets what ended long enough before `now_ns`.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        self.containers.expire(now_ns);
        while let Some((time_ns, ended)) = self.ended.front().copied() {
            if !self.enumerated || time_ns.saturating_add(LINGER_NS) > now_ns {
                break;
            }
            self.ended.pop_front();
            self.forget(time_ns, ended);
        }
    }

    /// The events that tell of all that is alive.
    pub(crate) fn snapshot(&self) -> Vec<Event> {
        let processes = self
            .processes
            .values()
            .flat_map(|state| state.told.iter().cloned().chain(state.inherited_image()));
        let sockets = self.sockets.values().flat_map(|state| &state.told).cloned();
        let mut events: Vec<Event> =
            processes.chain(sockets).chain(self.interfaces.iter().cloned()).collect();
        events.extend(self.containers.events().cloned());
        for event in &mut events {
            event.snapshot = true;
        }
        events.sort_by_key(|event| event.time_ns);
        events
    }

    /// Processes that are alive and missing in [`State::snapshot`].
    pub(crate) fn processes_left_out(&self) -> u64 {
        self.left_out.len() as u64
    }

    fn add_process(&mut self, event: Event, id: ProcessId) {
        match self.processes.get_mut(&id.pid) {
            None => self.insert_process(ProcessState { id, told: vec![event], image: None, ended_ns: None }),
            Some(known) if known.id.start_time_ns.abs_diff(id.start_time_ns) <= COARSE_START_NS => {
                known.told.insert(0, event);
            }
            Some(_) => {}
        }
    }

    fn insert_process(&mut self, state: ProcessState) {
        if self.processes.len() >= PROCESSES_MAX && !self.processes.contains_key(&state.id.pid) {
            self.make_room();
            if self.processes.len() >= PROCESSES_MAX {
                return self.leave_out(&state);
            }
        }
        if !self.left_out.is_empty() {
            self.left_out.remove(&state.id.pid);
        }
        self.processes.insert(state.id.pid, state);
    }

    fn tell_socket(&mut self, cookie: u64, event: Event, released: bool) {
        if self.sockets.len() >= SOCKETS_MAX && !self.sockets.contains_key(&cookie) {
            self.make_room();
            if self.sockets.len() >= SOCKETS_MAX {
                self.give_up_silent_sockets();
            }
        }
        let state = self.sockets.entry(cookie).or_default();
        if released && state.ended_ns.is_none() {
            state.ended_ns = Some(event.time_ns);
            self.ended.push_back((event.time_ns, Ended::Socket(cookie)));
        }
        let kind = socket_kind(&event);
        match state.told.iter_mut().find(|known| socket_kind(known) == kind) {
            Some(known) => *known = event,
            None => state.told.push(event),
        }
    }

    /// Forgets the older half of what ended, before its time.
    fn make_room(&mut self) {
        let half = self.ended.len().div_ceil(2);
        for (time_ns, ended) in self.ended.drain(..half).collect::<Vec<_>>() {
            self.forget(time_ns, ended);
        }
    }

    fn forget(&mut self, time_ns: u64, ended: Ended) {
        match ended {
            // The number may have been given to another process since.
            Ended::Process(pid) => {
                if self.processes.get(&pid).is_some_and(|state| state.ended_ns == Some(time_ns)) {
                    self.processes.remove(&pid);
                }
            }
            Ended::Socket(cookie) => {
                self.sockets.remove(&cookie);
            }
        }
    }

    /// Forgets the sockets of which nothing was heard for longest. Some are gone without a word: those that nobody
    /// accepted have no release, and an event can be lost.
    fn give_up_silent_sockets(&mut self) {
        if self.given_up == 0 {
            warn!("more sockets than are kept: those that were silent for longest are left out of snapshots");
        }
        let mut by_age: Vec<(u64, u64)> =
            self.sockets.iter().map(|(cookie, state)| (state.last_heard_ns(), *cookie)).collect();
        let count = SOCKETS_GIVEN_UP.min(by_age.len());
        if count < by_age.len() {
            by_age.select_nth_unstable(count);
        }
        for (_, cookie) in &by_age[..count] {
            self.sockets.remove(cookie);
        }
        self.given_up += count as u64;
    }

    fn leave_out(&mut self, state: &ProcessState) {
        if self.left_out.is_empty() {
            warn!(
                limit = PROCESSES_MAX,
                "more processes than are kept: those that follow are in no snapshot, and counted as lost there"
            );
        }
        if state.ended_ns.is_none() {
            self.left_out.insert(state.id.pid);
        }
    }
}

impl ProcessState {
    fn new(id: ProcessId) -> Self {
        Self { id, told: Vec::new(), image: None, ended_ns: None }
    }

    /// What it runs, for its children.
    fn image(&mut self) -> Option<Arc<Process>> {
        if self.image.is_none() {
            self.image = self.told.iter().rev().find_map(own_image).cloned().map(Arc::new);
        }
        self.image.clone()
    }

    /// For a process that was cloned and executed nothing since: what it runs, by its parent's image, since
    /// its parent may be in no snapshot any more.
    fn inherited_image(&self) -> Option<Event> {
        let [Event { time_ns, event: Some(event::Event::Fork(fork)), .. }, ..] = self.told.as_slice() else {
            return None;
        };
        let image =
            self.image.as_ref().filter(|_| !self.told.iter().any(|event| own_image(event).is_some()))?;
        let own = fork.process.clone()?;
        let process = Process {
            executable: image.executable.clone(),
            arguments: image.arguments.clone(),
            arguments_truncated: image.arguments_truncated,
            cgroup_path: image.cgroup_path.clone(),
            binary: image.binary.clone(),
            streams: image.streams.clone(),
            ..own
        };
        let event = Some(event::Event::Enumerate(ProcessEnumerate { process: Some(process) }));
        Some(Event { time_ns: *time_ns, event, ..Event::default() })
    }
}

impl SocketState {
    fn last_heard_ns(&self) -> u64 {
        self.told.iter().map(|event| event.time_ns).max().unwrap_or(0)
    }
}

/// It never changes, and would be most of what is kept of a process.
fn leave_out_environment(event: &mut Event) {
    if let Some(event::Event::Exec(exec)) = &mut event.event
        && let Some(process) = &mut exec.process
    {
        process.environment = Vec::new();
    }
}

/// What an event says that its process runs itself.
fn own_image(event: &Event) -> Option<&Process> {
    match &event.event {
        Some(event::Event::Exec(exec)) => exec.process.as_ref(),
        Some(event::Event::Enumerate(enumerate)) => enumerate.process.as_ref(),
        _ => None,
    }
}

fn socket_kind(event: &Event) -> Option<i32> {
    match &event.event {
        Some(event::Event::Socket(socket)) => Some(socket.kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcap_format::proto::{ProcessExec, ProcessExit, ProcessFork, SocketEvent};
    use socket_event::Kind;

    const SECOND_NS: u64 = 1_000_000_000;

    fn id(pid: u32, start_time_ns: u64) -> Option<ProcessId> {
        Some(ProcessId { pid, start_time_ns, start_time_coarse: false })
    }

    fn at(time_ns: u64, event: event::Event) -> Event {
        Event { time_ns, event: Some(event), ..Event::default() }
    }

    fn process(pid: u32, start_ns: u64, executable: &str) -> Option<Process> {
        Some(Process { id: id(pid, start_ns), executable: executable.into(), ..Process::default() })
    }

    fn fork(parent: u32, pid: u32, time_ns: u64) -> Event {
        let process = Process { id: id(pid, time_ns), parent: id(parent, 1), ..Process::default() };
        at(time_ns, event::Event::Fork(ProcessFork { process: Some(process) }))
    }

    fn exec(pid: u32, time_ns: u64, executable: &str) -> Event {
        at(time_ns, event::Event::Exec(ProcessExec { process: process(pid, 1, executable) }))
    }

    fn exit(pid: u32, time_ns: u64) -> Event {
        at(time_ns, event::Event::Exit(ProcessExit { id: id(pid, 1), ..ProcessExit::default() }))
    }

    fn enumerated(pid: u32, start_ns: u64, executable: &str) -> Event {
        at(9, event::Event::Enumerate(ProcessEnumerate { process: process(pid, start_ns, executable) }))
    }

    fn socket(cookie: u64, kind: Kind, time_ns: u64) -> Event {
        at(time_ns, event::Event::Socket(SocketEvent { cookie, kind: kind.into(), ..SocketEvent::default() }))
    }

    fn executables(state: &State) -> Vec<String> {
        let image = |event: &Event| match &event.event {
            Some(event::Event::Exec(exec)) => exec.process.clone(),
            Some(event::Event::Enumerate(enumerate)) => enumerate.process.clone(),
            _ => None,
        };
        let mut found: Vec<String> = state
            .snapshot()
            .iter()
            .filter_map(image)
            .map(|process| {
                format!("{} {}", process.id.unwrap().pid, String::from_utf8(process.executable).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn a_clone_runs_what_its_parent_ran_even_when_that_is_gone() {
        let mut state = State::default();
        state.add_enumerated(vec![enumerated(10, 1, "/usr/sbin/nginx")]);
        state.apply(fork(10, 11, SECOND_NS));
        state.apply(exit(10, 2 * SECOND_NS));
        state.expire(20 * SECOND_NS);
        assert_eq!(executables(&state), ["11 /usr/sbin/nginx"]);
        state.apply(exec(11, 21 * SECOND_NS, "/bin/true"));
        assert_eq!(executables(&state), ["11 /bin/true"]);
        assert!(state.snapshot().iter().all(|event| event.snapshot));
    }

    #[test]
    fn the_ended_stay_a_while_with_their_end() {
        let mut state = State { enumerated: true, ..State::default() };
        state.apply(exec(5, SECOND_NS, "/bin/sleep"));
        state.apply(exit(5, 2 * SECOND_NS));
        state.apply(socket(77, Kind::Create, SECOND_NS));
        state.apply(socket(77, Kind::Release, 2 * SECOND_NS));
        state.expire(6 * SECOND_NS);
        assert_eq!(state.snapshot().len(), 4);
        state.expire(7 * SECOND_NS);
        assert!(state.snapshot().is_empty());
    }

    #[test]
    fn an_end_before_the_enumeration_arrives_is_not_undone_by_it() {
        let mut state = State::default();
        state.apply(exit(5, SECOND_NS));
        state.apply(socket(77, Kind::Release, SECOND_NS));
        state.expire(100 * SECOND_NS);
        state.add_enumerated(vec![enumerated(5, 1, "/bin/sleep"), socket(77, Kind::Enumerate, 9)]);
        state.expire(100 * SECOND_NS);
        assert!(state.snapshot().is_empty());
    }

    #[test]
    fn a_number_that_was_given_again_is_the_new_process() {
        let mut state = State::default();
        state.apply(exec(5, 3 * SECOND_NS, "/bin/new"));
        state.processes.get_mut(&5).unwrap().id.start_time_ns = 2 * SECOND_NS;
        state.add_enumerated(vec![enumerated(5, 1, "/bin/old")]);
        assert_eq!(executables(&state), ["5 /bin/new"]);
        state.apply(exit(5, 4 * SECOND_NS));
        state.apply(fork(1, 5, 5 * SECOND_NS));
        state.expire(100 * SECOND_NS);
        assert_eq!(state.processes.len(), 1);
    }

    #[test]
    fn a_socket_keeps_the_last_event_of_each_kind() {
        let mut state = State::default();
        for (kind, time_ns) in [(Kind::Create, 1), (Kind::Send, 2), (Kind::Send, 3), (Kind::Receive, 4)] {
            state.apply(socket(9, kind, time_ns));
        }
        let times: Vec<u64> = state.snapshot().iter().map(|event| event.time_ns).collect();
        assert_eq!(times, [1, 3, 4]);
    }

    #[test]
    fn living_processes_that_there_is_no_room_for_are_known_to_be_missing() {
        let mut state = State { enumerated: true, ..State::default() };
        let count = PROCESSES_MAX as u32;
        for pid in 0..count + 3 {
            state.apply(fork(1, pid, 1));
        }
        assert_eq!((state.processes.len(), state.processes_left_out()), (PROCESSES_MAX, 3));
        // One of them executes another file: it is still the same one.
        state.apply(exec(count, 2, "/bin/true"));
        assert_eq!(state.processes_left_out(), 3);
        state.apply(exit(count + 1, 3));
        assert_eq!(state.processes_left_out(), 2);
        // What ends makes room.
        state.apply(exit(5, 4));
        state.apply(exec(count + 2, 5, "/bin/true"));
        assert_eq!((state.processes.len(), state.processes_left_out()), (PROCESSES_MAX, 1));
        state.apply(exit(count, 6));
        state.apply(exit(count + 2, 7));
        state.expire(20 * SECOND_NS);
        assert_eq!((state.processes.len(), state.processes_left_out()), (PROCESSES_MAX - 1, 0));
    }

    #[test]
    fn a_full_table_gives_up_the_ended_first() {
        let mut state = State { enumerated: true, ..State::default() };
        for cookie in 0..SOCKETS_MAX as u64 {
            state.apply(socket(cookie, Kind::Create, 1));
        }
        state.apply(socket(3, Kind::Release, 2));
        state.apply(socket(u64::MAX, Kind::Create, 3));
        assert!(!state.sockets.contains_key(&3) && state.sockets.contains_key(&u64::MAX));
        assert_eq!((state.sockets.len(), state.given_up), (SOCKETS_MAX, 0));
    }

    /// Sockets that nobody accepts are never released, and used to fill the table for good.
    #[test]
    fn a_full_table_gives_up_the_sockets_that_were_silent_for_longest() {
        let mut state = State { enumerated: true, ..State::default() };
        let count = SOCKETS_MAX as u64;
        for cookie in 0..count {
            state.apply(socket(cookie, Kind::Accepted, cookie));
        }
        let heard_again = 5;
        state.apply(socket(heard_again, Kind::Receive, count));
        state.apply(socket(count, Kind::Accepted, count + 1));
        let given_up = SOCKETS_GIVEN_UP as u64;
        assert_eq!((state.sockets.len() as u64, state.given_up), (count - given_up + 1, given_up));
        for kept in [heard_again, given_up + 1, count - 1, count] {
            assert!(state.sockets.contains_key(&kept), "{kept}");
        }
        for gone in [0, given_up] {
            assert!(!state.sockets.contains_key(&gone), "{gone}");
        }
    }
}
