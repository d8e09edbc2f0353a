//! IEEE 802.11, radiotap, and LLC.

use super::samples::{CLIENT_V4, SERVER_V4, ethernet, ipv4, tcp};
use super::*;

const AP: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SNAP_IPV4: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

fn segment() -> Vec<u8> {
    ipv4(CLIENT_V4, SERVER_V4, 6, 7, &tcp(40_000, 443, 1, 2, 0x18))
}

/// A data frame: frame control, the addresses in their order, what follows them.
fn frame(control: [u8; 2], addresses: [[u8; 6]; 3], rest: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![control[0], control[1], 0, 0];
    addresses[..3].iter().for_each(|address| frame.extend(address));
    frame.extend([0x10, 0]);
    rest.iter().for_each(|part| frame.extend(*part));
    frame
}

fn decode_wireless(frame: &[u8]) -> Decoded {
    decode(link_type::IEEE802_11, frame, u32::try_from(frame.len()).unwrap())
}

#[test]
fn addresses_of_data_frames_depend_on_their_direction() {
    let segment = segment();
    let frames = [
        frame([0x08, 0x01], [AP, FROM, TO], &[&SNAP_IPV4, &segment]),
        frame([0x08, 0x02], [TO, AP, FROM], &[&SNAP_IPV4, &segment]),
        frame([0x08, 0x00], [TO, FROM, AP], &[&SNAP_IPV4, &segment]),
        frame([0x08, 0x03], [AP, AP, TO], &[&FROM, &SNAP_IPV4, &segment]),
        frame([0x88, 0x01], [AP, FROM, TO], &[&[0, 0], &SNAP_IPV4, &segment]),
        frame([0x88, 0x81], [AP, FROM, TO], &[&[0, 0, 1, 2, 3, 4], &SNAP_IPV4, &segment]),
    ];
    for frame in frames {
        let decoded = decode_wireless(&frame);
        assert_eq!(
            (decoded.link.source_mac, decoded.link.destination_mac),
            (Some(FROM), Some(TO)),
            "{frame:02x?}"
        );
        assert_eq!((decoded.ports.map(|ports| ports.destination), decoded.error), (Some(443), None));
    }
}

#[test]
fn what_cannot_be_read_ends_at_its_header() {
    let segment = segment();
    let frames = [
        frame([0x08, 0x41], [AP, FROM, TO], &[&SNAP_IPV4, &segment]), // encrypted
        frame([0x48, 0x01], [AP, FROM, TO], &[]),                     // without data
        frame([0x88, 0x01], [AP, FROM, TO], &[&[0x80, 0], &SNAP_IPV4, &segment]), // aggregated
        frame([0x08, 0x05], [AP, FROM, TO], &[&SNAP_IPV4, &segment]), // more fragments
    ];
    for frame in frames {
        let decoded = decode_wireless(&frame);
        assert_eq!((decoded.network, decoded.error), (Network::None, None), "{frame:02x?}");
        assert_eq!(decoded.link.source_mac, Some(FROM));
    }
    let beacon = frame([0x80, 0x00], [TO, FROM, AP], &[]);
    assert_eq!(decode_wireless(&beacon).link.source_mac, None);
    let cut = decode(link_type::IEEE802_11, &beacon[..1], u32::try_from(beacon.len()).unwrap());
    assert!(matches!(cut.error, Some(DecodeError::Truncated { .. })));
}

#[test]
fn radiotap_says_whether_there_is_padding() {
    let segment = segment();
    let decoded_with = |radiotap: &[u8], rest: &[&[u8]]| {
        let frame = frame([0x88, 0x01], [AP, FROM, TO], rest);
        let bytes = [radiotap, &frame].concat();
        decode(link_type::IEEE802_11_RADIOTAP, &bytes, u32::try_from(bytes.len()).unwrap())
    };
    let plain = decoded_with(&[0, 0, 8, 0, 0, 0, 0, 0], &[&[0, 0], &SNAP_IPV4, &segment]);
    assert_eq!((plain.ports.map(|ports| ports.source), plain.error), (Some(40_000), None));
    // A time, aligned to eight bytes behind two words of what is present, and flags that say "padded".
    let with_time = [&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0][..], &[7; 8], &[0x20]].concat();
    let padded = decoded_with(&with_time, &[&[0, 0], &[0, 0], &SNAP_IPV4, &segment]);
    assert_eq!((padded.ports.map(|ports| ports.source), padded.error), (Some(40_000), None));
    let lies = decoded_with(&[0, 0, 4, 0, 0, 0, 0, 0], &[]);
    assert_eq!(lies.error, Some(DecodeError::HeaderLen { layer: Layer::Radiotap, offset: 0, header_len: 4 }));
}

#[test]
fn ieee_802_3_frames_with_snap() {
    let segment = segment();
    let rest = [&SNAP_IPV4[..], &segment].concat();
    let mut frame = ethernet(u16::try_from(rest.len()).unwrap(), &rest);
    frame.extend([0; 9]);
    let decoded = decode(link_type::ETHERNET, &frame, u32::try_from(frame.len()).unwrap());
    assert_eq!((decoded.ports.map(|ports| ports.source), decoded.error), (Some(40_000), None));
    assert_eq!(decoded.payload_len, 0);
    let spanning_tree = ethernet(7, &[0x42, 0x42, 3, 0, 0, 0, 0]);
    let decoded = decode(link_type::ETHERNET, &spanning_tree, 21);
    assert_eq!((decoded.network, decoded.payload_len, decoded.error), (Network::None, 7, None));
}
