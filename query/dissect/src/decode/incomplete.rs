//! Packets of which some fragments never came.

use std::fmt;
use std::net::Ipv6Addr;

/// Fragments that were given up, for want of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompletePacket<P> {
    /// Its first fragment that came, as whoever fed it named it.
    pub first: P,
    /// The last that came.
    pub last: P,
    /// Sender, IPv4 mapped into IPv6.
    pub source: [u8; 16],
    /// Receiver.
    pub destination: [u8; 16],
    /// What the fragments have in common (`identification`).
    pub id: u32,
    /// Fragments that came.
    pub fragments: u32,
    /// Begin and end of the bytes behind the IP header that came, sorted, with gaps between them.
    pub present: Vec<(u32, u32)>,
    /// How many there are in all; `None` when the last fragment never came.
    pub len: Option<u32>,
    /// Why it was given up.
    pub reason: GivenUp,
}

/// Why fragments were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GivenUp {
    /// The others did not come in time.
    TimedOut,
    /// Others needed the memory.
    Evicted,
    /// There are no more packets.
    Ended,
    /// A fragment came that cannot be a part of the packet.
    Rejected,
}

impl<P> IncompletePacket<P> {
    /// Begin and end of the bytes that are missing; the end of the last is `None` when it isn't known.
    pub fn missing(&self) -> impl Iterator<Item = (u32, Option<u32>)> {
        let ends = self.present.iter().map(|run| run.1);
        let begins = self.present.iter().map(|run| Some(run.0)).chain([self.len]);
        std::iter::once(0).chain(ends).zip(begins).filter(|(begin, end)| Some(*begin) != *end)
    }
}

impl<P> fmt::Display for IncompletePacket<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |bytes: [u8; 16]| Ipv6Addr::from(bytes).to_canonical();
        write!(
            formatter,
            "{} fragment{} of packet {} from {} to {}: bytes ",
            self.fragments,
            if self.fragments == 1 { "" } else { "s" },
            self.id,
            address(self.source),
            address(self.destination)
        )?;
        list(formatter, self.present.iter().map(|(begin, end)| (*begin, Some(*end))))?;
        formatter.write_str(" came, ")?;
        list(formatter, self.missing())?;
        write!(formatter, " never did: {}", self.reason)
    }
}

/// Ranges, as `0 to 16, 32 to 40 and 56 on`.
fn list(formatter: &mut fmt::Formatter<'_>, ranges: impl Iterator<Item = (u32, Option<u32>)>) -> fmt::Result {
    let mut ranges = ranges.peekable();
    let mut is_first = true;
    while let Some((begin, end)) = ranges.next() {
        let before = match (is_first, ranges.peek()) {
            (true, _) => "",
            (false, Some(_)) => ", ",
            (false, None) => " and ",
        };
        is_first = false;
        match end {
            Some(end) => write!(formatter, "{before}{begin} to {end}")?,
            None => write!(formatter, "{before}{begin} on")?,
        }
    }
    Ok(())
}

impl fmt::Display for GivenUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TimedOut => "they did not come in time",
            Self::Evicted => "others needed the memory",
            Self::Ended => "the recording ends before",
            Self::Rejected => "a fragment came that does not fit",
        })
    }
}
