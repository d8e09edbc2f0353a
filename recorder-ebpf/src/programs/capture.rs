//! Copying a packet into a ring record of the smallest size class that holds it.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use kcap_recorder_ebpf::{PACKET_HEAD_LEN, PacketHead, SIZE_CLASSES};

use super::{
    bound::masked,
    count::Fate,
    ring::{PACKETS, discard, reserve, submit_packet},
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
    let Some(record) = reserve::<RECORD_LEN>(&PACKETS) else { return Fate::RingFull };
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
    submit_packet(record);
    Fate::Stored
}
