//! Who owned which socket, for one segment.

use std::marker::PhantomData;
use std::sync::Arc;

use kcap_dissect::attribute::{
    Attribution, Description, Owner, OwnerIndex, OwnerIndexBuilder, PacketFacts, ProcessLife,
};
use kcap_format::{BlockEntry, BlockType, proto};
use rustc_hash::FxHashMap;

use super::comments::Comments;
use super::containers::Containers;
use super::end_facts::EndFacts;
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
    /// Bytes of their texts, which processes share.
    text_bytes: usize,
}

/// A process as tables show it.
#[derive(Debug)]
struct ProcessTexts {
    proc_id: Arc<str>,
    pid: u32,
    parent_pid: Option<u32>,
    /// When it began, since boot; `None` when not known.
    start_time_ns: Option<u64>,
    /// Inode of its pid namespace, 0 when not known.
    pid_namespace: u32,
    /// Names with the times since boot from which on they hold.
    names: Vec<(u64, Arc<str>)>,
    /// Command lines, likewise.
    command_lines: Vec<(u64, Arc<str>)>,
    /// Files that it ran, likewise.
    executables: Vec<(u64, Arc<str>)>,
    /// Containers that it was in, likewise.
    containers: Vec<(u64, Option<Arc<proto::Container>>)>,
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
        if handle.is_imported() {
            return Ok(Self { index: builder.build(), processes: Vec::new(), text_bytes: 0 });
        }
        let mut containers = Containers::default();
        let mut add = |event: proto::Event| {
            containers.learn(&event);
            facts::add(&mut builder, event);
        };
        for events in handle.events()? {
            events?.into_iter().for_each(&mut add);
        }
        let last_ns = handle.blocks(BlockType::PACKETS)?.map(|block| block.last_time_ns).max().unwrap_or(0);
        if let Some(next) =
            recording.segments.get(position + 1).filter(|next| next.boot_id() == handle.boot_id())
        {
            let soon = |block: &&BlockEntry| block.first_time_ns <= last_ns.saturating_add(LOOK_AHEAD_NS);
            for block in next.blocks(BlockType::EVENTS)?.take_while(soon) {
                next.block_events(block)?.into_iter().for_each(&mut add);
            }
        }
        let index = builder.build();
        // The kernel tells ids of cgroups; paths were read for processes older than the recorder.
        let lives = index.processes().lives().iter().flat_map(ProcessLife::descriptions);
        lives.for_each(|(_, description)| {
            containers.learn_path(description.cgroup_id, &description.cgroup_path);
        });
        let mut names = SharedTexts::new(lossy);
        let mut executables = SharedTexts::new(lossy);
        let mut command_lines = SharedTexts::new(command_line);
        let processes = index.processes().lives().iter().map(|life| ProcessTexts {
            proc_id: process_id_text(
                handle.boot_id(),
                ProcessIdentity::new(life.process.pid, life.process.start_time_ns),
            )
            .into(),
            pid: life.process.pid,
            parent_pid: life.parent.map(|parent| parent.pid),
            start_time_ns: Some(life.process.start_time_ns),
            pid_namespace: life.pid_namespace,
            names: names.changes(life.descriptions(), |description| &description.name),
            command_lines: command_lines.changes(life.descriptions(), |description| &description.arguments),
            executables: executables.changes(life.descriptions(), |description| &description.executable),
            containers: containers_of(life.descriptions(), &containers),
        });
        let processes = processes.collect();
        let text_bytes = names.bytes() + executables.bytes() + command_lines.bytes();
        Ok(Self { index, processes, text_bytes })
    }

    /// What the comments of packets tell, and for each packet its sender and receiver; without comments for no packet.
    #[must_use]
    pub fn told(comments: &Comments) -> (Self, Vec<[Option<End>; 2]>) {
        let mut numbers = Numbers::default();
        let mut told = Vec::with_capacity(comments.texts.len());
        for comment in &comments.texts {
            told.push(told::ends(comment).map(|end| {
                end.map(|end| End {
                    process: end.process.map(|process| numbers.of(process)),
                    attribution: end.attribution,
                })
            }));
        }
        let of_packet = |place: &u32| {
            let place = (*place as usize).checked_sub(1)?;
            told.get(place).copied()
        };
        let ends = comments.of_packet.iter().map(|place| of_packet(place).unwrap_or_default()).collect();
        let text = |text: &str| if text.is_empty() { Vec::new() } else { vec![(0, text.into())] };
        let processes = numbers.processes.iter().map(|process| ProcessTexts {
            // When it began, which makes a process one of its own, is in no comment.
            proc_id: Arc::default(),
            pid: process.pid,
            parent_pid: None,
            start_time_ns: None,
            pid_namespace: 0,
            names: text(process.name),
            command_lines: text(process.command_line),
            executables: Vec::new(),
            containers: Vec::new(),
        });
        let processes = processes.collect();
        (Self { index: OwnerIndexBuilder::default().build(), processes, text_bytes: 0 }, ends)
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
        self.process(end).map(|process| &*process.proc_id).filter(|id| !id.is_empty())
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

    /// Inode of the pid namespace of an end's process.
    #[must_use]
    pub fn pid_namespace(&self, end: &End) -> Option<u32> {
        Some(self.process(end)?.pid_namespace).filter(|inode| *inode != 0)
    }

    /// Name that the process of an end had at a time since boot.
    #[must_use]
    pub fn process_name(&self, end: &End, time_ns: u64) -> Option<&str> {
        at(&self.process(end)?.names, time_ns).map(|name| &**name)
    }

    /// Command line that the process of an end had at a time since boot.
    #[must_use]
    pub fn command_line(&self, end: &End, time_ns: u64) -> Option<&str> {
        at(&self.process(end)?.command_lines, time_ns).map(|line| &**line)
    }

    /// The container that the process of an end was in at a time since boot.
    #[must_use]
    pub fn container(&self, end: &End, time_ns: u64) -> Option<&proto::Container> {
        at(&self.process(end)?.containers, time_ns)?.as_deref()
    }

    /// All of an end at a time since boot.
    #[must_use]
    pub fn facts_of(&self, end: &End, time_ns: u64) -> EndFacts {
        let attribution = Some(end.attribution);
        let Some(process) = self.process(end) else { return EndFacts { attribution, ..EndFacts::default() } };
        EndFacts {
            proc_id: Some(Arc::clone(&process.proc_id)),
            pid: Some(process.pid),
            process_name: at(&process.names, time_ns).cloned(),
            executable: at(&process.executables, time_ns).cloned(),
            command_line: at(&process.command_lines, time_ns).cloned(),
            container: at(&process.containers, time_ns).cloned().flatten(),
            attribution,
        }
    }

    fn process(&self, end: &End) -> Option<&ProcessTexts> {
        self.processes.get(end.process? as usize)
    }

    /// About how much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        const SOCKET_BYTES: usize = 400;
        const PROCESS_BYTES: usize = 1500;
        // The index has what the texts were made of.
        let texts = 2 * self.text_bytes;
        self.index.sockets().count() * SOCKET_BYTES + self.processes.len() * PROCESS_BYTES + texts
    }
}

impl End {
    fn new(owner: Owner) -> Self {
        let process = owner.process.and_then(|process| u32::try_from(process.as_usize()).ok());
        Self { process, attribution: owner.attribution }
    }
}

/// Texts of what descriptions share, which they share as well.
struct SharedTexts<'a, T, F: Fn(&[T]) -> String> {
    text: F,
    /// By where that lies of which they are the text.
    known: FxHashMap<*const T, Arc<str>>,
    /// It is borrowed, and stays there.
    source: PhantomData<&'a T>,
}

impl<'a, T: 'a, F: Fn(&[T]) -> String> SharedTexts<'a, T, F> {
    fn new(text: F) -> Self {
        Self { text, known: FxHashMap::default(), source: PhantomData }
    }

    fn bytes(&self) -> usize {
        self.known.values().map(|text| text.len()).sum()
    }

    /// One text of each description, without those that say what the one before said, and without empty ones.
    fn changes(
        &mut self,
        descriptions: &'a [(u64, Description)],
        part: impl Fn(&'a Description) -> &'a Arc<[T]>,
    ) -> Vec<(u64, Arc<str>)> {
        let mut texts = Vec::with_capacity(descriptions.len());
        for (from, description) in descriptions {
            let part = part(description);
            if !part.is_empty() {
                let text = self.known.entry(part.as_ptr()).or_insert_with(|| (self.text)(part).into());
                texts.push((*from, Arc::clone(text)));
            }
        }
        texts.retain(|(_, text)| !text.is_empty());
        texts.dedup_by(|later, earlier| later.1 == earlier.1);
        texts
    }
}

/// The containers of a process with the times from which on it was in them.
fn containers_of(
    descriptions: &[(u64, Description)],
    containers: &Containers,
) -> Vec<(u64, Option<Arc<proto::Container>>)> {
    let mut found: Vec<_> = descriptions
        .iter()
        .filter(|(_, description)| description.cgroup_id != 0 || !description.cgroup_path.is_empty())
        .map(|(from, description)| {
            (*from, containers.of_cgroup(description.cgroup_id, &description.cgroup_path))
        })
        .collect();
    found.dedup_by(|later, earlier| later.1 == earlier.1);
    found
}

/// What is in force at a time; before the first, that one.
fn at<T>(changes: &[(u64, T)], time_ns: u64) -> Option<&T> {
    let after = changes.partition_point(|(from, _)| *from <= time_ns);
    changes.get(after.saturating_sub(1)).map(|(_, value)| value)
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn command_line(arguments: &[Vec<u8>]) -> String {
    let texts: Vec<_> = arguments.iter().map(|text| String::from_utf8_lossy(text)).collect();
    texts.join(" ")
}
