//! What can go wrong while a capture file is written.

use std::io;

/// Why a packet could not be written. After any error the output is incomplete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The output refused bytes. Only the output knows its name.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A plain pcap file has one link type for all packets.
    #[error(
        "pcap files hold one link type, and the recording has packets of types {first} and {found}: write pcapng instead"
    )]
    LinkTypes {
        /// Link type of the first packet.
        first: u16,
        /// Link type of a later one.
        found: u16,
    },
    /// A value does not fit into the format.
    #[error("{what} does not fit into the capture file: {why}; leave such packets out")]
    Value {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl From<pcap_file::pcapng::PcapNgWriteError> for ExportError {
    fn from(error: pcap_file::pcapng::PcapNgWriteError) -> Self {
        use pcap_file::pcapng::PcapNgWriteError;
        match error {
            PcapNgWriteError::Io(error) => Self::Io(error),
            PcapNgWriteError::Validation { field, source } => {
                Self::Value { what: field, why: source.to_string() }
            }
            other => Self::Value { what: "a block", why: other.to_string() },
        }
    }
}

impl From<pcap_file::pcap::PcapWriteError> for ExportError {
    fn from(error: pcap_file::pcap::PcapWriteError) -> Self {
        use pcap_file::pcap::PcapWriteError;
        match error {
            PcapWriteError::Io(error) | PcapWriteError::FieldWriteFailed(_, error) => Self::Io(error),
            PcapWriteError::Validation(error) => error.into(),
        }
    }
}

impl From<pcap_file::pcap::PcapValidationError> for ExportError {
    fn from(error: pcap_file::pcap::PcapValidationError) -> Self {
        Self::Value { what: "a packet", why: error.to_string() }
    }
}
