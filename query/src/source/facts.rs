//! Events of a segment as the facts that attribution joins.

use kcap_dissect::attribute::{
    Description, Endpoint, OwnerIndexBuilder, ProcessFact, ProcessFactKind, ProcessRef, SocketFact,
    SocketFactKind,
};
use kcap_format::proto::{self, event::Event as Kind, socket_event::Kind as SocketKind};

use crate::table::types::address_from_wire;

/// Adds what an event tells.
pub(super) fn add(builder: &mut OwnerIndexBuilder, event: proto::Event) {
    let time_ns = event.time_ns;
    match event.event {
        Some(Kind::Fork(fork)) => add_process(builder, time_ns, ProcessFactKind::Fork, fork.process),
        Some(Kind::Exec(exec)) => add_process(builder, time_ns, ProcessFactKind::Exec, exec.process),
        Some(Kind::Enumerate(found)) => {
            add_process(builder, time_ns, ProcessFactKind::Enumerate, found.process);
        }
        Some(Kind::Exit(exit)) => {
            let Some(process) = reference(exit.id.as_ref()) else { return };
            builder.process(ProcessFact {
                time_ns,
                kind: ProcessFactKind::Exit,
                process,
                description: Description { name: exit.name.into(), ..Description::default() },
                exit_code: Some(exit.exit_code),
                ..ProcessFact::default()
            });
        }
        Some(Kind::Socket(socket)) => add_socket(builder, time_ns, socket),
        Some(Kind::Interface(interface)) => {
            let addresses = interface.addresses.iter().filter_map(|address| address_from_wire(address));
            addresses.for_each(|address| builder.local_address(interface.netns_cookie, address));
        }
        Some(Kind::CgroupAttach(attach)) => {
            let Some(process) = reference(attach.process.as_ref()) else { return };
            builder.process(ProcessFact {
                time_ns,
                kind: ProcessFactKind::CgroupAttach,
                process,
                description: Description {
                    cgroup_id: attach.cgroup_id,
                    cgroup_path: attach.cgroup_path.into(),
                    ..Description::default()
                },
                ..ProcessFact::default()
            });
        }
        _ => {}
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
            name: process.name.into(),
            executable: process.executable.into(),
            arguments: process.arguments.into(),
            uid: process.credentials.map(|credentials| credentials.uid),
            gid: process.credentials.map(|credentials| credentials.gid),
            cgroup_id: process.cgroup_id,
            cgroup_path: process.cgroup_path.into(),
        },
        exit_code: None,
        pid_namespace: process.namespaces.map_or(0, |namespaces| namespaces.pid_namespace),
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
