//! `sockets`: a row for each socket that the recording tells of.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use kcap_format::proto::{self, event::Event as Kind, socket_event::Kind as SocketKind};

use super::column::Column;
use super::facts::{Facts, RowSink};
use super::text::{family_name, ip_protocol_name, kernel_text, socket_type_name};
use super::types::{ADDRESS_LEN, address_from_wire};
use crate::error::Result;
use crate::source::{Library, ProcessIdentity, Recording, process_id_text};

/// The table.
#[derive(Debug)]
pub(super) struct Sockets;

/// A process that had to do with a socket.
#[derive(Clone, Debug)]
struct User {
    proc_id: String,
    pid: u32,
    name: Option<String>,
}

/// One socket.
#[derive(Debug, Default)]
pub(super) struct SocketRow {
    cookie: u64,
    netns: Option<u64>,
    family: Option<String>,
    socket_type: Option<String>,
    protocol: Option<String>,
    local: Option<[u8; ADDRESS_LEN]>,
    local_port: Option<u16>,
    remote: Option<[u8; ADDRESS_LEN]>,
    remote_port: Option<u16>,
    creator: Option<User>,
    last_user: Option<User>,
    inherited: Option<User>,
    is_accepted: bool,
    is_enumerated: bool,
    created: Option<i64>,
    closed: Option<i64>,
    first_seen: i64,
    last_seen: i64,
}

impl Facts for Sockets {
    type Row = SocketRow;
    const NAME: &'static str = "sockets";
    const SUMMARY: &'static str =
        "A socket that the recording tells of, with its owners and last known addresses.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[SocketRow]>> {
        vec![
            Column::number::<UInt64Type>("socket_cookie", "The kernel's number of the socket, unique for a boot", |rows: &[SocketRow], row| Some(rows[row].cookie)).required(),
            Column::number::<UInt64Type>("netns", "Cookie of the network namespace; null when the kernel did not tell", |rows: &[SocketRow], row| rows[row].netns),
            Column::repeated_text("family", "ipv4, ipv6, or the number of the address family", |rows: &[SocketRow], row| rows[row].family.as_deref()),
            Column::repeated_text("type", "stream, datagram, raw, or the number of the socket type", |rows: &[SocketRow], row| rows[row].socket_type.as_deref()),
            Column::repeated_text("ip_proto_name", "tcp, udp, …, or the number of the protocol", |rows: &[SocketRow], row| rows[row].protocol.as_deref()),
            Column::address("local_ip", "Local address; null when it is any (0.0.0.0, ::) or not known", |rows: &[SocketRow], row| rows[row].local),
            Column::number::<UInt16Type>("local_port", "Local port; null when unbound", |rows: &[SocketRow], row| rows[row].local_port),
            Column::address("remote_ip", "Address of the peer; null when there is none", |rows: &[SocketRow], row| rows[row].remote),
            Column::number::<UInt16Type>("remote_port", "Port of the peer; null when there is none", |rows: &[SocketRow], row| rows[row].remote_port),
            Column::text("creator_proc_id", "The process that called socket(2); null for accepted sockets and when it was before the recording", |rows: &[SocketRow], row| Some(&rows[row].creator.as_ref()?.proc_id)),
            Column::number::<UInt32Type>("creator_pid", "Its process id", |rows: &[SocketRow], row| Some(rows[row].creator.as_ref()?.pid)),
            Column::text("creator_process_name", "Its name then", |rows: &[SocketRow], row| rows[row].creator.as_ref()?.name.as_deref()),
            Column::text("proc_id", "The process that used it last; else its creator, or who inherited it from the listener", |rows: &[SocketRow], row| Some(&rows[row].user()?.proc_id)),
            Column::number::<UInt32Type>("pid", "Its process id", |rows: &[SocketRow], row| Some(rows[row].user()?.pid)),
            Column::text("process_name", "Its name then", |rows: &[SocketRow], row| rows[row].user()?.name.as_deref()),
            Column::boolean("accepted", "True when it came from accept(2)", |rows: &[SocketRow], row| Some(rows[row].is_accepted)).required(),
            Column::boolean("older", "True when it was older than the recorder", |rows: &[SocketRow], row| Some(rows[row].is_enumerated)).required(),
            Column::timestamp("created_ts", "When it was created or accepted; null when that was before the recording", |rows: &[SocketRow], row| rows[row].created),
            Column::timestamp("closed_ts", "When its last file was closed; null while it is open", |rows: &[SocketRow], row| rows[row].closed),
            Column::timestamp("first_seen_ts", "When the recording first tells of it", |rows: &[SocketRow], row| Some(rows[row].first_seen)).required(),
            Column::timestamp("last_seen_ts", "When the recording last tells of it (packets do not count)", |rows: &[SocketRow], row| Some(rows[row].last_seen)).required(),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<SocketRow>) -> Result<()> {
        for recording in &library.recordings {
            for row in collect(recording, sink)? {
                sink.push(row)?;
            }
        }
        Ok(())
    }
}

/// About what a socket takes while the table is put together.
const SOCKET_MEMORY_BYTES: usize = 640;

fn collect(recording: &Recording, sink: &mut RowSink<SocketRow>) -> Result<Vec<SocketRow>> {
    let mut sockets: HashMap<u64, SocketRow> = HashMap::new();
    for handle in &recording.segments {
        let clock = handle.clock()?;
        for events in handle.events()? {
            for event in events? {
                let Some(Kind::Socket(socket)) = &event.event else { continue };
                let time = clock.realtime_ns(event.time_ns);
                let row = match sockets.entry(socket.cookie) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        sink.reserve(SOCKET_MEMORY_BYTES)?;
                        entry.insert(SocketRow {
                            cookie: socket.cookie,
                            first_seen: time,
                            ..SocketRow::default()
                        })
                    }
                };
                row.learn(socket, time, event.snapshot, handle.boot_id());
            }
        }
    }
    let mut rows: Vec<SocketRow> = sockets.into_values().collect();
    rows.sort_by_key(|row| (row.first_seen, row.cookie));
    Ok(rows)
}

impl SocketRow {
    fn user(&self) -> Option<&User> {
        self.last_user.as_ref().or(self.creator.as_ref()).or(self.inherited.as_ref())
    }

    fn learn(&mut self, socket: &proto::SocketEvent, time: i64, is_snapshot: bool, boot_id: &[u8]) {
        let user = |id: Option<&proto::ProcessId>, name: &[u8]| {
            let identity = ProcessIdentity::from_proto(id)?;
            Some(User {
                proc_id: process_id_text(boot_id, identity),
                pid: identity.pid,
                name: kernel_text(name),
            })
        };
        let known = |number: u32| (number != 0).then_some(number);
        let port = |port: u32| u16::try_from(port).ok().filter(|port| *port != 0);
        let address = |bytes: &[u8]| address_from_wire(bytes).filter(|address| !is_unspecified(address));
        self.last_seen = time;
        self.netns = Some(socket.netns_cookie).filter(|cookie| *cookie != 0).or(self.netns);
        self.family = known(socket.family).map(family_name).or(self.family.take());
        self.socket_type = known(socket.r#type).map(socket_type_name).or(self.socket_type.take());
        let protocol = known(socket.protocol).and_then(|protocol| u8::try_from(protocol).ok());
        self.protocol = protocol.map(ip_protocol_name).or(self.protocol.take());
        self.local = address(&socket.local_address).or(self.local);
        self.local_port = port(socket.local_port).or(self.local_port);
        self.remote = address(&socket.remote_address).or(self.remote);
        self.remote_port = port(socket.remote_port).or(self.remote_port);
        let owner = user(socket.owner.as_ref(), &socket.owner_name);
        if let Some(inherited) = user(socket.inherited_owner.as_ref(), &[]) {
            self.inherited = Some(inherited);
        }
        match socket.kind() {
            SocketKind::Create => {
                self.created = self.created.or((!is_snapshot).then_some(time));
                self.creator = owner.or(self.creator.take());
            }
            SocketKind::Accepted => {
                self.is_accepted = true;
                self.created = self.created.or((!is_snapshot).then_some(time));
                self.last_user = owner.or(self.last_user.take());
            }
            SocketKind::Release => self.closed = Some(time),
            SocketKind::Enumerate => {
                self.is_enumerated |= self.created.is_none();
                self.last_user = owner.or(self.last_user.take());
            }
            _ => self.last_user = owner.or(self.last_user.take()),
        }
    }
}

/// True for 0.0.0.0 and ::, which stand for "any".
fn is_unspecified(address: &[u8; ADDRESS_LEN]) -> bool {
    *address == [0; ADDRESS_LEN]
        || std::net::Ipv6Addr::from(*address).to_ipv4_mapped().is_some_and(|ip| ip.is_unspecified())
}
