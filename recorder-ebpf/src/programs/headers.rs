//! How long the headers of a packet are, from the network layer to the transport layer.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};

/// What [`measure`] found.
#[derive(Clone, Copy)]
pub(super) struct Headers {
    /// Bytes of headers.
    pub(super) len: u32,
    /// Bytes before the transport header; 0 when it wasn't reached.
    pub(super) network_len: u32,
    /// `IPPROTO_*` there.
    pub(super) protocol: u8,
    /// The transport header begins with two ports.
    pub(super) has_ports: bool,
    /// The transport header was reached and understood, or there can't be one (a later fragment).
    pub(super) complete: bool,
}

impl Headers {
    /// Headers that end before a transport header.
    #[inline(always)]
    fn network(len: u32, complete: bool) -> Self {
        Self { len, network_len: 0, protocol: IPPROTO_NONE, has_ports: false, complete }
    }
}

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;
const IPPROTO_NONE: u8 = 59;
const IPPROTO_DSTOPTS: u8 = 60;
const IPPROTO_SCTP: u8 = 132;
const IPPROTO_UDPLITE: u8 = 136;

const IPV6_HEADER_LEN: u32 = 40;
/// Extension headers that are followed; RFC 8200 section 4.1 lists seven, one of them twice.
const EXTENSION_COUNT_MAX: u32 = 8;
/// Keeps offsets in what the verifier accepts for packet pointers; IPv6 with all extensions may be longer, and is
/// then reported as incomplete.
const OFFSET_MAX: u32 = 0xfff;

const UDP_HEADER_LEN: u32 = 8;
const ICMP_HEADER_LEN: u32 = 8;
/// Common header and the first chunk's header (RFC 9260 section 3).
const SCTP_HEADER_LEN: u32 = 12;

/// Follows the headers of the packet, which starts with its network header.
#[inline(always)]
pub(super) fn measure(packet: *mut __sk_buff) -> Headers {
    let Some(first) = byte(packet, 0) else { return Headers::network(0, false) };
    match first >> 4 {
        4 => measure_ipv4(packet, u32::from(first & 0xf) * 4),
        6 => measure_ipv6(packet),
        _ => Headers::network(0, false),
    }
}

/// RFC 791 section 3.1.
#[inline(always)]
fn measure_ipv4(packet: *mut __sk_buff, len: u32) -> Headers {
    let (Some(fragment_high), Some(fragment_low), Some(protocol)) =
        (byte(packet, 6), byte(packet, 7), byte(packet, 9))
    else {
        return Headers::network(0, false);
    };
    if (fragment_high & 0x1f) | fragment_low != 0 {
        return Headers::network(len, true);
    }
    measure_transport(packet, protocol, len)
}

/// RFC 8200 section 4.
#[inline(always)]
fn measure_ipv6(packet: *mut __sk_buff) -> Headers {
    let Some(mut protocol) = byte(packet, 6) else { return Headers::network(0, false) };
    let mut len = IPV6_HEADER_LEN;
    for _ in 0..EXTENSION_COUNT_MAX {
        let units = match protocol {
            IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_DSTOPTS | IPPROTO_FRAGMENT | IPPROTO_AH => {
                let (Some(next), Some(units)) = (byte(packet, len), byte(packet, len + 1)) else {
                    return Headers::network(len, false);
                };
                if protocol == IPPROTO_FRAGMENT {
                    let (Some(high), Some(low)) = (byte(packet, len + 2), byte(packet, len + 3)) else {
                        return Headers::network(len, false);
                    };
                    if high | (low & 0xf8) != 0 {
                        return Headers::network(len + 8, true);
                    }
                }
                let units = match protocol {
                    IPPROTO_FRAGMENT => 8,
                    // RFC 4302 section 2.2: in words of four bytes, less two
                    IPPROTO_AH => (u32::from(units) + 2) * 4,
                    _ => (u32::from(units) + 1) * 8,
                };
                protocol = next;
                units
            }
            _ => return measure_transport(packet, protocol, len),
        };
        len += units;
        if len > OFFSET_MAX - 64 {
            return Headers::network(IPV6_HEADER_LEN, false);
        }
    }
    Headers::network(len, false)
}

#[inline(always)]
fn measure_transport(packet: *mut __sk_buff, protocol: u8, offset: u32) -> Headers {
    let header_len = match protocol {
        IPPROTO_TCP => match byte(packet, offset + 12) {
            // RFC 9293 section 3.1: data offset, in words of four bytes
            Some(data_offset) => u32::from(data_offset >> 4) * 4,
            None => return Headers::network(offset, false),
        },
        IPPROTO_UDP | IPPROTO_UDPLITE => UDP_HEADER_LEN,
        IPPROTO_ICMP | IPPROTO_ICMPV6 => ICMP_HEADER_LEN,
        IPPROTO_SCTP => SCTP_HEADER_LEN,
        IPPROTO_NONE => 0,
        _ => return Headers::network(offset, false),
    };
    let has_ports = matches!(protocol, IPPROTO_TCP | IPPROTO_UDP | IPPROTO_UDPLITE | IPPROTO_SCTP);
    Headers { len: offset + header_len, network_len: offset, protocol, has_ports, complete: true }
}

/// One byte of the packet, from its linear part where headers nearly always are.
#[inline(always)]
fn byte(packet: *mut __sk_buff, offset: u32) -> Option<u8> {
    let offset = offset & OFFSET_MAX;
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
