//! Copying a packet into a ring record of the smallest size class that holds it.

use core::arch::asm;

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use kcap_recorder_ebpf::{PACKET_HEAD_LEN, PacketHead, SHORT_PACKET_LEN_MAX, SIZE_CLASSES};

use super::{
    bound::masked,
    count::Fate,
    ring::{PACKETS, SHORT_PACKETS, discard, reserve, submit_packet, submit_short_packet},
    settings::setting,
};

const HEAD_LEN: u64 = PACKET_HEAD_LEN as u64;

/// Stores the first `captured_len` bytes of the packet, which are 1 to the largest size class, behind their head. That is only
/// made when there is a record for it.
#[inline(always)]
pub(super) fn store(packet: *mut __sk_buff, captured_len: u32, head: impl Fn(u32) -> PacketHead) -> Fate {
    // One arm a class: the length of a ring record must be a constant.
    macro_rules! in_class {
        ($($class:literal)*) => {
            $(if captured_len <= SIZE_CLASSES[$class] {
                return store_in_class::<{ HEAD_LEN + SIZE_CLASSES[$class] as u64 }>(packet, captured_len, head);
            })*
        };
    }
    const { assert!(SIZE_CLASSES.len() == 9) };
    in_class!(0 1 2 3 4 5 6 7 8);
    Fate::CopyFailed
}

#[inline(always)]
fn store_in_class<const RECORD_LEN: u64>(
    packet: *mut __sk_buff,
    captured_len: u32,
    head: impl Fn(u32) -> PacketHead,
) -> Fate {
    if RECORD_LEN <= HEAD_LEN + SHORT_PACKET_LEN_MAX as u64
        && let Some(record) = reserve::<RECORD_LEN>(&SHORT_PACKETS)
    {
        return fill::<RECORD_LEN>(record, packet, captured_len, head, submit_short_packet);
    }
    match reserve::<RECORD_LEN>(&PACKETS) {
        Some(record) => {
            fill::<RECORD_LEN>(record, packet, captured_len, head, |record, _| submit_packet(record))
        }
        None => Fate::RingFull,
    }
}

#[inline(always)]
fn fill<const RECORD_LEN: u64>(
    record: *mut u8,
    packet: *mut __sk_buff,
    captured_len: u32,
    head: impl Fn(u32) -> PacketHead,
    submit: impl FnOnce(*mut u8, u64),
) -> Fate {
    // SAFETY: the record has room for the head, and for the bytes of its class behind it.
    let data = unsafe { record.add(PACKET_HEAD_LEN) };
    // SAFETY: as above.
    unsafe { claim_lines::<RECORD_LEN>(data) };
    let head = head(captured_len);
    let time_ns = head.time_ns;
    // SAFETY: as above.
    unsafe { record.cast::<PacketHead>().write(head) };
    // SAFETY: as above.
    if !unsafe { copy_directly::<RECORD_LEN>(packet, captured_len, data) } {
        let mask = (RECORD_LEN - HEAD_LEN - 1) as u32;
        let len = masked(captured_len - 1, mask) + 1;
        // SAFETY: by the mask, there is room for `len` bytes.
        if unsafe { bpf_skb_load_bytes(packet.cast(), 0, data.cast(), len) } != 0 {
            discard(record);
            return Fate::CopyFailed;
        }
    }
    submit(record, time_ns);
    Fate::Stored
}

/// Begins to write to all cache lines of a record of the two smallest classes: they were last read by another processor, and
/// come from there while the head is put together. The two words are written over: captured bytes reach into each line.
///
/// # Safety
/// `data` has room for as many bytes as the class.
#[inline(always)]
unsafe fn claim_lines<const RECORD_LEN: u64>(data: *mut u8) {
    const { assert!(SIZE_CLASSES[0] == 64 && SIZE_CLASSES[1] == 128 && (PACKET_HEAD_LEN + 8) % 64 == 0) };
    // SAFETY: the caller's promise.
    unsafe {
        if RECORD_LEN <= HEAD_LEN + SIZE_CLASSES[1] as u64 {
            data.cast::<u64>().write_volatile(0);
        }
        if RECORD_LEN == HEAD_LEN + SIZE_CLASSES[1] as u64 {
            data.add(64).cast::<u64>().write_volatile(0);
        }
    }
}

/// Copies the bytes of a packet that go into one of the two smallest classes, without asking the kernel to: that costs as much
/// as all else that is done with a small packet. False when they don't lie in one piece, or there are too few or too many.
///
/// # Safety
/// `to` has room for as many bytes as the class.
#[inline(always)]
unsafe fn copy_directly<const RECORD_LEN: u64>(
    packet: *mut __sk_buff,
    captured_len: u32,
    to: *mut u8,
) -> bool {
    const { assert!(SIZE_CLASSES[0] == 64 && SIZE_CLASSES[1] == 128) };
    if setting!(unaligned_reads) == 0 || RECORD_LEN > HEAD_LEN + SIZE_CLASSES[1] as u64 {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe {
        if RECORD_LEN == HEAD_LEN + SIZE_CLASSES[0] as u64 {
            // The packet may be longer than what is captured of it.
            copy_piece::<64, true>(packet, 0, to) || copy_ends::<32>(packet, captured_len, to)
        } else {
            copy_ends::<64>(packet, captured_len, to)
        }
    }
}

/// Copies a piece from the beginning, and one that ends where the captured bytes do: more than one piece, and no more than two.
///
/// # Safety
/// As of [`copy_piece`].
#[inline(always)]
unsafe fn copy_ends<const LEN: u32>(packet: *mut __sk_buff, captured_len: u32, to: *mut u8) -> bool {
    if captured_len <= LEN {
        return false;
    }
    let second_at = masked(captured_len - LEN - 1, LEN - 1) + 1;
    // SAFETY: the caller's promise.
    unsafe {
        copy_piece::<LEN, true>(packet, 0, to)
            && copy_piece::<LEN, false>(packet, second_at as usize, to.add(second_at as usize))
    }
}

/// Copies a piece of a packet, of 32 or 64 bytes. False when not so many lie there in one piece, and nothing was done.
///
/// # Safety
/// `to` has room for them, and is aligned for words if that is said.
#[inline(always)]
unsafe fn copy_piece<const LEN: u32, const IS_ALIGNED: bool>(
    packet: *mut __sk_buff,
    at: usize,
    to: *mut u8,
) -> bool {
    const { assert!(LEN == 32 || LEN == 64) };
    // SAFETY: the verifier proves that the reads lie before `data_end`.
    unsafe {
        let start = (*packet).data as usize + at;
        let end = (*packet).data_end as usize;
        let mut after = start;
        // Written out, as in `headers::byte`.
        asm!("{after} += {len}", after = inout(reg) after, len = const LEN, options(pure, nomem, nostack));
        if after > end {
            return false;
        }
        macro_rules! copy_words {
            ($($at:literal)*) => {
                $(if IS_ALIGNED {
                    let word: u64;
                    asm!(
                        concat!("{word} = *(u64 *)({start} + ", $at, ")"),
                        word = out(reg) word,
                        start = in(reg) start,
                        options(pure, readonly, nostack),
                    );
                    to.add($at).cast::<u64>().write(word);
                } else {
                    // The compiler would write bytes.
                    asm!(
                        concat!("{word} = *(u64 *)({start} + ", $at, ")"),
                        concat!("*(u64 *)({to} + ", $at, ") = {word}"),
                        word = out(reg) _,
                        start = in(reg) start,
                        to = in(reg) to,
                        options(nostack),
                    );
                })*
            };
        }
        copy_words!(0 8 16 24);
        if LEN == 64 {
            copy_words!(32 40 48 56);
        }
    }
    true
}
