//! MPLS label stacks (RFC 3032).

use super::error::{DecodeError, Layer};
use super::link::mark_end;
use super::model::{Decoded, Link};
use super::{Cursor, ethernet, ipv4, ipv6};
use crate::bytes::u32_at;

/// Most labels of a stack that are followed.
pub const MPLS_LABELS_MAX: usize = 16;

/// Bytes of a label with its traffic class, bottom bit and time to live.
const LABEL_LEN: usize = 4;
/// Bytes of the control word of a pseudowire (RFC 4385).
const CONTROL_WORD_LEN: usize = 4;

/// Decodes labels and what follows. Nothing says what that is: as routers do when they look for a flow, the first nibble
/// tells (RFC 4928), and a pseudowire's control word begins with 0.
pub(super) fn decode(mut cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    for _ in 0..MPLS_LABELS_MAX {
        let entry = u32_at(cursor.fixed::<LABEL_LEN>(Layer::Mpls)?, 0);
        decoded.link.mpls_label.get_or_insert(entry >> 12);
        cursor = cursor.skip(LABEL_LEN);
        mark_end(cursor, decoded);
        if entry & 0x100 == 0 {
            continue;
        }
        let &[first] = cursor.fixed::<1>(Layer::Mpls)?;
        return match first >> 4 {
            4 => ipv4::decode(cursor, decoded),
            6 => ipv6::decode(cursor, decoded),
            0 => {
                cursor.fixed::<CONTROL_WORD_LEN>(Layer::Mpls)?;
                decoded.link = Link { mpls_label: decoded.link.mpls_label, ..Link::default() };
                ethernet::decode(cursor.in_link(Layer::Mpls)?.skip(CONTROL_WORD_LEN), decoded)
            }
            _ => Ok(()),
        };
    }
    Err(DecodeError::TooMany { layer: Layer::Mpls, offset: cursor.offset })
}
