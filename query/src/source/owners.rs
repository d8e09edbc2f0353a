//! Who owned which socket, for one segment.

use std::collections::HashMap;

use kcap_dissect::attribute::{Attribution, Description, Owner, OwnerIndex, OwnerIndexBuilder, PacketFacts};
use kcap_format::{BlockEntry, BlockType};

use super::container::container_id;
use super::facts;
use super::process_id::{ProcessIdentity, process_id_text};
use super::recording::Recording;
use super::told::{self, Numbers};
use crate::error::Result;

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
    parent_pid: Option<u32>,
    /// When it began, since boot; `None` when not known.
    start_time_ns: Option<u64>,
    /// Names with the times since boot from which on they hold.
    names: Vec<(u64, String)>,
    /// Command lines, likewise.
    command_lines: Vec<(u64, String)>,
    /// Files that it ran, likewise.
    executables: Vec<(u64, String)>,
    /// Containers that it was in, likewise; empty text for none.
    containers: Vec<(u64, String)>,
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
        if handle.import().is_some() {
            return Ok(Self { index: builder.build(), processes: Vec::new() });
        }
        for events in handle.events()? {
            events?.into_iter().for_each(|event| facts::add(&mut builder, event));
        }
        let last_ns = handle.blocks(BlockType::PACKETS)?.map(|block| block.last_time_ns).max().unwrap_or(0);
        if let Some(next) =
            recording.segments.get(position + 1).filter(|next| next.boot_id() == handle.boot_id())
        {
            let soon = |block: &&BlockEntry| block.first_time_ns <= last_ns.saturating_add(LOOK_AHEAD_NS);
            for block in next.blocks(BlockType::EVENTS)?.take_while(soon) {
                next.block_events(block)?.into_iter().for_each(|event| facts::add(&mut builder, event));
            }
        }
        let index = builder.build();
        let cgroup_paths = cgroup_paths(&index);
        let processes = index.processes().lives().iter().map(|life| ProcessTexts {
            proc_id: process_id_text(
                handle.boot_id(),
                ProcessIdentity::new(life.process.pid, life.process.start_time_ns),
            ),
            pid: life.process.pid,
            parent_pid: life.parent.map(|parent| parent.pid),
            start_time_ns: Some(life.process.start_time_ns),
            names: changes(life.descriptions(), |description| {
                String::from_utf8_lossy(&description.name).into_owned()
            }),
            command_lines: changes(life.descriptions(), command_line),
            executables: changes(life.descriptions(), |description| {
                String::from_utf8_lossy(&description.executable).into_owned()
            }),
            containers: containers(life.descriptions(), &cgroup_paths),
        });
        let processes = processes.collect();
        Ok(Self { index, processes })
    }

    /// What the comments of packets tell, and for each packet its sender and receiver; without comments for no packet.
    #[must_use]
    pub fn told(comments: &[String]) -> (Self, Vec<[Option<End>; 2]>) {
        let mut numbers = Numbers::default();
        let mut ends = Vec::with_capacity(comments.len());
        for comment in comments {
            ends.push(told::ends(comment).map(|end| {
                end.map(|end| End {
                    process: end.process.map(|process| numbers.of(process)),
                    attribution: end.attribution,
                })
            }));
        }
        let text = |text: &str| if text.is_empty() { Vec::new() } else { vec![(0, text.to_owned())] };
        let processes = numbers.processes.iter().map(|process| ProcessTexts {
            // When it began, which makes a process one of its own, is in no comment.
            proc_id: String::new(),
            pid: process.pid,
            parent_pid: None,
            start_time_ns: None,
            names: text(process.name),
            command_lines: text(process.command_line),
            executables: Vec::new(),
            containers: Vec::new(),
        });
        let processes = processes.collect();
        (Self { index: OwnerIndexBuilder::default().build(), processes }, ends)
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
        self.process(end).map(|process| process.proc_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Process id of an end.
    #[must_use]
    pub fn pid(&self, end: &End) -> Option<u32> {
        self.process(end).map(|process| process.pid)
    }

    /// Process id of the parent of an end's process.
    #[must_use]
    pub fn parent_pid(&self, end: &End) -> Option<u32> {
        self.process(end)?.parent_pid
    }

    /// When the process of an end began, in nanoseconds since boot.
    #[must_use]
    pub fn start_time_ns(&self, end: &End) -> Option<u64> {
        self.process(end)?.start_time_ns
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

    /// File that the process of an end ran at a time since boot.
    #[must_use]
    pub fn executable(&self, end: &End, time_ns: u64) -> Option<&str> {
        at(&self.process(end)?.executables, time_ns)
    }

    /// Id of the container that the process of an end was in at a time since boot, by the path of its cgroup.
    #[must_use]
    pub fn container_id(&self, end: &End, time_ns: u64) -> Option<&str> {
        at(&self.process(end)?.containers, time_ns).filter(|id| !id.is_empty())
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

/// Paths of cgroups by their ids: the kernel tells ids only, paths were read for processes older than the recorder.
fn cgroup_paths(index: &OwnerIndex) -> HashMap<u64, Vec<u8>> {
    let lives = index.processes().lives().iter().flat_map(|life| life.descriptions().iter());
    lives
        .filter(|(_, description)| description.cgroup_id != 0 && !description.cgroup_path.is_empty())
        .map(|(_, description)| (description.cgroup_id, description.cgroup_path.clone()))
        .collect()
}

/// The containers of a process with the times from which on it was in them.
fn containers(
    descriptions: &[(u64, Description)],
    cgroup_paths: &HashMap<u64, Vec<u8>>,
) -> Vec<(u64, String)> {
    let path = |description: &Description| {
        let own = Some(&description.cgroup_path).filter(|path| !path.is_empty()).cloned();
        own.or_else(|| cgroup_paths.get(&description.cgroup_id).cloned())
    };
    let mut containers: Vec<(u64, String)> = descriptions
        .iter()
        .filter_map(|(from, description)| {
            let path = String::from_utf8_lossy(&path(description)?).into_owned();
            Some((*from, container_id(&path).unwrap_or_default().to_owned()))
        })
        .collect();
    containers.dedup_by(|later, earlier| later.1 == earlier.1);
    containers
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
