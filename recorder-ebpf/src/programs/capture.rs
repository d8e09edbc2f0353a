//! Copying a packet into a ring record of the smallest size class that holds it.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use kcap_recorder_ebpf::{PACKET_HEAD_LEN, PacketHead, SHORT_PACKET_LEN_MAX, SIZE_CLASSES};

use super::{
    bound::masked,
    count::Fate,
    ring::{PACKETS, SHORT_PACKETS, discard, reserve, submit_packet, submit_short_packet},
};

const HEAD_LEN: u64 = PACKET_HEAD_LEN as u64;

/// Stores the first `head.captured_len` bytes of the packet, which are 1 to the largest size class.
#[inline(always)]
pub(super) fn store(packet: *mut __sk_buff, head: &PacketHead) -> Fate {
    // One arm a class: the length of a ring record must be a constant.
    macro_rules! in_class {
        ($($class:literal)*) => {
            $(if head.captured_len <= SIZE_CLASSES[$class] {
                return store_in_class::<{ HEAD_LEN + SIZE_CLASSES[$class] as u64 }>(packet, head);
            })*
        };
    }
    const { assert!(SIZE_CLASSES.len() == 9) };
    in_class!(0 1 2 3 4 5 6 7 8);
    Fate::CopyFailed
}

#[inline(always)]
fn store_in_class<const RECORD_LEN: u64>(packet: *mut __sk_buff, head: &PacketHead) -> Fate {
    if RECORD_LEN <= HEAD_LEN + SHORT_PACKET_LEN_MAX as u64
        && let Some(record) = reserve::<RECORD_LEN>(&SHORT_PACKETS)
    {
        return fill::<RECORD_LEN>(record, packet, head, submit_short_packet);
    }
    match reserve::<RECORD_LEN>(&PACKETS) {
        Some(record) => fill::<RECORD_LEN>(record, packet, head, submit_packet),
        None => Fate::RingFull,
    }
}

#[inline(always)]
fn fill<const RECORD_LEN: u64>(
    record: *mut u8,
    packet: *mut __sk_buff,
    head: &PacketHead,
    submit: impl FnOnce(*mut u8),
) -> Fate {
    let mask = (RECORD_LEN - HEAD_LEN - 1) as u32;
    let len = masked(head.captured_len - 1, mask) + 1;
    // SAFETY: the record has room for the head and, by the mask, for `len` bytes after it.
    let failed = unsafe {
        record.cast::<PacketHead>().write(*head);
        bpf_skb_load_bytes(packet.cast(), 0, record.add(PACKET_HEAD_LEN).cast(), len)
    };
    if failed != 0 {
        discard(record);
        return Fate::CopyFailed;
    }
    submit(record);
    Fate::Stored
}
