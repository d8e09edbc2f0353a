//! Who sends and receives on a socket, whatever the system call: the tracepoints `sock_send_length` and
//! `sock_recv_length` (Linux 6.3).
//!
//! They run for each packet, or more often. So they are of the kind that knows the types of its arguments: what most runs
//! need is read without asking the kernel to.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use kcap_recorder_ebpf::{EventKind, OFFSET_NONE, Program, SocketEvent, SocketEventKind};

use super::{
    count::{Fate, count_unwanted, counted},
    owner::{Use, is_recent, note_use, take_back_use},
    ring::{EVENTS, reserve, submit_event},
    settings::setting,
    task::{current_process, fill_head, is_recorder, read_field},
    typed::{self, field},
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `TP_PROTO(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_send_length")]
fn socket_send(context: BtfTracePointContext) -> i32 {
    used(&context, Program::SocketSend, SocketEventKind::Send);
    0
}

/// `TP_PROTO(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_recv_length")]
fn socket_receive(context: BtfTracePointContext) -> i32 {
    used(&context, Program::SocketReceive, SocketEventKind::Receive);
    0
}

/// Nearly all runs end here, before anything but the cookie is read.
#[inline(always)]
fn used(context: &BtfTracePointContext, program: Program, kind: SocketEventKind) {
    let sock = context.arg::<u64>(0);
    // Zero until someone asks for it, which the packet programs do at the first packet.
    // SAFETY: the argument is a `struct sock`, and the verifier knows it. It is never null: the tracepoints read of it, too.
    let cookie = unsafe { field::<u64>(sock, setting!(offsets.sock_cookie)) };
    if context.arg::<i32>(1) < 0 || cookie == 0 || is_recent(cookie, typed::current_pid()) {
        count_unwanted(program);
    } else {
        counted(program, || tell_of_use(sock, cookie, program, kind));
    }
}

#[inline(always)]
fn tell_of_use(sock: u64, cookie: u64, program: Program, kind: SocketEventKind) -> Fate {
    let family = read_field::<u16>(sock, setting!(offsets.sock_family));
    if family != AF_INET && family != AF_INET6 {
        return Fate::Filtered;
    }
    if is_recorder() {
        return Fate::Filtered;
    }
    let process = match note_use::<false>(cookie, current_process) {
        Use::Same => return Fate::Filtered,
        Use::Forgotten => return Fate::StateFull,
        Use::Changed(process) => process,
    };
    let Some(record) = reserve::<{ size_of::<SocketEvent>() as u64 }>(&EVENTS) else {
        take_back_use(cookie);
        return Fate::RingFull;
    };
    let event = record.cast::<SocketEvent>();
    // SAFETY: the record is as large as the event.
    unsafe {
        event.write(SocketEvent::default());
        fill_head(&raw mut (*event).head, EventKind::Socket, program, process);
        (*event).cookie = cookie;
        if setting!(offsets.net_cookie) != OFFSET_NONE {
            let net = read_field::<u64>(sock, setting!(offsets.sock_net));
            (*event).netns_cookie = read_field(net, setting!(offsets.net_cookie));
        }
        (*event).socket_kind = kind as u16;
        (*event).family = family;
        (*event).socket_type = read_field(sock, setting!(offsets.sock_type));
        (*event).protocol = read_field(sock, setting!(offsets.sock_protocol));
    }
    submit_event(record);
    Fate::Stored
}
