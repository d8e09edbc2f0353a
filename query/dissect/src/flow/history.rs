//! Zeek's `history` of a connection: a letter for each kind of thing that a side did, in the order in which it was first
//! seen; capital letters for the client.
//!
//! | letter | meaning |
//! | --- | --- |
//! | `s` `h` `f` `r` | SYN, SYN-ACK, FIN, RST; again when one comes with another sequence number |
//! | `a` `d` | acknowledgement without data, packet with data (neither with SYN, FIN nor RST) |
//! | `g` `t` `w` | gap in the recorded bytes, retransmission, zero window; again at 10 of them, at 100, … |
//! | `i` `q` | FIN with RST; SYN with FIN or RST |
//! | `^` | the first packet was taken for the server's |

use super::model::Side;

/// Letters that are kept. Only repeated flags with ever new sequence numbers can make more.
pub const HISTORY_LEN_MAX: usize = 48;

/// The letters.
#[derive(Clone, Copy, Debug)]
pub struct History {
    letters: [u8; HISTORY_LEN_MAX],
    len: u8,
    /// One bit for each letter that is told once, for either side.
    seen: [u32; 2],
}

impl Default for History {
    fn default() -> Self {
        Self { letters: [0; HISTORY_LEN_MAX], len: 0, seen: [0; 2] }
    }
}

impl History {
    /// The letters so far.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        std::str::from_utf8(&self.letters[..usize::from(self.len)]).unwrap_or_default()
    }

    /// Adds a letter.
    pub(super) fn push(&mut self, side: Side, letter: u8) {
        let letter = if side == Side::Client { letter.to_ascii_uppercase() } else { letter };
        if let Some(place) = self.letters.get_mut(usize::from(self.len)) {
            *place = letter;
            self.len += 1;
        }
    }

    /// Adds a letter if the side has not had it: true then.
    pub(super) fn push_once(&mut self, side: Side, letter: u8) -> bool {
        let bit = 1 << (letter.wrapping_sub(b'^') & 31);
        let seen = &mut self.seen[side.index()];
        let is_new = *seen & bit == 0;
        if is_new {
            *seen |= bit;
            self.push(side, letter);
        }
        is_new
    }

    /// Adds a letter if `count`, which has just been increased, is 1, 10, 100, ….
    pub(super) fn push_scaled(&mut self, side: Side, letter: u8, count: u32) {
        let is_power_of_ten = count > 0 && 10_u32.checked_pow(count.ilog10()) == Some(count);
        if is_power_of_ten {
            self.push(side, letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_told_once_or_by_powers_of_ten() {
        let mut history = History::default();
        assert!(history.push_once(Side::Client, b's'));
        assert!(!history.push_once(Side::Client, b's'));
        assert!(history.push_once(Side::Server, b's'));
        for count in 1..=100 {
            history.push_scaled(Side::Server, b't', count);
        }
        assert_eq!(history.as_str(), "Ssttt");
    }

    #[test]
    fn never_longer_than_its_limit() {
        let mut history = History::default();
        (0..1000).for_each(|_| history.push(Side::Client, b's'));
        assert_eq!(history.as_str(), "S".repeat(HISTORY_LEN_MAX));
    }
}
