//! Whose packets they are by container, joined from what segments hold, and with the format's reader alone.

use std::collections::BTreeMap;
use std::path::Path;

use kcap_format::proto::{CgroupEvent, Container, Event, cgroup_event, event::Event as Kind};
use kcap_format::{BlockType, Direction, PacketColumns, Segment};
use serde_json::Value;

use crate::kcap::sql;

/// Owners and containers, as a recording tells them.
#[derive(Debug, Default)]
pub struct Owners {
    /// Process that used a socket last, by cookie.
    users: BTreeMap<u64, u32>,
    /// Cgroup that a process was in last.
    cgroups_of: BTreeMap<u32, u64>,
    cgroups: BTreeMap<u64, CgroupEvent>,
    containers: BTreeMap<String, Container>,
}

impl Owners {
    /// Joins the events of a recording.
    pub fn of(segments: &[Segment]) -> Self {
        let mut owners = Self::default();
        let mut events: Vec<Event> =
            segments.iter().flat_map(|segment| segment.all_events().expect("events")).collect();
        events.sort_by_key(|event| event.time_ns);
        for event in events {
            owners.add(event);
        }
        owners
    }

    fn add(&mut self, event: Event) {
        let process = match event.event {
            Some(Kind::Fork(fork)) => fork.process,
            Some(Kind::Exec(exec)) => exec.process,
            Some(Kind::Enumerate(enumerate)) => enumerate.process,
            Some(Kind::CgroupAttach(attach)) => {
                if let Some(process) = attach.process {
                    self.cgroups_of.insert(process.pid, attach.cgroup_id);
                }
                None
            }
            Some(Kind::Socket(socket)) => {
                if let Some(owner) = socket.owner {
                    self.users.insert(socket.cookie, owner.pid);
                }
                None
            }
            Some(Kind::Cgroup(cgroup)) => {
                if cgroup.kind() != cgroup_event::Kind::Remove {
                    self.cgroups.insert(cgroup.id, cgroup);
                }
                None
            }
            Some(Kind::Container(container)) => {
                self.containers.insert(container.id.clone(), container);
                None
            }
            _ => None,
        };
        if let Some(process) = process
            && let Some(id) = process.id
        {
            self.cgroups_of.insert(id.pid, process.cgroup_id);
        }
    }

    /// The last that was told of a container.
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.containers.get(id)
    }

    /// The container with this name.
    pub fn named(&self, name: &str) -> Option<&Container> {
        self.containers.values().find(|container| container.name == name)
    }

    /// Name of the container whose process used the socket last; empty outside of containers.
    #[track_caller]
    pub fn container_name(&self, cookie: u64) -> &str {
        let Some(cgroup) = self
            .users
            .get(&cookie)
            .and_then(|pid| self.cgroups_of.get(pid))
            .and_then(|id| self.cgroups.get(id))
        else {
            return "";
        };
        self.containers.get(&cgroup.container_id).map_or("", |container| &container.name)
    }
}

/// What packets that left for a port carry of their containers and pods, asked with `kcap sql`: for each combination the
/// number of packets.
#[track_caller]
pub fn carried(capture: &Path, port: u16) -> Vec<Value> {
    let query = format!(
        "SELECT k.container_id, k.container_name, c.image, c.runtime, c.labels, k.pod_name, k.pod_namespace, c.pod_id, \
         c.pod_labels, count(*) AS packets FROM packets k LEFT JOIN containers c ON k.container_id = c.container_id \
         WHERE k.dst_port = {port} AND k.direction = 'egress' GROUP BY ALL"
    );
    sql(capture, &query)
}

/// Packets that left for a port of IPv4, as their sockets' cookies.
pub fn leaving_for(segments: &[Segment], port: u16) -> Vec<u64> {
    let mut cookies = Vec::new();
    for segment in segments {
        for block in segment.blocks_of(BlockType::PACKETS) {
            let batch = segment.packets(block, PacketColumns::ALL).expect("a whole block of packets");
            for row in (0..batch.len).filter(|row| batch.direction[*row] == Direction::Egress as u8) {
                if let Some([0x45, rest @ ..]) = batch.header.get(row)
                    && rest.get(21..23) == Some(&port.to_be_bytes()[..])
                {
                    cookies.push(batch.socket_cookie[row]);
                }
            }
        }
    }
    cookies
}
