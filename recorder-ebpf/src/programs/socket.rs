//! Sockets: created, bound, connected, established, accepted, released, and used with an address.

use aya_ebpf::{
    EbpfContext,
    bindings::{bpf_sock, bpf_sock_addr, bpf_sock_ops},
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::{cgroup_sock, cgroup_sock_addr, sock_ops},
    programs::{SockAddrContext, SockContext, SockOpsContext},
};
use core::ffi::c_void;
use kcap_recorder_ebpf::{EventKind, ProcessKey, Program, SocketEvent, SocketEventKind};

use super::{
    condition,
    count::{Fate, count_unwanted, counted},
    dormancy::{count_early, is_fast_asleep},
    owner::{
        Use, bequeath, forget, inherited, is_recent, note_inherited, note_unwanted, note_use, owner_of,
        take_back_use,
    },
    ring::{EVENTS, reserve, submit_event},
    settings::setting,
    task::{current_pid, current_process, fill_anonymous_head, fill_head, is_recorder},
};

/// What the programs return: allow what is being done.
const ALLOW: i32 = 1;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// `BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB` and `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`
const OPERATION_ACTIVE_ESTABLISHED: u32 = 4;
const OPERATION_PASSIVE_ESTABLISHED: u32 = 5;

#[cgroup_sock(sock_create)]
fn socket_create(context: SockContext) -> i32 {
    counted(Program::SocketCreate, || tell_of(&context, Program::SocketCreate, SocketEventKind::Create));
    ALLOW
}

#[cgroup_sock(sock_release)]
fn socket_release(context: SockContext) -> i32 {
    // There is nothing to take back.
    if condition::are_there() && is_fast_asleep() {
        count_unwanted(Program::SocketRelease);
    } else {
        counted(Program::SocketRelease, || {
            tell_of(&context, Program::SocketRelease, SocketEventKind::Release)
        });
    }
    ALLOW
}

#[cgroup_sock(post_bind4)]
fn socket_bind4(context: SockContext) -> i32 {
    counted(Program::SocketBind4, || tell_of(&context, Program::SocketBind4, SocketEventKind::Bind));
    ALLOW
}

#[cgroup_sock(post_bind6)]
fn socket_bind6(context: SockContext) -> i32 {
    counted(Program::SocketBind6, || tell_of(&context, Program::SocketBind6, SocketEventKind::Bind));
    ALLOW
}

#[cgroup_sock_addr(connect4)]
fn socket_connect4(context: SockAddrContext) -> i32 {
    counted(Program::SocketConnect4, || connect(&context, Program::SocketConnect4));
    ALLOW
}

#[cgroup_sock_addr(connect6)]
fn socket_connect6(context: SockAddrContext) -> i32 {
    counted(Program::SocketConnect6, || connect(&context, Program::SocketConnect6));
    ALLOW
}

#[cgroup_sock_addr(sendmsg4)]
fn socket_sendmsg4(context: SockAddrContext) -> i32 {
    counted(Program::SocketSendmsg4, || use_socket(&context, Program::SocketSendmsg4, SocketEventKind::Send));
    ALLOW
}

#[cgroup_sock_addr(sendmsg6)]
fn socket_sendmsg6(context: SockAddrContext) -> i32 {
    counted(Program::SocketSendmsg6, || use_socket(&context, Program::SocketSendmsg6, SocketEventKind::Send));
    ALLOW
}

#[cgroup_sock_addr(recvmsg4)]
fn socket_recvmsg4(context: SockAddrContext) -> i32 {
    counted(Program::SocketRecvmsg4, || {
        use_socket(&context, Program::SocketRecvmsg4, SocketEventKind::Receive)
    });
    ALLOW
}

#[cgroup_sock_addr(recvmsg6)]
fn socket_recvmsg6(context: SockAddrContext) -> i32 {
    counted(Program::SocketRecvmsg6, || {
        use_socket(&context, Program::SocketRecvmsg6, SocketEventKind::Receive)
    });
    ALLOW
}

#[sock_ops]
fn socket_operations(context: SockOpsContext) -> u32 {
    // SAFETY: the context is valid while the program runs, and the verifier checks each access.
    match unsafe { (*context.as_ptr().cast::<bpf_sock_ops>()).op } {
        OPERATION_ACTIVE_ESTABLISHED => {
            counted(Program::SocketOperations, || establish(&context, SocketEventKind::Established));
        }
        OPERATION_PASSIVE_ESTABLISHED => {
            counted(Program::SocketOperations, || establish(&context, SocketEventKind::Accepted));
        }
        _ => count_unwanted(Program::SocketOperations),
    }
    // Leaves the reply as it is: the kernel goes on as if no program were there.
    ALLOW as u32
}

/// Events of `cgroup/sock` programs, which run in process context.
#[inline(always)]
fn tell_of(context: &SockContext, program: Program, kind: SocketEventKind) -> Fate {
    let socket = context.as_ptr().cast::<bpf_sock>();
    // SAFETY: the context is valid while the program runs, and the verifier checks each access.
    let sock = unsafe { &*socket };
    let family = sock.family;
    if family != AF_INET && family != AF_INET6 || is_recorder() {
        return Fate::Filtered;
    }
    // SAFETY: a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(socket.cast()) };
    if let Some(process) = condition::unwanted_process() {
        match kind {
            SocketEventKind::Release => forget(cookie),
            SocketEventKind::Create => note_unwanted::<true>(cookie, &process),
            _ => note_unwanted::<false>(cookie, &process),
        }
        if !matches!(kind, SocketEventKind::Release) {
            condition::note_owner(socket.cast(), cookie, &process);
        }
        return Fate::Filtered;
    }
    let process = current_process();
    match kind {
        SocketEventKind::Release => forget(cookie),
        _ => {
            // A full table loses nothing here: the event itself names the owner, and the next use tells it again.
            let _ = note_use::<true>(cookie, || process);
            if condition::are_there() {
                condition::note_owner(socket.cast(), cookie, &process);
            } else {
                bequeath(socket.cast(), &process);
            }
        }
    }
    if !condition::may_want(&process) {
        return Fate::Filtered;
    }
    if condition::are_there() && !matches!(kind, SocketEventKind::Release) {
        count_early();
    }
    let Some(record) = reserve_event() else {
        take_back_use(cookie);
        return Fate::RingFull;
    };
    let event = record.cast::<SocketEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        clear(event);
        fill_head(&raw mut (*event).head, EventKind::Socket, program, process);
        (*event).cookie = cookie;
        (*event).netns_cookie = bpf_get_netns_cookie(socket.cast());
        (*event).socket_kind = kind as u16;
        (*event).family = family as u16;
        (*event).socket_type = sock.type_ as u16;
        (*event).protocol = sock.protocol as u16;
        match program {
            Program::SocketBind4 => put_word(&raw mut (*event).local_address, 0, sock.src_ip4),
            Program::SocketBind6 => {
                put_word(&raw mut (*event).local_address, 0, sock.src_ip6[0]);
                put_word(&raw mut (*event).local_address, 1, sock.src_ip6[1]);
                put_word(&raw mut (*event).local_address, 2, sock.src_ip6[2]);
                put_word(&raw mut (*event).local_address, 3, sock.src_ip6[3]);
            }
            _ => {}
        }
        if matches!(program, Program::SocketBind4 | Program::SocketBind6) {
            // `bpf_sock.src_port` is in host order.
            (*event).local_port = sock.src_port as u16;
        }
    }
    submit_event(record);
    Fate::Stored
}

#[inline(always)]
fn connect(context: &SockAddrContext, program: Program) -> Fate {
    if is_recorder() {
        return Fate::Filtered;
    }
    let socket = context.as_ptr();
    // SAFETY: a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    if is_recent(cookie, current_pid()) && condition::unwanted_process().is_some() {
        return Fate::Filtered;
    }
    let process = current_process();
    // As in `tell_of`.
    let _ = note_use::<false>(cookie, || process);
    if !condition::may_want(&process) {
        return Fate::Filtered;
    }
    if condition::are_there() {
        count_early();
    }
    tell_of_address(context, cookie, program, SocketEventKind::Connect)
}

#[inline(always)]
fn use_socket(context: &SockAddrContext, program: Program, kind: SocketEventKind) -> Fate {
    if is_recorder() {
        return Fate::Filtered;
    }
    // SAFETY: a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    match note_use::<false>(cookie, current_process) {
        Use::Same => Fate::Filtered,
        Use::Forgotten => Fate::StateFull,
        Use::Changed(_) => tell_of_address(context, cookie, program, kind),
    }
}

/// Events of `cgroup/sock_addr` programs, which run in process context.
#[inline(always)]
fn tell_of_address(context: &SockAddrContext, cookie: u64, program: Program, kind: SocketEventKind) -> Fate {
    let socket = context.as_ptr();
    // SAFETY: the context is valid while the program runs, and the verifier checks each access.
    let address = unsafe { &*socket.cast::<bpf_sock_addr>() };
    let Some(record) = reserve_event() else {
        take_back_use(cookie);
        return Fate::RingFull;
    };
    let event = record.cast::<SocketEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        clear(event);
        fill_head(&raw mut (*event).head, EventKind::Socket, program, current_process());
        (*event).cookie = cookie;
        (*event).netns_cookie = bpf_get_netns_cookie(socket);
        (*event).socket_kind = kind as u16;
        (*event).family = address.family as u16;
        (*event).socket_type = address.type_ as u16;
        (*event).protocol = address.protocol as u16;
        let remote = &raw mut (*event).remote_address;
        match program {
            Program::SocketConnect4 | Program::SocketSendmsg4 | Program::SocketRecvmsg4 => {
                put_word(remote, 0, address.user_ip4);
            }
            _ => {
                put_word(remote, 0, address.user_ip6[0]);
                put_word(remote, 1, address.user_ip6[1]);
                put_word(remote, 2, address.user_ip6[2]);
                put_word(remote, 3, address.user_ip6[3]);
            }
        }
        (*event).remote_port = u16::from_be(address.user_port as u16);
    }
    submit_event(record);
    Fate::Stored
}

/// TCP handshakes, which end in softirq: nobody can be named but whom the socket storage remembers.
#[inline(always)]
fn establish(context: &SockOpsContext, kind: SocketEventKind) -> Fate {
    let operations = context.as_ptr();
    // SAFETY: the context is valid while the program runs, and the verifier checks each access.
    let socket = unsafe { &*operations.cast::<bpf_sock_ops>() };
    // SAFETY: the union only has this field beside its alignment.
    let sock = unsafe { socket.__bindgen_anon_2.sk };
    // SAFETY: a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(operations) };
    let is_accepted = kind as u16 == SocketEventKind::Accepted as u16;
    let noted = match (sock.is_null(), condition::are_there()) {
        (true, _) => ProcessKey::default(),
        (false, true) => condition::noted_owner(sock.cast::<c_void>()),
        (false, false) if is_accepted => inherited(sock.cast::<c_void>()),
        (false, false) => ProcessKey::default(),
    };
    if condition::are_there() {
        let owner = if is_accepted { noted } else { owner_of(cookie).map_or(noted, |(owner, _)| owner) };
        if owner.pid != 0 && !condition::may_want_accepted(&owner) {
            return Fate::Filtered;
        }
        if is_accepted {
            note_inherited(cookie, &noted);
        }
    }
    // One without a start can't be told from others that had its number.
    let inherited = if is_accepted && noted.start_time_ns != 0 { noted } else { ProcessKey::default() };
    let Some(record) = reserve_event() else { return Fate::RingFull };
    let event = record.cast::<SocketEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        clear(event);
        fill_anonymous_head(&raw mut (*event).head, EventKind::Socket, Program::SocketOperations);
        (*event).inherited_owner = inherited;
        (*event).cookie = cookie;
        if setting!(sock_ops_netns_cookie) != 0 {
            (*event).netns_cookie = bpf_get_netns_cookie(operations);
        }
        (*event).socket_kind = kind as u16;
        (*event).family = socket.family as u16;
        (*event).socket_type = SOCK_STREAM;
        (*event).protocol = IPPROTO_TCP;
        let (local, remote) = (&raw mut (*event).local_address, &raw mut (*event).remote_address);
        if socket.family == AF_INET {
            put_word(local, 0, socket.local_ip4);
            put_word(remote, 0, socket.remote_ip4);
        } else {
            put_word(local, 0, socket.local_ip6[0]);
            put_word(local, 1, socket.local_ip6[1]);
            put_word(local, 2, socket.local_ip6[2]);
            put_word(local, 3, socket.local_ip6[3]);
            put_word(remote, 0, socket.remote_ip6[0]);
            put_word(remote, 1, socket.remote_ip6[1]);
            put_word(remote, 2, socket.remote_ip6[2]);
            put_word(remote, 3, socket.remote_ip6[3]);
        }
        // `local_port` is in host order, `remote_port` in network order, in the upper half on little-endian hosts.
        (*event).local_port = socket.local_port as u16;
        (*event).remote_port = u32::from_be(socket.remote_port) as u16;
    }
    submit_event(record);
    Fate::Stored
}

const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;

#[inline(always)]
fn reserve_event() -> Option<*mut u8> {
    reserve::<{ size_of::<SocketEvent>() as u64 }>(&EVENTS)
}

#[inline(always)]
unsafe fn clear(event: *mut SocketEvent) {
    // SAFETY: the caller's record is as large as the event.
    unsafe { event.write(SocketEvent::default()) };
}

/// Puts four address bytes, which the kernel hands out in network order, in their place.
#[inline(always)]
unsafe fn put_word(address: *mut [u8; 16], index: usize, word: u32) {
    // SAFETY: addresses lie four-byte aligned in the event, and the index is below 4.
    unsafe { address.cast::<u32>().add(index).write(word) };
}
