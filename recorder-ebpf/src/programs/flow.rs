//! How much payload was kept of each flow's beginning, for `--payload-per-flow`.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::{bpf_get_socket_cookie, bpf_skb_load_bytes},
    macros::map,
    maps::LruHashMap,
};

use kcap_recorder_ebpf::Headers;

use super::{count::add, settings::setting};

/// Payload bytes that were kept of each flow. The least recently seen make room; should one of them go on, it counts as
/// new. The loader sets its size.
#[map]
static FLOWS: LruHashMap<FlowKey, u64> = LruHashMap::with_max_entries(1, 0);

/// One direction of a conversation, as one socket sees it.
#[repr(C)]
#[derive(Clone, Copy)]
struct FlowKey {
    cookie: u64,
    /// Source and destination as the packet has them; the first word for IPv4.
    addresses: [u64; 4],
    /// Both ports, 0 where there are none.
    ports: u32,
    protocol: u32,
}

/// What a flow has left.
#[derive(Clone, Copy)]
pub(super) struct FlowRoom {
    kept: *mut u64,
    /// Payload bytes that may still be kept.
    pub(super) len: u32,
}

impl FlowRoom {
    /// `None`: there is no limit, or no telling which flow it is.
    #[inline(always)]
    pub(super) fn of(packet: *mut __sk_buff, headers: &Headers) -> Option<Self> {
        let limit = setting!(payload_per_flow_len);
        if limit == u32::MAX || !headers.is_ip {
            return None;
        }
        let ports_at = if headers.has_ports { headers.network_len } else { 0 };
        let kept = find(packet, headers.link_len, ports_at, u32::from(headers.protocol));
        if kept.is_null() {
            return None;
        }
        // SAFETY: the map's value outlives the program; a word is read at once.
        let already = unsafe { core::ptr::read_volatile(kept) };
        let len = if already >= u64::from(limit) { 0 } else { limit - already as u32 };
        Some(Self { kept, len })
    }

    /// So many bytes of payload were kept.
    #[inline(always)]
    pub(super) fn take(self, len: u32) {
        // SAFETY: as above.
        unsafe { add(self.kept, u64::from(len)) };
    }
}

/// The flow's count, new if need be. A function of its own, since its key would not fit on the stack of the others.
#[inline(never)]
fn find(packet: *mut __sk_buff, link_len: u32, ports_at: u32, protocol: u32) -> *mut u64 {
    // SAFETY: a helper with no other demand than a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(packet.cast()) };
    let mut key = FlowKey { cookie, addresses: [0; 4], ports: 0, protocol };
    let mut first = 0_u8;
    // SAFETY: the kernel copies as much as there is room for.
    let failed = unsafe {
        bpf_skb_load_bytes(packet.cast(), link_len, (&raw mut first).cast(), 1)
            | if first >> 4 == 6 {
                bpf_skb_load_bytes(packet.cast(), link_len + 8, (&raw mut key.addresses).cast(), 32)
            } else {
                bpf_skb_load_bytes(packet.cast(), link_len + 12, (&raw mut key.addresses).cast(), 8)
            }
            | if ports_at != 0 {
                bpf_skb_load_bytes(packet.cast(), ports_at, (&raw mut key.ports).cast(), 4)
            } else {
                0
            }
    };
    if failed != 0 {
        return core::ptr::null_mut();
    }
    if let Some(kept) = FLOWS.get_ptr_mut(&key) {
        return kept;
    }
    // Another processor may have been first.
    let _ = FLOWS.insert(&key, &0, u64::from(BPF_NOEXIST));
    FLOWS.get_ptr_mut(&key).unwrap_or(core::ptr::null_mut())
}
