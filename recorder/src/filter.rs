//! `--filter`: an expression as it was given, and what it means for the packets of sockets.

use kcap_filter::{Filter, FilterError, link_type};

/// A filter for packets that begin with their network header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PacketFilter {
    pub(crate) expression: String,
    pub(crate) parsed: Filter,
}

impl PacketFilter {
    /// Understands an expression; the error shows where it isn't understood.
    pub(crate) fn parse(expression: &str) -> Result<Self, String> {
        Self::parse_with(expression, |error| format!("{error}\n{}", error.pointer(expression)))
    }

    /// The same with the place in the error's one line.
    pub(crate) fn parse_in_line(expression: &str) -> Result<Self, String> {
        Self::parse_with(expression, |error| format!("{error} of '{expression}'"))
    }

    fn parse_with(expression: &str, describe: impl Fn(FilterError) -> String) -> Result<Self, String> {
        let parsed = Filter::parse(expression, link_type::RAW).map_err(describe)?;
        // Too long for the kernel, for example.
        parsed.compile().map_err(|error| error.to_string())?;
        Ok(Self { expression: expression.to_owned(), parsed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_point_at_the_place() {
        let message = PacketFilter::parse("tcp prt 80").unwrap_err();
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(lines[1..], ["  tcp prt 80", "      ^"], "{message}");
        assert!(lines[0].contains("position 4"), "{message}");
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_refused_at_once() {
        let ports: Vec<_> = (1..900).map(|number| format!("port {number}")).collect();
        let message = PacketFilter::parse(&ports.join(" or ")).unwrap_err();
        assert!(message.contains("instructions"), "{message}");
        assert!(PacketFilter::parse(&ports[..200].join(" or ")).is_ok());
    }
}
