//! Plain pcap with nanoseconds: packets alone, of one link type.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapTsResolution};
use pcap_file::{DataLink, Endianness};

use super::{ExportError, ExportPacket};

/// Snap length in the file's header: the most that Wireshark and libpcap take (`MAXIMUM_SNAPLEN`).
const SNAPLEN_MAX: u32 = 262_144;

/// Writes a pcap file.
///
/// The file's header has the link type, so that it is only written with the first packet; [`PcapWriter::finish`] writes it
/// for a recording without packets.
pub struct PcapWriter<W: Write> {
    state: State<W>,
    buffer: Vec<u8>,
}

enum State<W: Write> {
    /// Nothing is written yet.
    Empty(W),
    Open {
        link_type: u16,
        writer: pcap_file::pcap::PcapWriter<W>,
    },
    /// Writing the header failed.
    Failed,
}

impl<W: Write> PcapWriter<W> {
    /// Writes to `writer`, which should be buffered.
    pub fn new(writer: W) -> Self {
        Self { state: State::Empty(writer), buffer: Vec::new() }
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// When the output refuses bytes, or the packet has another link type than the first one.
    pub fn write(&mut self, packet: &ExportPacket<'_>) -> Result<(), ExportError> {
        let found = packet.interface.key.link_type;
        let wire_len = packet.fill(&mut self.buffer);
        let time = Duration::from_nanos(packet.time_ns);
        let captured = self.buffer.len().min(SNAPLEN_MAX as usize);
        let packet = PcapPacket::new(time, wire_len, Cow::Borrowed(&self.buffer[..captured]))?;
        let (first, writer) = Self::open(&mut self.state, found)?;
        if first != found {
            return Err(ExportError::LinkTypes { first, found });
        }
        writer.write_packet(&packet)?;
        Ok(())
    }

    /// Ends the file, flushes it and gives the output back.
    ///
    /// # Errors
    /// When the output refuses bytes.
    pub fn finish(mut self) -> Result<W, ExportError> {
        const LINKTYPE_RAW: u16 = 101;
        Self::open(&mut self.state, LINKTYPE_RAW)?;
        let State::Open { writer, .. } = self.state else { return Err(failed()) };
        let mut output = writer.into_inner();
        output.flush()?;
        Ok(output)
    }

    fn open(
        state: &mut State<W>,
        link_type: u16,
    ) -> Result<(u16, &mut pcap_file::pcap::PcapWriter<W>), ExportError> {
        if let State::Empty(_) = state
            && let State::Empty(output) = std::mem::replace(state, State::Failed)
        {
            let header = PcapHeader {
                snaplen: SNAPLEN_MAX,
                datalink: DataLink::from(u32::from(link_type)),
                ts_resolution: PcapTsResolution::NanoSecond,
                endianness: Endianness::Little,
                ..PcapHeader::default()
            };
            let writer = pcap_file::pcap::PcapWriter::with_header(output, header)?;
            *state = State::Open { link_type, writer };
        }
        match state {
            State::Open { link_type, writer } => Ok((*link_type, writer)),
            _ => Err(failed()),
        }
    }
}

fn failed() -> ExportError {
    ExportError::Io(std::io::Error::other("an earlier write failed"))
}

#[cfg(test)]
mod tests {
    use pcap_file::pcap::PcapReader;

    use super::*;
    use crate::export::{ExportInterface, InterfaceKey, PacketDirection};

    fn interface(link_type: u16) -> ExportInterface {
        let key = InterfaceKey { netns_cookie: 1, index: 1, link_type };
        ExportInterface { key, name: "lo".into(), ..ExportInterface::default() }
    }

    fn packet(interface: &ExportInterface) -> ExportPacket<'_> {
        ExportPacket {
            time_ns: 1_700_000_000_123_456_789,
            interface,
            direction: PacketDirection::Outbound,
            wire_len: 1500,
            header: &[0x45, 0],
            payload: &[1, 2, 3],
            process: None,
            packet_id: None,
            comment: None,
            drop_count: 0,
        }
    }

    #[test]
    fn packets_keep_bytes_lengths_and_nanoseconds() {
        let interface = interface(101);
        let mut writer = PcapWriter::new(Vec::new());
        writer.write(&packet(&interface)).unwrap();
        writer.write(&ExportPacket { wire_len: 0, ..packet(&interface) }).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = PcapReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.header().datalink, DataLink::RAW);
        let first = reader.next_packet().unwrap().unwrap().into_owned();
        assert_eq!((first.data(), first.orig_len()), (&[0x45, 0, 1, 2, 3][..], 1500));
        assert_eq!(first.timestamp(), Duration::from_nanos(1_700_000_000_123_456_789));
        assert_eq!(reader.next_packet().unwrap().unwrap().orig_len(), 5, "never less than was captured");
        assert!(reader.next_packet().is_none());
    }

    #[test]
    fn a_second_link_type_is_refused() {
        let (raw, ethernet) = (interface(101), interface(1));
        let mut writer = PcapWriter::new(Vec::new());
        writer.write(&packet(&raw)).unwrap();
        let error = writer.write(&packet(&ethernet)).unwrap_err();
        assert!(matches!(error, ExportError::LinkTypes { first: 101, found: 1 }), "{error}");
        assert!(error.to_string().contains("write pcapng instead"));
    }

    #[test]
    fn no_packets_make_a_file_all_the_same() {
        let bytes = PcapWriter::new(Vec::new()).finish().unwrap();
        assert!(PcapReader::new(&bytes[..]).unwrap().next_packet().is_none());
    }

    #[test]
    fn a_full_disk_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let interface = interface(101);
        let mut writer = PcapWriter::new(Full);
        let error = writer.write(&packet(&interface)).unwrap_err();
        assert!(matches!(&error, ExportError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull));
        assert!(writer.write(&packet(&interface)).is_err());
        assert!(writer.finish().is_err());
    }
}
