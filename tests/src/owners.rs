//! Whose packets they are, as those who sent them say.

use serde::{Deserialize, Serialize};

/// Packets that all have one owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expectation {
    /// What was done.
    pub case: String,
    /// The owner, as the initial pid namespace knows it; 0 where it doesn't matter or nobody is.
    pub pid: u32,
    /// Which packets.
    pub filter: Filter,
    /// How their owner may be known (`packets.attribution`).
    pub attributions: Vec<String>,
}

/// Tells packets apart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Filter {
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// `egress` or `ingress`.
    pub direction: String,
    /// Any when absent.
    pub source_port: Option<u16>,
    /// Any when absent.
    pub destination_port: Option<u16>,
    /// Type of ICMP messages.
    pub icmp_type: Option<u8>,
    /// Bytes on the wire.
    pub len: Option<usize>,
    /// Only packets that carry payload.
    pub with_payload: bool,
}

impl Filter {
    /// Packets that leave; a port of 0 is any.
    pub fn leaving(protocol: u8, source_port: u16, destination_port: u16) -> Self {
        let known = |port: u16| (port != 0).then_some(port);
        let (source_port, destination_port) = (known(source_port), known(destination_port));
        Self { protocol, direction: "egress".to_owned(), source_port, destination_port, ..Self::default() }
    }

    /// The same packets where they arrive.
    pub fn arriving(protocol: u8, source_port: u16, destination_port: u16) -> Self {
        Self { direction: "ingress".to_owned(), ..Self::leaving(protocol, source_port, destination_port) }
    }

    /// Messages of ICMP that leave.
    pub fn icmp(protocol: u8, icmp_type: u8, len: Option<usize>) -> Self {
        Self { icmp_type: Some(icmp_type), len, ..Self::leaving(protocol, 0, 0) }
    }

    /// As a condition on the table `packets`.
    pub fn condition(&self) -> String {
        let mut conditions =
            vec![format!("ip_proto = {} AND direction = '{}'", self.protocol, self.direction)];
        let equals = [
            ("src_port", self.source_port.map(usize::from)),
            ("dst_port", self.destination_port.map(usize::from)),
            ("icmp_type", self.icmp_type.map(usize::from)),
            ("len", self.len),
        ];
        for (column, value) in equals {
            conditions.extend(value.map(|value| format!("{column} = {value}")));
        }
        if self.with_payload {
            conditions.push("payload_len > 0".to_owned());
        }
        conditions.join(" AND ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_conditions() {
        let filter = Filter { with_payload: true, ..Filter::leaving(6, 0, 80) };
        assert_eq!(
            filter.condition(),
            "ip_proto = 6 AND direction = 'egress' AND dst_port = 80 AND payload_len > 0"
        );
    }
}
