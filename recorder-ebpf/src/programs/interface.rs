//! tcx and clsact: every frame of an interface, forwarded ones and those of no socket among them, at the link layer.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    macros::{classifier, map},
    maps::HashMap,
    programs::TcContext,
};
use kcap_recorder_ebpf::{DIRECTION_EGRESS, DIRECTION_INGRESS, INTERFACE_COUNT_MAX, Program, Verdict};

use super::{
    count::{Fate, counted_packet},
    packet::{Place, record},
};

/// What the packets of an interface begin with, by its index. User space fills it before it attaches.
#[map]
static LINK_TYPES: HashMap<u32, u32> = HashMap::with_max_entries(INTERFACE_COUNT_MAX, 0);

#[classifier]
fn interface_ingress(context: TcContext) -> i32 {
    let packet = context.as_ptr().cast();
    counted_packet(Program::InterfaceIngress, || {
        at_interface::<DIRECTION_INGRESS>(packet, Program::InterfaceIngress)
    });
    // Whoever is next decides.
    TC_ACT_UNSPEC
}

#[classifier]
fn interface_egress(context: TcContext) -> i32 {
    let packet = context.as_ptr().cast();
    counted_packet(Program::InterfaceEgress, || {
        at_interface::<DIRECTION_EGRESS>(packet, Program::InterfaceEgress)
    });
    TC_ACT_UNSPEC
}

#[inline(always)]
fn at_interface<const DIRECTION: u8>(packet: *mut __sk_buff, program: Program) -> Fate {
    // SAFETY: the context is valid while the program runs, and the verifier checks the access.
    let index = unsafe { (*packet).ifindex };
    // SAFETY: values are words, written once.
    match unsafe { LINK_TYPES.get(&index) } {
        Some(link_type) => {
            let place = Place { link_type: *link_type as u16, is_interface: true };
            // Frames are not chosen by process: user space refuses conditions beside interfaces. Looking for some would also
            // leave too little of the stack for filters.
            record::<DIRECTION>(packet, program, place, Verdict::default())
        }
        None => Fate::Filtered,
    }
}
