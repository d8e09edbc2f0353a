//! pcapng (draft-ietf-opsawg-pcapng): packets with their interfaces, directions, processes, comments and losses.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::opt_common::{CommonOption, UnknownOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness};
use rustc_hash::FxHashMap;

use super::{ExportError, ExportInterface, ExportPacket, InterfaceKey, PacketDirection, SectionInfo};

/// Most bytes of a comment or another text; longer ones are cut. An option takes 65,535.
pub const COMMENT_LEN_MAX: usize = 65_000;

/// `epb_packetid`: 64 bits, in the section's byte order.
const EPB_PACKETID: u16 = 5;

/// `epb_processid_threadid`: process id and thread id, 32 bits each, in the section's byte order.
const EPB_PROCESSID_THREADID: u16 = 8;

/// Direction bits of `epb_flags`.
const EPB_FLAGS_INBOUND: u32 = 1;
const EPB_FLAGS_OUTBOUND: u32 = 2;

/// `if_tsresol`: timestamps count units of ten to the minus this.
const NANOSECONDS: u8 = 9;

/// Writes a pcapng file of one section.
///
/// Interfaces are described when their first packet comes, and their statistics are written by
/// [`PcapngWriter::finish`].
pub struct PcapngWriter<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: FxHashMap<InterfaceKey, u32>,
    /// By the number that the file gives to an interface.
    statistics: Vec<Statistics>,
    buffer: Vec<u8>,
}

/// What is told of an interface at the end.
#[derive(Default)]
struct Statistics {
    written: u64,
    left_out: u64,
    dropped: u64,
    first_ns: Option<u64>,
    last_ns: u64,
}

impl<W: Write> PcapngWriter<W> {
    /// Writes a section header to `writer`, which should be buffered.
    ///
    /// # Errors
    /// When the output refuses bytes.
    pub fn new(writer: W, section: &SectionInfo) -> Result<Self, ExportError> {
        let mut options = Vec::new();
        let mut add = |text, option: fn(Cow<'static, str>) -> SectionHeaderOption<'static>| {
            options.extend(text_option(text).map(|text| option(Cow::Owned(text.to_owned()))));
        };
        add(&section.hardware, SectionHeaderOption::Hardware);
        add(&section.os, SectionHeaderOption::OS);
        add(&section.application, SectionHeaderOption::UserApplication);
        add(&section.comment, |text| SectionHeaderOption::Common(CommonOption::Comment(text)));
        let header =
            SectionHeaderBlock { endianness: Endianness::Little, options, ..SectionHeaderBlock::default() };
        Ok(Self {
            writer: PcapNgWriter::with_section_header(writer, header)?,
            interfaces: FxHashMap::default(),
            statistics: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Writes a packet, and before it its interface if that one is new.
    ///
    /// # Errors
    /// When the output refuses bytes.
    pub fn write(&mut self, packet: &ExportPacket<'_>) -> Result<(), ExportError> {
        let interface_id = self.interface_id(packet.interface)?;
        let original_len = packet.fill(&mut self.buffer);
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(packet.time_ns),
            original_len,
            data: Cow::Borrowed(&self.buffer),
            options: packet_options(packet),
        };
        self.writer.write_pcapng_block(block)?;
        let statistics = &mut self.statistics[interface_id as usize];
        statistics.written += 1;
        statistics.dropped = statistics.dropped.saturating_add(packet.drop_count);
        let first_ns = statistics.first_ns.get_or_insert(packet.time_ns);
        *first_ns = packet.time_ns.min(*first_ns);
        statistics.last_ns = packet.time_ns.max(statistics.last_ns);
        Ok(())
    }

    /// Counts recorded packets of an interface that are left out of this file on purpose.
    ///
    /// # Errors
    /// When the output refuses bytes.
    pub fn count_left_out(&mut self, interface: &ExportInterface, packets: u64) -> Result<(), ExportError> {
        let interface_id = self.interface_id(interface)?;
        self.statistics[interface_id as usize].left_out += packets;
        Ok(())
    }

    /// Counts packets of an interface that were lost, beside those in [`ExportPacket::drop_count`].
    ///
    /// # Errors
    /// When the output refuses bytes.
    pub fn count_dropped(&mut self, interface: &ExportInterface, packets: u64) -> Result<(), ExportError> {
        let interface_id = self.interface_id(interface)?;
        let dropped = &mut self.statistics[interface_id as usize].dropped;
        *dropped = dropped.saturating_add(packets);
        Ok(())
    }

    /// Packets written.
    #[must_use]
    pub fn packet_count(&self) -> u64 {
        self.statistics.iter().map(|statistics| statistics.written).sum()
    }

    /// Writes the statistics of all interfaces, flushes the output and gives it back.
    ///
    /// # Errors
    /// When the output refuses bytes.
    pub fn finish(mut self) -> Result<W, ExportError> {
        let end_ns = self.statistics.iter().map(|statistics| statistics.last_ns).max().unwrap_or(0);
        for (interface_id, statistics) in (0..).zip(&self.statistics) {
            let Statistics { written, left_out, dropped, first_ns, last_ns } = statistics;
            let mut options = Vec::new();
            if let Some(first_ns) = first_ns {
                options.push(InterfaceStatisticsOption::IsbStartTime(Duration::from_nanos(*first_ns)));
                options.push(InterfaceStatisticsOption::IsbEndTime(Duration::from_nanos(*last_ns)));
            }
            let received = (written + left_out).saturating_add(*dropped);
            options.push(InterfaceStatisticsOption::IsbIfRecv(received));
            options.push(InterfaceStatisticsOption::IsbIfDrop(*dropped));
            options.push(InterfaceStatisticsOption::IsbUsrDeliv(*written));
            self.writer.write_pcapng_block(InterfaceStatisticsBlock {
                interface_id,
                timestamp: Duration::from_nanos(end_ns),
                options,
            })?;
        }
        let mut output = self.writer.into_inner();
        output.flush()?;
        Ok(output)
    }

    /// The file's number of an interface, which is described in the file if it is new.
    fn interface_id(&mut self, interface: &ExportInterface) -> Result<u32, ExportError> {
        if let Some(id) = self.interfaces.get(&interface.key) {
            return Ok(*id);
        }
        let resolution = InterfaceTsResolution::from_u8(NANOSECONDS)
            .map_err(|error| ExportError::Value { what: "if_tsresol", why: error.to_string() })?;
        let mut options = vec![InterfaceDescriptionOption::IfTsResol(resolution)];
        options
            .extend(text_option(&interface.name).map(|text| InterfaceDescriptionOption::IfName(text.into())));
        options.extend(
            text_option(&interface.description)
                .map(|text| InterfaceDescriptionOption::IfDescription(text.into())),
        );
        if let Some(mac_address) = &interface.mac_address {
            options.push(InterfaceDescriptionOption::IfMacAddr(Cow::Borrowed(mac_address)));
        }
        self.writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::from(u32::from(interface.key.link_type)),
            snaplen: interface.snaplen,
            options,
        })?;
        let id = u32::try_from(self.statistics.len()).map_err(|error| ExportError::Value {
            what: "the number of interfaces",
            why: error.to_string(),
        })?;
        self.statistics.push(Statistics::default());
        self.interfaces.insert(interface.key, id);
        Ok(id)
    }
}

fn packet_options<'a>(packet: &ExportPacket<'a>) -> Vec<EnhancedPacketOption<'a>> {
    let mut options = Vec::with_capacity(5);
    match packet.direction {
        PacketDirection::Unknown => {}
        PacketDirection::Inbound => options.push(EnhancedPacketOption::Flags(EPB_FLAGS_INBOUND)),
        PacketDirection::Outbound => options.push(EnhancedPacketOption::Flags(EPB_FLAGS_OUTBOUND)),
    }
    if packet.drop_count > 0 {
        options.push(EnhancedPacketOption::DropCount(packet.drop_count));
    }
    let mut raw = |code, value: u64| {
        let value = Cow::Owned(value.to_le_bytes().to_vec());
        options.push(EnhancedPacketOption::Common(CommonOption::Unknown(UnknownOption { code, value })));
    };
    if let Some(packet_id) = packet.packet_id {
        raw(EPB_PACKETID, packet_id);
    }
    if let Some((pid, tid)) = packet.process {
        // Little-endian, as the section is: the process id comes first.
        raw(EPB_PROCESSID_THREADID, u64::from(pid) | u64::from(tid) << 32);
    }
    if let Some(comment) = packet.comment.and_then(text_option) {
        options.push(EnhancedPacketOption::Common(CommonOption::Comment(Cow::Borrowed(comment))));
    }
    options
}

/// A text as an option takes it: cut to [`COMMENT_LEN_MAX`] bytes, and none when there is nothing to say.
fn text_option(text: &str) -> Option<&str> {
    let text = &text[..text.floor_char_boundary(COMMENT_LEN_MAX)];
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
