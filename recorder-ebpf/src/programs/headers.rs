//! How long the headers of a packet are, up to the transport layer.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use kcap_recorder_ebpf::{HEADER_OFFSET_MAX, Headers, measure_headers};

/// Follows the headers of the packet, which starts with a header of this link type.
#[inline(always)]
pub(super) fn measure(packet: *mut __sk_buff, link_type: u16) -> Headers {
    measure_headers(|offset| byte(packet, offset), link_type)
}

/// One byte of the packet, from its linear part where headers nearly always are.
#[inline(always)]
fn byte(packet: *mut __sk_buff, offset: u32) -> Option<u8> {
    let offset = offset & HEADER_OFFSET_MAX;
    // SAFETY: the verifier proves that the read lies before `data_end`; the helper checks its bounds itself.
    unsafe {
        let start = (*packet).data as usize;
        let end = (*packet).data_end as usize;
        let at = start + offset as usize;
        // Written out, since the optimiser would compare `at` itself with the end, which the verifier can't follow.
        let mut after = at;
        core::arch::asm!("{after} += 1", after = inout(reg) after, options(pure, nomem, nostack));
        if after <= end {
            return Some(*(at as *const u8));
        }
        let mut value = 0u8;
        let failed = bpf_skb_load_bytes(packet.cast(), offset, (&raw mut value).cast(), 1);
        if failed == 0 { Some(value) } else { None }
    }
}
