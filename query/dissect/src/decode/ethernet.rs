//! Ethernet II (IEEE 802.3) with VLAN tags (IEEE 802.1Q).

use super::error::{DecodeError, Layer};
use super::link::{by_ether_type, mark_end};
use super::model::{Decoded, Link, ether_type};
use super::{Cursor, llc};
use crate::bytes::{array_at, u16_at};

/// Most VLAN tags of a frame: a service and a customer tag.
pub const VLAN_TAGS_MAX: usize = 2;

/// Bytes of the header.
const HEADER_LEN: usize = 14;

/// Bytes of a tag after its EtherType: control information and the EtherType of what follows.
const TAG_LEN: usize = 4;

/// Type fields below this are lengths of IEEE 802.3 frames.
const ETHER_TYPE_MIN: u16 = 0x0600;

/// A header that is there.
struct EthernetHeader<'a>(&'a [u8; HEADER_LEN]);

impl EthernetHeader<'_> {
    fn destination(&self) -> [u8; 6] {
        array_at(self.0, 0)
    }

    fn source(&self) -> [u8; 6] {
        array_at(self.0, 6)
    }

    fn ether_type(&self) -> u16 {
        u16_at(self.0, 12)
    }
}

/// Decodes from the Ethernet header on.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let header = EthernetHeader(cursor.fixed(Layer::Ethernet)?);
    decoded.link.destination_mac = Some(header.destination());
    decoded.link.source_mac = Some(header.source());
    let next = cursor.skip(HEADER_LEN);
    if header.ether_type() < ETHER_TYPE_MIN {
        return llc::decode(next.within(u32::from(header.ether_type())), decoded);
    }
    tags(header.ether_type(), next, decoded)
}

/// Decodes a frame in a tunnel: its addresses and tags are those of the packet in it.
pub(super) fn decode_inner(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decoded.link = Link::default();
    decode(cursor, decoded)
}

/// Decodes VLAN tags, if there are any, and what follows. `number` is the EtherType before the cursor.
pub(super) fn tags(
    mut number: u16,
    mut cursor: Cursor<'_>,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    while matches!(number, ether_type::VLAN | ether_type::SERVICE_VLAN | ether_type::OLD_SERVICE_VLAN) {
        decoded.link.ether_type = number;
        mark_end(cursor, decoded);
        let tag = cursor.fixed::<TAG_LEN>(Layer::Ethernet)?;
        let Some(place) = decoded.link.vlan_tags.get_mut(usize::from(decoded.link.vlan_count)) else {
            return Err(DecodeError::TooMany { layer: Layer::Ethernet, offset: cursor.offset });
        };
        *place = u16_at(tag, 0);
        decoded.link.vlan_count += 1;
        number = u16_at(tag, 2);
        cursor = cursor.skip(TAG_LEN);
    }
    by_ether_type(number, cursor, decoded)
}
