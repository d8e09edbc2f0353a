//! `--filter`: an expression as it was given, and what it means for the packets of sockets and for frames.

use kcap_filter::{Filter, FilterError, link_type};

/// What an expression means for packets that begin with their network header, and for frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PacketFilter {
    pub(crate) expression: String,
    /// `Err`: why it can't be asked of such packets.
    pub(crate) network: Result<Filter, String>,
    pub(crate) frame: Filter,
}

impl PacketFilter {
    /// Understands an expression; the error shows where it isn't understood.
    pub(crate) fn parse(expression: &str) -> Result<Self, String> {
        Self::parse_with(expression, |error| format!("{error}\n{}", error.pointer(expression)))
    }

    /// The same for packets of sockets alone, with the place in the error's one line.
    pub(crate) fn parse_in_line(expression: &str) -> Result<Self, String> {
        let filter = Self::parse_with(expression, |error| format!("{error} of '{expression}'"))?;
        match &filter.network {
            Ok(_) => Ok(filter),
            Err(message) => Err(message.clone()),
        }
    }

    /// What it means for packets that begin with their network header, if it can be asked of them.
    pub(crate) fn of_sockets(&self) -> Option<&Filter> {
        self.network.as_ref().ok()
    }

    fn parse_with(expression: &str, describe: impl Fn(FilterError) -> String) -> Result<Self, String> {
        let parse = |link_type| {
            let filter = Filter::parse(expression, link_type).map_err(&describe)?;
            // Too long for the kernel, for example.
            filter.compile().map_err(|error| error.to_string())?;
            Ok(filter)
        };
        let network = parse(link_type::RAW);
        // What both refuse is refused for what it means to packets of sockets.
        let frame = parse(link_type::ETHERNET).map_err(|error| network.clone().err().unwrap_or(error))?;
        Ok(Self { expression: expression.to_owned(), network, frame })
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
    fn some_expressions_are_for_frames_alone() {
        let filter = PacketFilter::parse("vlan 10 and tcp").unwrap();
        assert!(filter.network.unwrap_err().contains("Ethernet"));
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_refused_at_once() {
        let ports: Vec<_> = (1..900).map(|number| format!("port {number}")).collect();
        let message = PacketFilter::parse(&ports.join(" or ")).unwrap_err();
        assert!(message.contains("instructions"), "{message}");
        assert!(PacketFilter::parse(&ports[..200].join(" or ")).is_ok());
    }
}
