//! Which loopback packets were just stored on their way out, so that their payload need not be stored again.
//!
//! A packet on `lo` leaves and arrives on one processor, nearly at once and unchanged. Each processor remembers the
//! headers of those that it stored whole; an arriving packet with the same header bytes and length, IP identification
//! and sequence numbers among them, is that packet. What was remembered serves once, and is forgotten when a packet
//! with the same headers could not be stored, and when user space changes what is captured: a payload is never left out
//! unless it was stored.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes, macros::map, maps::PerCpuArray};

use super::{bound::masked, count::add};

/// Packets remembered by a processor, a power of two: its backlog for `lo` is 1000 by default (netdev_max_backlog).
const SLOT_COUNT_BITS: u32 = 10;
/// Bytes of headers that are compared, in words; packets with longer headers are stored twice.
const WORD_COUNT: usize = 12;
const HEADER_LEN_MAX: u32 = WORD_COUNT as u32 * 8;
/// The power of two above it, to which the verifier can follow the length.
const BUFFER_WORD_COUNT: usize = 16;
/// Shortest headers: IPv4 and UDP.
const HEADER_LEN_MIN: u32 = 28;
/// Shorter payloads cost less to store again than to recognise.
const PAYLOAD_LEN_MIN: u32 = 256;

#[map]
static LEAVING: PerCpuArray<Slot> = PerCpuArray::with_max_entries(1 << SLOT_COUNT_BITS, 0);

#[repr(C)]
struct Slot {
    /// Runs that are at this slot. Another one on the same processor (an interrupt, another task) leaves it alone.
    users: u64,
    wire_len: u32,
    /// 0: nothing is remembered here.
    header_len: u32,
    /// What was to be captured then.
    switch: u32,
    /// Bytes that were.
    captured_len: u32,
    header: [u64; WORD_COUNT],
}

/// Whether the payload is long enough. For callers to ask first, since a call costs small packets a good part of what all
/// else does.
#[inline(always)]
pub(super) fn is_worthwhile(wire_len: u32, header_len: u32) -> bool {
    wire_len >= header_len + PAYLOAD_LEN_MIN
}

/// Whether at least `captured_len` bytes of an arriving packet were stored when it left. True only once. A function of its
/// own, since the headers would take up the stack of those that call it.
#[inline(never)]
pub(super) fn was_stored(
    packet: *mut __sk_buff,
    wire_len: u32,
    header_len: u32,
    switch: u32,
    captured_len: u32,
) -> bool {
    Fingerprint::of(packet, wire_len, header_len, switch)
        .is_some_and(|fingerprint| fingerprint.was_stored(captured_len))
}

/// Remembers how many bytes of a leaving packet were stored, or forgets one like it when none were.
#[inline(never)]
pub(super) fn remember(packet: *mut __sk_buff, wire_len: u32, header_len: u32, switch: u32, stored_len: u32) {
    if let Some(fingerprint) = Fingerprint::of(packet, wire_len, header_len, switch) {
        fingerprint.remember(stored_len);
    }
}

/// The headers of a packet as they are compared.
struct Fingerprint {
    wire_len: u32,
    header_len: u32,
    switch: u32,
    header: [u64; BUFFER_WORD_COUNT],
}

impl Fingerprint {
    /// `None`: not worth it, or not possible.
    #[inline(always)]
    fn of(packet: *mut __sk_buff, wire_len: u32, header_len: u32, switch: u32) -> Option<Self> {
        if !(HEADER_LEN_MIN..=HEADER_LEN_MAX).contains(&header_len) || !is_worthwhile(wire_len, header_len) {
            return None;
        }
        let mut fingerprint = Self { wire_len, header_len, switch, header: [0; BUFFER_WORD_COUNT] };
        let len = masked(header_len - 1, BUFFER_WORD_COUNT as u32 * 8 - 1) + 1;
        // SAFETY: `len` is at most as long as the array.
        let failed =
            unsafe { bpf_skb_load_bytes(packet.cast(), 0, (&raw mut fingerprint.header).cast(), len) };
        if failed == 0 { Some(fingerprint) } else { None }
    }

    #[inline(always)]
    fn remember(&self, stored_len: u32) {
        self.with_slot(|slot| {
            slot.header_len = 0;
            if stored_len != 0 {
                slot.wire_len = self.wire_len;
                slot.switch = self.switch;
                slot.captured_len = stored_len;
                slot.header.copy_from_slice(&self.header[..WORD_COUNT]);
                slot.header_len = self.header_len;
            }
        });
    }

    #[inline(always)]
    fn was_stored(&self, captured_len: u32) -> bool {
        let mut same = false;
        self.with_slot(|slot| {
            let mut difference = u64::from(slot.header_len ^ self.header_len)
                | u64::from(slot.wire_len ^ self.wire_len)
                | u64::from(slot.switch ^ self.switch);
            for (theirs, ours) in slot.header.iter().zip(&self.header) {
                difference |= theirs ^ ours;
            }
            same = difference == 0;
            if same {
                slot.header_len = 0;
            }
            same &= slot.captured_len >= captured_len;
        });
        same
    }

    /// Gives the slot to `action`, unless another run is at it.
    #[inline(always)]
    fn with_slot(&self, action: impl FnOnce(&mut Slot)) {
        let Some(slot) = LEAVING.get_ptr_mut(self.index()) else { return };
        // SAFETY: the map's value outlives the program. It belongs to this processor, where runs only ever interrupt
        // each other: who finds itself alone after it has come in stays alone until it leaves.
        unsafe {
            add(&raw mut (*slot).users, 1);
            if core::ptr::read_volatile(&raw const (*slot).users) == 1 {
                action(&mut *slot);
            }
            add(&raw mut (*slot).users, u64::MAX);
        }
    }

    /// Addresses, ports, identification and sequence numbers lie in the first five words.
    #[inline(always)]
    fn index(&self) -> u32 {
        let [a, b, c, d, e, ..] = self.header;
        let mixed = a ^ b.rotate_left(13) ^ c.rotate_left(29) ^ d.rotate_left(41) ^ e.rotate_left(53);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOT_COUNT_BITS)) as u32
    }
}
