//! How much payload is kept: of each packet, and of each flow.

use std::fmt;

use crate::units::parse_size;

/// `--payload`: how much of each packet behind its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// All that the snap length leaves.
    Full,
    /// At most so many bytes; 0 for none.
    Bytes(u32),
}

impl Payload {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "none" => Ok(Self::Bytes(0)),
            _ => match parse_size(text).map(u32::try_from) {
                Ok(Ok(len)) if len < u32::MAX => Ok(Self::Bytes(len)),
                _ => Err("give 'none', 'full' or a number of bytes, e.g. 256 or 1KiB".to_owned()),
            },
        }
    }

    /// `None`: no limit.
    pub(crate) fn len_max(self) -> Option<u32> {
        match self {
            Self::Full => None,
            Self::Bytes(len) => Some(len),
        }
    }

    /// Whether it asks for nothing that `--snaplen headers` leaves out.
    pub(crate) fn is_compatible_with_headers(self) -> bool {
        matches!(self, Self::Full | Self::Bytes(0))
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("full"),
            Self::Bytes(0) => formatter.write_str("none"),
            Self::Bytes(len) => write!(formatter, "{len}"),
        }
    }
}

/// `--payload-per-flow`: below 4 GiB, since the kernel programs count in 32 bits.
pub(crate) fn parse_flow_len(text: &str) -> Result<u32, String> {
    match u32::try_from(parse_size(text)?) {
        Ok(len) if len < u32::MAX => Ok(len),
        _ => Err("must be less than 4GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_what_is_shown() {
        for (text, len_max) in [("full", None), ("none", Some(0)), ("256", Some(256))] {
            let payload = Payload::parse(text).unwrap();
            assert_eq!((payload.to_string().as_str(), payload.len_max()), (text, len_max));
        }
        assert_eq!(Payload::parse("1KiB"), Ok(Payload::Bytes(1024)));
        assert!(Payload::parse("all").is_err() && Payload::parse("4GiB").is_err());
        assert!(parse_flow_len("4GiB").is_err() && parse_flow_len("16KiB") == Ok(16_384));
    }
}
