//! `cgroup_skb`: every packet of every socket, arriving and leaving, at the network layer.

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::{bpf_get_smp_processor_id, bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use kcap_recorder_ebpf::{
    CAPTURE_COUNTS, CAPTURE_HEADERS, CAPTURE_MODE_MASK, DIRECTION_EGRESS, DIRECTION_INGRESS, ETH_P_8021AD,
    LINK_TYPE_ETHERNET, LINK_TYPE_RAW, PACKET_FLAG_EGRESS, PACKET_FLAG_ETHERNET,
    PACKET_FLAG_HEADERS_INCOMPLETE, PACKET_FLAG_PAYLOAD_ELIDED, PACKET_FLAG_TAG_8021AD,
    PACKET_FLAG_TAG_8021Q, PACKET_FLAG_UNDECIDED, PacketHead, Program, RULE_RECORD, Verdict,
};

use super::{
    bound::forgotten,
    capture::store,
    condition::{self, verdict_of_packet},
    count::{Fate, count_unwanted, counted_packet},
    elide::{is_worthwhile, remember, was_stored},
    filter::{filtered, matching_tasks},
    flow::FlowRoom,
    headers::measure,
    settings::setting,
    switch::capture_switch,
    typed::cookies_of,
};

/// What the programs return: let the packet pass.
const PASS: i32 = 1;

/// Where a program sees packets.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// What packets begin with.
    pub(super) link_type: u16,
    /// Interfaces are those of the namespace in the settings.
    pub(super) is_interface: bool,
}

const SOCKETS: Place = Place { link_type: LINK_TYPE_RAW, is_interface: false };

#[cgroup_skb(ingress)]
fn packet_ingress(context: SkBuffContext) -> i32 {
    seen::<DIRECTION_INGRESS>(context.as_ptr().cast(), Program::PacketIngress);
    PASS
}

#[cgroup_skb(egress)]
fn packet_egress(context: SkBuffContext) -> i32 {
    seen::<DIRECTION_EGRESS>(context.as_ptr().cast(), Program::PacketEgress);
    PASS
}

/// What isn't wanted ends here, before anything else is done: hosts run this for all packets that nobody asked for.
#[inline(always)]
fn seen<const DIRECTION: u8>(packet: *mut __sk_buff, program: Program) {
    let verdict = verdict_at(packet);
    if condition::are_there() && verdict.maybe | holds_for_all() == 0 {
        count_unwanted(program);
    } else {
        counted_packet(program, || record::<DIRECTION>(packet, program, SOCKETS, verdict));
    }
}

/// What conditions say of the packet.
#[inline(always)]
fn verdict_at(packet: *mut __sk_buff) -> Verdict {
    if condition::are_there() { verdict_of_packet(packet) } else { Verdict::default() }
}

/// Without conditions of its own, the first rule holds for all.
#[inline(always)]
fn holds_for_all() -> u32 {
    RULE_RECORD & !setting!(rules.all)
}

#[inline(always)]
pub(super) fn record<const DIRECTION: u8>(
    packet: *mut __sk_buff,
    program: Program,
    place: Place,
    verdict: Verdict,
) -> Fate {
    // SAFETY: the context is valid while the program runs, and the verifier checks each access.
    let skb = unsafe { &*packet };
    let wire_len = skb.len;
    if wire_len == 0 {
        return Fate::Filtered;
    }
    let rules = match rules_of(packet, wire_len, place.link_type, verdict.maybe | holds_for_all()) {
        Ok(rules) => rules,
        Err(fate) => return fate,
    };
    let is_undecided = rules & !(verdict.yes | holds_for_all()) != 0;
    let switch = capture_switch();
    let mode = switch & CAPTURE_MODE_MASK;
    if mode == CAPTURE_COUNTS {
        return Fate::Overload;
    }
    let mut headers = measure(packet, place.link_type);
    headers.len = forgotten(headers.len, wire_len);
    let headers_only = (setting!(headers_only) != 0 || mode == CAPTURE_HEADERS) && headers.len != 0;
    let snaplen = setting!(snaplen);
    let is_of_task = rules & setting!(payload_tasks) != 0;
    let flow = if headers_only || is_of_task { None } else { FlowRoom::of(packet, &headers) };
    let payload_len = match &flow {
        _ if headers_only => 0,
        _ if is_of_task => u32::MAX,
        Some(flow) => flow.len.min(setting!(payload_len)),
        None => setting!(payload_len),
    };
    // Where the headers aren't understood, nothing can be told apart.
    let limit = if headers.len == 0 { snaplen } else { snaplen.min(headers.len.saturating_add(payload_len)) };
    let mut captured_len = wire_len.min(limit);
    let kept_len = captured_len.saturating_sub(headers.len);
    let mut flags = if DIRECTION == DIRECTION_EGRESS { PACKET_FLAG_EGRESS } else { 0 };
    if !headers.complete {
        flags |= PACKET_FLAG_HEADERS_INCOMPLETE;
    }
    if is_undecided {
        flags |= PACKET_FLAG_UNDECIDED;
    }

    let local = setting!(elide_local_copies) != 0 && skb.ifindex == setting!(loopback_index);
    if DIRECTION == DIRECTION_INGRESS
        && local
        && captured_len > headers.len
        && is_worthwhile(wire_len, headers.len)
        && was_stored(packet, wire_len, headers.len, switch, captured_len)
    {
        captured_len = headers.len;
        flags |= PACKET_FLAG_PAYLOAD_ELIDED;
    }

    let mut vlan_tci = 0;
    if place.is_interface {
        if place.link_type == LINK_TYPE_ETHERNET {
            flags |= PACKET_FLAG_ETHERNET;
        }
        if skb.vlan_present != 0 {
            vlan_tci = skb.vlan_tci as u16;
            let is_service_tag = u16::from_be(skb.vlan_proto as u16) == ETH_P_8021AD;
            flags |= if is_service_tag { PACKET_FLAG_TAG_8021AD } else { PACKET_FLAG_TAG_8021Q };
        }
    }

    let head = |captured_len| {
        // SAFETY: helpers with no other demand than a valid context.
        let time_ns = unsafe { bpf_ktime_get_boot_ns() };
        let (socket_cookie, netns_cookie) = if place.is_interface {
            let netns_cookie = u64::from(setting!(interface_netns_cookie_high)) << 32
                | u64::from(setting!(interface_netns_cookie_low));
            // SAFETY: as above.
            (unsafe { bpf_get_socket_cookie(packet.cast()) }, netns_cookie)
        } else {
            cookies_of(packet)
        };
        PacketHead {
            time_ns,
            socket_cookie,
            netns_cookie,
            interface_index: skb.ifindex,
            wire_len,
            captured_len,
            mark: skb.mark,
            rules,
            header_len: headers.len.min(captured_len) as u16,
            // SAFETY: as above.
            cpu: unsafe { bpf_get_smp_processor_id() } as u16,
            gso_size: skb.gso_size as u16,
            gso_segments: skb.gso_segs as u16,
            vlan_tci,
            program: program as u8,
            flags,
        }
    };
    let fate = store(packet, forgotten(captured_len, wire_len), head);
    if let Some(flow) = flow
        && matches!(fate, Fate::Stored)
    {
        flow.take(kept_len);
    }
    if DIRECTION == DIRECTION_EGRESS && local && !headers_only && is_worthwhile(wire_len, headers.len) {
        // What user space may yet drop is not a copy to rely on.
        let is_stored = matches!(fate, Fate::Stored) && !is_undecided && captured_len > headers.len;
        let stored_len = if is_stored { captured_len } else { 0 };
        remember(packet, wire_len, headers.len, switch, stored_len);
    }
    fate
}

/// Those rules of `may_hold` whose filters let the packet through. `Err`: what becomes of it when there is none.
#[inline(always)]
fn rules_of(packet: *mut __sk_buff, wire_len: u32, link_type: u16, may_hold: u32) -> Result<u32, Fate> {
    let mut rules = may_hold;
    let filtered_tasks = setting!(filtered_tasks);
    if rules & filtered_tasks != 0 {
        rules &= !filtered_tasks | matching_tasks(packet, wire_len);
    }
    if setting!(filter_packets) != 0
        && rules & RULE_RECORD != 0
        && let Some(fate) = filtered(packet, wire_len, link_type)
    {
        rules &= !RULE_RECORD;
        if rules == 0 {
            return Err(fate);
        }
    }
    if rules == 0 { Err(Fate::Filtered) } else { Ok(rules) }
}
