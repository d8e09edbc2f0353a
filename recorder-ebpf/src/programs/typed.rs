//! Kernel structures whose types the verifier knows: their fields are read where they are, without a call.
//!
//! A call costs about as much as all else that is done with a small packet's head. Elsewhere `task::read_field` reads.

use core::{arch::asm, ptr};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, generated::bpf_get_current_task_btf},
};
use kcap_recorder_ebpf::CAST_TO_KERNEL_CONTEXT;

use super::settings::setting;

/// Reads a field.
///
/// # Safety
/// `structure` is a pointer whose type the verifier knows, and this kernel has such a field in it. `T` is an integer of the
/// field's length. For some pointers the kernel vouches; what others lead to reads as zeroes when it isn't there any more.
#[inline(always)]
pub(super) unsafe fn field<T>(structure: u64, offset: u32) -> T {
    // SAFETY: the caller's promise, which the verifier checks.
    unsafe { ptr::read_volatile((structure + u64::from(offset)) as *const T) }
}

/// Number of the current process. Only for programs on typed tracepoints.
#[inline(always)]
pub(super) fn current_pid() -> u32 {
    // SAFETY: no arguments; what it returns is a `task_struct`, and the verifier knows it.
    unsafe { field(bpf_get_current_task_btf() as u64, setting!(offsets.task_tgid)) }
}

/// Cookies of the packet's socket and of the network namespace that this is in.
#[inline(always)]
pub(super) fn cookies_of(packet: *mut __sk_buff) -> (u64, u64) {
    if setting!(typed_packets) != 0 {
        let skb = kernel_packet(packet);
        // SAFETY: `sk_buff.sk` is a `sock`, or no socket; `skc_net.net` is a `net`. Their types are in BTF.
        unsafe {
            let sock = field::<u64>(skb, setting!(offsets.sk_buff_sk));
            let net = if sock != 0 { field::<u64>(sock, setting!(offsets.sock_net)) } else { 0 };
            if net != 0 {
                let netns_cookie = field::<u64>(net, setting!(offsets.net_cookie));
                // Zero until someone asks for it.
                let known = field::<u64>(sock, setting!(offsets.sock_cookie));
                let cookie = if known != 0 { known } else { bpf_get_socket_cookie(packet.cast()) };
                return (cookie, netns_cookie);
            }
        }
    }
    // SAFETY: helpers with no other demand than a valid context.
    unsafe {
        let netns_cookie =
            if setting!(packet_netns_cookie) != 0 { bpf_get_netns_cookie(packet.cast()) } else { 0 };
        (bpf_get_socket_cookie(packet.cast()), netns_cookie)
    }
}

/// The `sk_buff` behind the context: the kernel function `bpf_cast_to_kern_ctx`, of which the verifier makes a move.
#[inline(always)]
fn kernel_packet(packet: *mut __sk_buff) -> u64 {
    let skb: u64;
    // SAFETY: the loader puts the function's number here where `setting!(typed_packets)` says so.
    unsafe {
        asm!(
            "call {number}",
            number = const CAST_TO_KERNEL_CONTEXT,
            in("r1") packet,
            lateout("r0") skb,
            clobber_abi("C"),
        );
    }
    skb
}
