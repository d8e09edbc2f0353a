//! Asks a packet.

use crate::program::{Node, Operator, Place, Relation, Value};

/// The bytes of a packet, which may be kept in two parts.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From the link header on.
    pub header: &'a [u8],
    /// What follows.
    pub payload: &'a [u8],
    /// Bytes on the wire.
    pub wire_len: u32,
}

/// Bytes that BPF compares at once.
const WORD_LEN: usize = 4;

/// The packet ends before a byte that is looked at, or something is divided by zero: BPF programs end there, and don't match.
struct Ends;

pub(super) fn matches(root: &Node, packet: &Packet<'_>) -> bool {
    test(root, packet).unwrap_or(false)
}

fn test(node: &Node, packet: &Packet<'_>) -> Result<bool, Ends> {
    Ok(match node {
        Node::Constant(verdict) => *verdict,
        Node::And(one, other) => test(one, packet)? && test(other, packet)?,
        Node::Or(one, other) => test(one, packet)? || test(other, packet)?,
        Node::Not(node) => !test(node, packet)?,
        Node::Compare(one, relation, other) => {
            let (one, other) = (number(one, packet)?, number(other, packet)?);
            match relation {
                Relation::Less => one < other,
                Relation::LessOrEqual => one <= other,
                Relation::Equal => one == other,
                Relation::NotEqual => one != other,
                Relation::GreaterOrEqual => one >= other,
                Relation::Greater => one > other,
            }
        }
        Node::Bytes { at, mask, value } => {
            let mut at = packet.place(*at)?;
            // Words are looked at as a whole, or not at all when nothing of them matters.
            for (mask, value) in mask.chunks(WORD_LEN).zip(value.chunks(WORD_LEN)) {
                let mut equal = true;
                for (mask_byte, value) in mask.iter().zip(value) {
                    if mask.iter().any(|byte| *byte != 0) {
                        equal &= packet.byte(at)? & mask_byte == *value;
                    }
                    at += 1;
                }
                if !equal {
                    return Ok(false);
                }
            }
            true
        }
        Node::Range { at, size, first, last } => {
            (*first..=*last).contains(&packet.load(packet.place(*at)?, *size)?)
        }
        Node::FirstFragment { network } => packet.load(u64::from(*network) + 6, 2)? & 0x1fff == 0,
    })
}

fn number(value: &Value, packet: &Packet<'_>) -> Result<u32, Ends> {
    Ok(match value {
        Value::Number(number) => *number,
        Value::Len => packet.wire_len,
        Value::Load { base, offset, size } => {
            let at = packet.place(*base)? + u64::from(number(offset, packet)?);
            packet.load(at, *size)?
        }
        Value::Negative(value) => number(value, packet)?.wrapping_neg(),
        Value::Arithmetic(one, operator, other) => {
            let (one, other) = (number(one, packet)?, number(other, packet)?);
            match operator {
                Operator::Add => one.wrapping_add(other),
                Operator::Subtract => one.wrapping_sub(other),
                Operator::Multiply => one.wrapping_mul(other),
                Operator::Divide => one.checked_div(other).ok_or(Ends)?,
                Operator::Remainder => one.checked_rem(other).ok_or(Ends)?,
                Operator::And => one & other,
                Operator::Or => one | other,
                Operator::Xor => one ^ other,
                Operator::ShiftLeft => one.checked_shl(other).unwrap_or(0),
                Operator::ShiftRight => one.checked_shr(other).unwrap_or(0),
            }
        }
    })
}

impl Packet<'_> {
    fn byte(&self, at: u64) -> Result<u8, Ends> {
        let at = usize::try_from(at).map_err(|_| Ends)?;
        let byte = match at.checked_sub(self.header.len()) {
            None => self.header.get(at),
            Some(at) => self.payload.get(at),
        };
        byte.copied().ok_or(Ends)
    }

    /// A number of 1, 2 or 4 bytes, most significant first.
    fn load(&self, at: u64, size: u8) -> Result<u32, Ends> {
        let mut number = 0;
        for index in 0..u64::from(size) {
            number = number << 8 | u32::from(self.byte(at + index)?);
        }
        Ok(number)
    }

    fn place(&self, place: Place) -> Result<u64, Ends> {
        Ok(match place {
            Place::Fixed(at) => at.into(),
            Place::BehindIpv4 { network, offset } => {
                let header_len = u64::from(self.byte(network.into())? & 0x0f) * 4;
                u64::from(network) + header_len + u64::from(offset)
            }
        })
    }
}
