//! Headers under every link type, checksums, and fragments of packets. The input is a series of packets: link type, length on the
//! wire, captured length, bytes.
#![no_main]

use kcap_dissect::decode::{
    Defragmenter, Fragment, decode, decode_outer, decode_parts, ip_checksum_status, link_type,
    transport_checksum_status,
};

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let mut defragmenter = Defragmenter::default();
    let mut time_ns = 0;
    while let Some((&[low, high, wire, captured], packets)) = rest.split_first_chunk() {
        let (packet, following) = packets.split_at(packets.len().min(usize::from(captured)));
        rest = following;
        time_ns += 1_000_000_000;
        let link = u16::from_le_bytes([low, high]);
        let wire_len = u32::from(wire) << 4;
        let decoded = decode(link, packet, wire_len);
        assert!(decoded.payload_len <= wire_len.max(packet.len() as u32));
        assert!(decoded.transport_offset >= decoded.network_offset);
        if let (Some(ip), None) = (decoded.ip(), decoded.error) {
            assert!(decoded.header_len <= decoded.network_offset + ip.total_len);
        }
        for tunnels in 0..decoded.tunnel_depth {
            assert_eq!(decode_outer(link, packet, wire_len, tunnels).tunnel_depth, tunnels);
        }
        let (header, payload) = packet.split_at(packet.len().min(decoded.header_len as usize));
        decode_parts(link, header, payload, wire_len);
        ip_checksum_status(&decoded, header);
        transport_checksum_status(&decoded, header, payload);
        if let Fragment::Whole(whole) = defragmenter.feed(time_ns, (), &decoded, packet) {
            let len = whole.bytes.len() as u32;
            // It may carry fragments in its turn.
            assert!(decode_outer(link_type::RAW, &whole.bytes, len, 0).ip().is_some());
        }
    }
});
