//! Room for `--filter`: the loader writes the compiled expression over this function's instructions.

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use kcap_recorder_ebpf::{FILTER_MATCH, FILTER_OTHER};

use super::count::Fate;

/// Says whether the packet is wanted. Only called when `Settings::filter_packets` is set, and then its instructions are
/// others.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn filter_network_packet(packet: *mut __sk_buff, len: u32) -> u32 {
    let verdict: u32;
    // Instructions that do nothing, and that the kernel leaves out: FILTER_INSTRUCTIONS_MAX of them.
    // SAFETY: arithmetic on registers.
    unsafe {
        asm!(
            ".rept 16383",
            "goto +0",
            ".endr",
            "r0 = 1",
            in("r1") packet,
            in("r2") u64::from(len),
            lateout("r0") verdict,
            clobber_abi("C"),
        );
    }
    verdict
}

/// `None`: the packet is wanted. Otherwise, what becomes of the run.
#[inline(always)]
pub(super) fn filtered(packet: *mut __sk_buff, len: u32) -> Option<Fate> {
    match filter_network_packet(packet, len) {
        FILTER_MATCH => None,
        FILTER_OTHER => Some(Fate::Filtered),
        _ => Some(Fate::CopyFailed),
    }
}
