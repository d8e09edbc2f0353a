//! Pieces of a flow for people and programs.

use std::io::{self, Write};
use std::net::Ipv6Addr;

use kcap_dissect::flow::{Flow, Side};
use kcap_dissect::stream::PacketRef;

use super::Format;
use crate::cli::escape::escaped_text;

/// Bytes of a line of hexadecimal digits.
const HEX_LINE_LEN: usize = 16;

/// Something that is shown.
#[derive(Debug)]
pub(super) enum Piece {
    /// A conversation begins: its ends.
    Opened(String),
    /// Bytes; of a stream with their offset.
    Bytes { side: Side, offset: Option<u64>, packet: PacketRef, bytes: Vec<u8> },
    /// What else a person should know.
    Note(Side, String),
}

impl Piece {
    pub(super) fn opened(flow: &Flow) -> Self {
        let end = |address: [u8; 16], port: u16| {
            let address = Ipv6Addr::from(address).to_canonical();
            match (flow.icmp, address.is_ipv6()) {
                (Some(_), _) => address.to_string(),
                (None, true) => format!("[{address}]:{port}"),
                (None, false) => format!("{address}:{port}"),
            }
        };
        let key = &flow.key;
        Self::Opened(format!(
            "flow {}, protocol {}, client {}, server {}",
            flow.flow_id,
            key.protocol,
            end(key.source, key.source_port),
            end(key.destination, key.destination_port)
        ))
    }
}

/// Writes pieces.
#[derive(Debug)]
pub(super) struct Renderer {
    format: Format,
}

impl Renderer {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(super) fn write(&self, piece: &Piece, output: &mut impl Write) -> io::Result<()> {
        match (self.format, piece) {
            (Format::Raw, Piece::Bytes { bytes, .. }) => output.write_all(bytes),
            // Nothing but the bytes goes where programs read.
            (Format::Raw, Piece::Opened(_)) => Ok(()),
            (Format::Raw, Piece::Note(side, note)) if !note.starts_with("end") => {
                eprintln!("kcap: {}: {note}", side.as_str());
                Ok(())
            }
            (Format::Raw, Piece::Note(..)) => Ok(()),
            (_, Piece::Opened(ends)) => writeln!(output, "=== {ends}"),
            (_, Piece::Note(side, note)) => writeln!(output, "--- {}: {note}", side.as_str()),
            (format, Piece::Bytes { side, offset, packet, bytes }) => {
                let place = offset.map_or_else(String::new, |offset| format!(", offset {offset}"));
                let (who, packet_id, len) = (side.as_str(), packet.packet_id, bytes.len());
                writeln!(output, "--- {who}: {len} bytes{place}, packet {packet_id}")?;
                if format == Format::Hex {
                    hex(bytes, offset.unwrap_or(0), output)
                } else {
                    text(bytes, output)
                }
            }
        }
    }
}

/// Lines of text; what a terminal could take for a command is spelled out.
fn text(bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
    let text = escaped_text(bytes);
    output.write_all(text.as_bytes())?;
    if text.ends_with('\n') || text.is_empty() { Ok(()) } else { writeln!(output) }
}

/// As `hexdump -C` shows bytes.
fn hex(bytes: &[u8], offset: u64, output: &mut impl Write) -> io::Result<()> {
    for (line, chunk) in bytes.chunks(HEX_LINE_LEN).enumerate() {
        let digits: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let characters: String =
            chunk.iter().map(|byte| if is_shown(byte) { char::from(*byte) } else { '.' }).collect();
        let at = offset + (line * HEX_LINE_LEN) as u64;
        writeln!(output, "{at:08x}  {:<47}  |{characters}|", digits.join(" "))?;
    }
    Ok(())
}
