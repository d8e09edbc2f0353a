//! IEEE 802.11 data frames, and radiotap in front of them (<https://www.radiotap.org>).

use super::error::{DecodeError, Layer};
use super::link::mark_end;
use super::model::Decoded;
use super::{Cursor, llc};
use crate::bytes::array_at;

/// Bytes of a header with three addresses.
const FIXED_LEN: usize = 24;
/// Bytes of the fourth address, which frames between access points have.
const ADDRESS_LEN: usize = 6;
/// Bytes of the control field of frames with quality of service.
const QOS_LEN: usize = 2;
/// Bytes of the control field of high throughput.
const HIGH_THROUGHPUT_LEN: usize = 4;

/// Frame type "data".
const TYPE_DATA: u8 = 2;
/// Bits of the subtype of data frames.
mod subtype {
    pub(super) const NO_DATA: u8 = 0x4;
    pub(super) const QOS: u8 = 0x8;
}
/// Bits of the second byte of frame control.
mod flag {
    pub(super) const TO_DS: u8 = 0x01;
    pub(super) const FROM_DS: u8 = 0x02;
    pub(super) const MORE_FRAGMENTS: u8 = 0x04;
    pub(super) const PROTECTED: u8 = 0x40;
    pub(super) const ORDER: u8 = 0x80;
}

/// Decodes a frame. What is encrypted, aggregated, a fragment, or no data ends at its header, which is no error.
/// `is_padded`: the device aligned what follows the header to four bytes.
pub(super) fn decode(cursor: Cursor<'_>, is_padded: bool, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let &[first, flags] = cursor.fixed::<2>(Layer::Wireless)?;
    if (first >> 2) & 0x3 != TYPE_DATA {
        return Ok(());
    }
    let header = cursor.fixed::<FIXED_LEN>(Layer::Wireless)?;
    let (address_1, address_2, address_3) = (array_at(header, 4), array_at(header, 10), array_at(header, 16));
    let (to_ds, from_ds) = (flags & flag::TO_DS != 0, flags & flag::FROM_DS != 0);
    decoded.link.destination_mac = Some(if to_ds { address_3 } else { address_1 });
    let subtype = first >> 4;
    let has_qos = subtype & subtype::QOS != 0;
    let mut len = FIXED_LEN;
    decoded.link.source_mac = match (to_ds, from_ds) {
        (true, true) => {
            len += ADDRESS_LEN;
            cursor
                .fixed::<{ FIXED_LEN + ADDRESS_LEN }>(Layer::Wireless)
                .ok()
                .map(|all| array_at(all, FIXED_LEN))
        }
        (false, true) => Some(address_3),
        (_, false) => Some(address_2),
    };
    let qos_at = len;
    if has_qos {
        len += QOS_LEN;
        if flags & flag::ORDER != 0 {
            len += HIGH_THROUGHPUT_LEN;
        }
    }
    if cursor.bytes.len() < len {
        return Err(cursor.cut(Layer::Wireless, len));
    }
    let is_aggregate = has_qos && cursor.bytes[qos_at] & 0x80 != 0;
    let is_later_fragment = header[22] & 0x0f != 0;
    let padded_len = if is_padded { len.next_multiple_of(4) } else { len };
    let next = cursor.skip(padded_len);
    mark_end(next, decoded);
    if subtype & subtype::NO_DATA != 0
        || flags & (flag::PROTECTED | flag::MORE_FRAGMENTS) != 0
        || is_aggregate
        || is_later_fragment
    {
        return Ok(());
    }
    llc::decode(next, decoded)
}

/// Bytes of version, length and the first word of what is present.
const RADIOTAP_FIXED_LEN: usize = 8;
/// Most words of what is present that are passed over.
const RADIOTAP_PRESENT_MAX: usize = 16;
/// The bit of such a word that says that another follows.
const RADIOTAP_MORE: u32 = 1 << 31;
/// The bits of the first fields: a time of eight bytes, aligned to them, and flags of one byte.
const RADIOTAP_TIME: u32 = 1;
const RADIOTAP_FLAGS: u32 = 1 << 1;
/// The flag that says that there is padding behind the 802.11 header.
const RADIOTAP_PADDED: u8 = 0x20;

/// Passes over a radiotap header, and decodes the frame behind it.
pub(super) fn decode_radiotap(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let fixed = cursor.fixed::<RADIOTAP_FIXED_LEN>(Layer::Radiotap)?;
    let len = usize::from(u16::from_le_bytes([fixed[2], fixed[3]]));
    if len < RADIOTAP_FIXED_LEN {
        let header_len = len as u32;
        return Err(DecodeError::HeaderLen { layer: Layer::Radiotap, offset: cursor.offset, header_len });
    }
    let Some(header) = cursor.bytes.get(..len) else {
        return Err(cursor.cut(Layer::Radiotap, len));
    };
    decode(cursor.skip(len), is_padded(header), decoded)
}

/// Whether the flags in a radiotap header say so.
fn is_padded(header: &[u8]) -> bool {
    let words = header[4..].chunks_exact(4).take(RADIOTAP_PRESENT_MAX);
    let mut words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let Some(first) = words.next() else { return false };
    let mut at = RADIOTAP_FIXED_LEN;
    let mut word = first;
    while word & RADIOTAP_MORE != 0 {
        let Some(next) = words.next() else { return false };
        word = next;
        at += 4;
    }
    if first & RADIOTAP_TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    first & RADIOTAP_FLAGS != 0 && header.get(at).is_some_and(|flags| flags & RADIOTAP_PADDED != 0)
}
