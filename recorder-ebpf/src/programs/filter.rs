//! Room for filters: the loader writes compiled expressions over the instructions of the functions here.

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use kcap_recorder_ebpf::{FILTER_MATCH, FILTER_OTHER, LINK_TYPE_ETHERNET};

use super::count::Fate;

/// A function that says whether the packet is wanted, or for which tasks. Only called when settings say that its
/// instructions are others.
macro_rules! room_for_a_filter {
    ($name:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(packet: *mut __sk_buff, len: u32) -> u32 {
            let verdict: u32;
            // Instructions that do nothing: FILTER_INSTRUCTIONS_MAX of them.
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
    };
}

// For `--filter`.
room_for_a_filter!(filter_network_packet);
// For `--filter`, of frames.
room_for_a_filter!(filter_frame);
// For the filters of tasks.
room_for_a_filter!(filter_for_tasks);

/// `None`: the packet is wanted. Otherwise, what becomes of the run.
#[inline(always)]
pub(super) fn filtered(packet: *mut __sk_buff, len: u32, link_type: u16) -> Option<Fate> {
    let verdict = if link_type == LINK_TYPE_ETHERNET {
        filter_frame(packet, len)
    } else {
        filter_network_packet(packet, len)
    };
    match verdict {
        FILTER_MATCH => None,
        FILTER_OTHER => Some(Fate::Filtered),
        _ => Some(Fate::CopyFailed),
    }
}

/// Those rules whose filters let the packet through.
#[inline(always)]
pub(super) fn matching_tasks(packet: *mut __sk_buff, len: u32) -> u32 {
    filter_for_tasks(packet, len)
}
