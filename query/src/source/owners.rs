//! Who owned which socket, for one segment: its events as the facts that attribution joins.

use std::sync::Arc;

use kcap_dissect::attribute::{
    Attribution, Description, Endpoint, Owner, OwnerIndex, OwnerIndexBuilder, PacketFacts, ProcessFact,
    ProcessFactKind, ProcessRef, SocketFact, SocketFactKind,
};
use kcap_format::proto::{self, event::Event as Kind, socket_event::Kind as SocketKind};
use kcap_format::{BlockEntry, BlockType};

use super::process_id::{ProcessIdentity, process_id_text};
use super::recording::Recording;
use crate::error::Result;
use crate::table::types::address_from_wire;

/// How far into the next segment events are read: data may arrive just before a segment ends and be read by their
/// process just after it.
const LOOK_AHEAD_NS: u64 = 1_000_000_000;

/// What one segment knows of owners. Immutable and shared by the threads of a query.
#[derive(Debug)]
pub struct SegmentOwners {
    index: OwnerIndex,
    /// For each process of the index, what it is called.
    processes: Vec<ProcessTexts>,
}

/// A process as tables show it.
#[derive(Debug)]
struct ProcessTexts {
    proc_id: String,
    pid: u32,
    /// Names with the times since boot from which on they hold.
    names: Vec<(u64, String)>,
    /// Command lines, likewise.
    command_lines: Vec<(u64, String)>,
}

/// An end of a packet.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Number of the process in its [`SegmentOwners`], if one is known.
    process: Option<u32>,
    /// How it is known, or why not.
    pub attribution: Attribution,
}

impl SegmentOwners {
    /// Reads the events of a segment, and the first ones of its successor.
    pub(super) fn read(recording: &Recording, position: usize) -> Result<Self> {
        let handle = &recording.segments[position];
        let mut builder = OwnerIndexBuilder::default();
        for events in handle.events() {
            events?.into_iter().for_each(|event| add(&mut builder, event));
        }
        let last_ns = handle.blocks(BlockType::PACKETS).map(|block| block.last_time_ns).max().unwrap_or(0);
        if let Some(next) =
            recording.segments.get(position + 1).filter(|next| next.boot_id() == handle.boot_id())
        {
            let soon = |block: &&BlockEntry| block.first_time_ns <= last_ns.saturating_add(LOOK_AHEAD_NS);
            for block in next.blocks(BlockType::EVENTS).take_while(soon) {
                next.segment.events(block)?.into_iter().for_each(|event| add(&mut builder, event));
            }
        }
        let index = builder.build();
        let processes = index.processes().lives().iter().map(|life| ProcessTexts {
            proc_id: process_id_text(
                handle.boot_id(),
                ProcessIdentity::new(life.process.pid, life.process.start_time_ns),
            ),
            pid: life.process.pid,
            names: changes(life.descriptions(), |description| {
                String::from_utf8_lossy(&description.name).into_owned()
            }),
            command_lines: changes(life.descriptions(), command_line),
        });
        let processes = processes.collect();
        Ok(Self { index, processes })
    }

    /// The end at the hook.
    #[must_use]
    pub fn local_end(&self, facts: &PacketFacts<'_>) -> End {
        End::new(self.index.attribute(facts, None))
    }

    /// The other end of a packet that has one record only, by its addresses and ports.
    #[must_use]
    pub fn other_end(&self, facts: &PacketFacts<'_>) -> Option<End> {
        self.index.other_end(facts).map(End::new)
    }

    /// The end that has the socket of this cookie, if an event told of it.
    #[must_use]
    pub fn end_of_cookie(&self, cookie: u64, time_ns: u64) -> Option<End> {
        self.index.owner_of_cookie(cookie, time_ns).map(End::new)
    }

    /// `proc_id` of an end.
    #[must_use]
    pub fn proc_id(&self, end: &End) -> Option<&str> {
        self.process(end).map(|process| process.proc_id.as_str())
    }

    /// Process id of an end.
    #[must_use]
    pub fn pid(&self, end: &End) -> Option<u32> {
        self.process(end).map(|process| process.pid)
    }

    /// Name that the process of an end had at a time since boot.
    #[must_use]
    pub fn process_name(&self, end: &End, time_ns: u64) -> Option<&str> {
        at(&self.process(end)?.names, time_ns)
    }

    /// Command line that the process of an end had at a time since boot.
    #[must_use]
    pub fn command_line(&self, end: &End, time_ns: u64) -> Option<&str> {
        at(&self.process(end)?.command_lines, time_ns)
    }

    fn process(&self, end: &End) -> Option<&ProcessTexts> {
        self.processes.get(end.process? as usize)
    }

    /// About how much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        const SOCKET_BYTES: usize = 400;
        const PROCESS_BYTES: usize = 1500;
        self.index.sockets().count() * SOCKET_BYTES + self.processes.len() * PROCESS_BYTES
    }
}

impl End {
    fn new(owner: Owner) -> Self {
        let process = owner.process.and_then(|process| u32::try_from(process.as_usize()).ok());
        Self { process, attribution: owner.attribution }
    }
}

/// One text of each description, without those that say what the one before said, and without empty ones.
fn changes(descriptions: &[(u64, Description)], text: impl Fn(&Description) -> String) -> Vec<(u64, String)> {
    let mut texts: Vec<(u64, String)> =
        descriptions.iter().map(|(from, description)| (*from, text(description))).collect();
    texts.retain(|(_, text)| !text.is_empty());
    texts.dedup_by(|later, earlier| later.1 == earlier.1);
    texts
}

/// The text in force at a time; before the first, that one.
fn at(texts: &[(u64, String)], time_ns: u64) -> Option<&str> {
    let after = texts.partition_point(|(from, _)| *from <= time_ns);
    texts.get(after.saturating_sub(1)).map(|(_, text)| text.as_str())
}

fn command_line(description: &Description) -> String {
    let texts: Vec<_> = description.arguments.iter().map(|text| String::from_utf8_lossy(text)).collect();
    texts.join(" ")
}

/// Adds what an event tells.
fn add(builder: &mut OwnerIndexBuilder, event: proto::Event) {
    let time_ns = event.time_ns;
    match event.event {
        Some(Kind::Fork(fork)) => add_process(builder, time_ns, ProcessFactKind::Fork, fork.process),
        Some(Kind::Exec(exec)) => add_process(builder, time_ns, ProcessFactKind::Exec, exec.process),
        Some(Kind::Enumerate(found)) => {
            add_process(builder, time_ns, ProcessFactKind::Enumerate, found.process)
        }
        Some(Kind::Exit(exit)) => {
            let Some(process) = reference(exit.id.as_ref()) else { return };
            builder.process(ProcessFact {
                time_ns,
                kind: ProcessFactKind::Exit,
                process,
                description: Description { name: exit.name, ..Description::default() },
                exit_code: Some(exit.exit_code),
                ..ProcessFact::default()
            });
        }
        Some(Kind::Socket(socket)) => add_socket(builder, time_ns, socket),
        Some(Kind::Interface(_)) | None => {}
    }
}

fn add_process(
    builder: &mut OwnerIndexBuilder,
    time_ns: u64,
    kind: ProcessFactKind,
    process: Option<proto::Process>,
) {
    let Some(process) = process else { return };
    let Some(id) = reference(process.id.as_ref()) else { return };
    builder.process(ProcessFact {
        time_ns,
        kind,
        process: id,
        parent: reference(process.parent.as_ref()),
        description: Description {
            name: process.name,
            executable: process.executable,
            arguments: process.arguments,
            uid: process.credentials.map(|credentials| credentials.uid),
            gid: process.credentials.map(|credentials| credentials.gid),
            cgroup_id: process.cgroup_id,
            cgroup_path: process.cgroup_path,
        },
        exit_code: None,
    });
}

fn add_socket(builder: &mut OwnerIndexBuilder, time_ns: u64, socket: proto::SocketEvent) {
    let kind = match socket.kind() {
        SocketKind::Unspecified => return,
        SocketKind::Create => SocketFactKind::Create,
        SocketKind::Bind => SocketFactKind::Bind,
        SocketKind::Connect => SocketFactKind::Connect,
        SocketKind::Established => SocketFactKind::Established,
        SocketKind::Accepted => SocketFactKind::Accepted,
        SocketKind::Send => SocketFactKind::Send,
        SocketKind::Receive => SocketFactKind::Receive,
        SocketKind::Release => SocketFactKind::Release,
        SocketKind::Enumerate => SocketFactKind::Enumerate,
    };
    builder.socket(SocketFact {
        time_ns,
        cookie: socket.cookie,
        netns_cookie: socket.netns_cookie,
        kind,
        protocol: u8::try_from(socket.protocol).unwrap_or(0),
        local: endpoint(&socket.local_address, socket.local_port),
        remote: endpoint(&socket.remote_address, socket.remote_port),
        owner: reference(socket.owner.as_ref()),
        owner_name: socket.owner_name,
        inherited_owner: reference(socket.inherited_owner.as_ref()),
    });
}

fn reference(id: Option<&proto::ProcessId>) -> Option<ProcessRef> {
    let id = id.filter(|id| id.pid != 0)?;
    Some(ProcessRef { pid: id.pid, start_time_ns: id.start_time_ns, coarse: id.start_time_coarse })
}

fn endpoint(address: &[u8], port: u32) -> Option<Endpoint> {
    Some(Endpoint { address: address_from_wire(address)?, port: u16::try_from(port).ok()? })
}

/// Owners of the segments that were asked for last, shared by all partitions of all queries.
#[derive(Debug, Default)]
pub(super) struct OwnerCache {
    /// Segment (recording, position) with its owners, last used at the end.
    entries: std::sync::Mutex<Vec<((usize, usize), Arc<SegmentOwners>)>>,
}

/// Memory that cached owners may take, save that the newest always stays.
const CACHE_BYTES_MAX: usize = 256 << 20;

impl OwnerCache {
    /// The owners of a segment, read if they are not there.
    pub(super) fn of(
        &self,
        key: (usize, usize),
        read: impl FnOnce() -> Result<SegmentOwners>,
    ) -> Result<Arc<SegmentOwners>> {
        // Held while reading: partitions of one segment would otherwise read the same events side by side.
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = match entries.iter().position(|(known, _)| *known == key) {
            Some(position) => entries.remove(position).1,
            None => Arc::new(read()?),
        };
        entries.push((key, Arc::clone(&found)));
        let mut bytes: usize = entries.iter().map(|(_, owners)| owners.memory_bytes()).sum();
        while bytes > CACHE_BYTES_MAX && entries.len() > 1 {
            bytes -= entries.remove(0).1.memory_bytes();
        }
        Ok(found)
    }
}
