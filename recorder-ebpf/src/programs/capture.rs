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
    const C: [u32; 6] = SIZE_CLASSES;
    let len = head.captured_len;
    if len <= C[0] {
        store_in_class::<{ HEAD_LEN + C[0] as u64 }>(packet, head)
    } else if len <= C[1] {
        store_in_class::<{ HEAD_LEN + C[1] as u64 }>(packet, head)
    } else if len <= C[2] {
        store_in_class::<{ HEAD_LEN + C[2] as u64 }>(packet, head)
    } else if len <= C[3] {
        store_in_class::<{ HEAD_LEN + C[3] as u64 }>(packet, head)
    } else if len <= C[4] {
        store_in_class::<{ HEAD_LEN + C[4] as u64 }>(packet, head)
    } else {
        store_in_class::<{ HEAD_LEN + C[5] as u64 }>(packet, head)
    }
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
