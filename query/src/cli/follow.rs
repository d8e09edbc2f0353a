//! `kcap follow`: the bytes of one flow, in order.

mod render;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, ValueEnum};
use kcap_dissect::flow::{
    COMMUNITY_ID_SEED, CloseReason, Datagram, Flow, FlowConsumer, FlowOptions, Side, community_id,
};
use kcap_dissect::stream::{DisagreementFact, Dropped, EndReason, Gap, PacketRef, StreamData};

use super::exit::Usage;
use super::identity::IdentityArguments;
use super::{open, tell_damage};
use crate::flows::{PacketConsumer, PassSettings, follow};
use crate::table::FlowIds;
use crate::table::packets::PacketBlock;
use render::{Piece, Renderer};

/// Arguments of `kcap follow`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kcap follow 1:LQU9qZlK+B5F3KDmev6m5PMibrg= capture/
  kcap follow 8215340972364 capture/ --format hex
  kcap follow 8215340972364 capture.pcap --format raw --side server > answer.bin

FLOW is a flow_id or a community_id of the table flows.")]
pub(super) struct FollowArguments {
    /// The flow: its flow_id or community_id
    #[arg(value_name = "FLOW")]
    flow: String,
    /// Capture folders, segments, pcap or pcapng files
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// How the bytes are written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Whose bytes
    #[arg(long, value_enum, default_value = "both")]
    side: Sides,
    #[command(flatten)]
    identity: IdentityArguments,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text, with what is none spelled out
    Text,
    /// Offsets, hexadecimal digits and characters
    Hex,
    /// The bytes alone; gaps are left out and told on stderr
    Raw,
}

/// Whose bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sides {
    /// Both sides, in the order in which they spoke
    Both,
    /// The side that began
    Client,
    /// The other side
    Server,
}

impl Sides {
    fn has(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::Client => side == Side::Client,
            Self::Server => side == Side::Server,
        }
    }
}

/// What a person calls a flow.
#[derive(Clone, Debug)]
enum Name {
    FlowId(u64),
    CommunityId(String),
}

impl Name {
    fn parse(text: &str) -> anyhow::Result<Self> {
        if text.starts_with("1:") {
            return Ok(Self::CommunityId(text.to_owned()));
        }
        text.parse().map(Self::FlowId).map_err(|_| {
            Usage::error(format!(
                "'{text}' names no flow: give a flow_id (a number) or a community_id (1:…) of the table flows"
            ))
        })
    }

    fn is(&self, flow: &Flow) -> bool {
        match self {
            Self::FlowId(id) => flow.flow_id == *id,
            Self::CommunityId(id) => {
                let key = &flow.key;
                let (client, server) =
                    flow.icmp.map_or((key.source_port, key.destination_port), |(kind, code)| {
                        (kind.into(), code.into())
                    });
                let ends = ((&key.source, client), (&key.destination, server));
                community_id(COMMUNITY_ID_SEED, ends.0, ends.1, key.protocol) == *id
            }
        }
    }
}

/// Runs the command.
pub(super) fn run(arguments: &FollowArguments) -> anyhow::Result<()> {
    let name = Name::parse(&arguments.flow)?;
    let library = Arc::new(open(&arguments.sources, &arguments.identity)?);
    let flow_ids = match &name {
        Name::FlowId(flow_id) => Some(FlowIds::one(*flow_id)),
        Name::CommunityId(_) => None,
    };
    let settings = PassSettings { flows: FlowOptions::default(), bytes: true, owners: false, flow_ids };
    let mut output = BufWriter::new(std::io::stdout().lock());
    let renderer = Renderer::new(arguments.format);
    let mut found = false;
    let mut failed = None;
    let consumer = || Follower { name: name.clone(), sides: arguments.side, pieces: Vec::new() };
    let followed = follow(&library, &settings, consumer, |follower| {
        for piece in follower.pieces.drain(..) {
            found = true;
            if let Err(error) = renderer.write(&piece, &mut output) {
                failed = Some(error);
                return Err(crate::Error::Stopped);
            }
        }
        Ok(())
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    followed?;
    output.flush()?;
    tell_damage(&library);
    if !found {
        bail!(
            "no flow {} in the sources: kcap sql SOURCE -c 'SELECT flow_id, community_id, ip_text(client_ip), \
             ip_text(server_ip) FROM flows' lists them",
            arguments.flow
        );
    }
    Ok(())
}

/// Gathers the pieces of the flow.
struct Follower {
    name: Name,
    sides: Sides,
    pieces: Vec<Piece>,
}

impl Follower {
    fn push(&mut self, wanted: &mut Option<bool>, flow: &Flow, side: Side, piece: impl FnOnce() -> Piece) {
        if self.is_wanted(wanted, flow) && self.sides.has(side) {
            self.pieces.push(piece());
        }
    }

    fn is_wanted(&self, wanted: &mut Option<bool>, flow: &Flow) -> bool {
        *wanted.get_or_insert_with(|| self.name.is(flow))
    }
}

impl PacketConsumer for Follower {
    fn begin(&mut self, _: &Arc<PacketBlock>, _: usize) {}
}

impl FlowConsumer for Follower {
    /// Whether this is the flow.
    type State = Option<bool>;

    fn opened(&mut self, flow: &Flow, wanted: &mut Option<bool>) {
        if self.is_wanted(wanted, flow) {
            self.pieces.push(Piece::opened(flow));
        }
    }

    fn data(&mut self, flow: &Flow, wanted: &mut Option<bool>, side: Side, data: StreamData<'_>) {
        self.push(wanted, flow, side, || Piece::Bytes {
            side,
            offset: Some(data.offset),
            packet: data.packet,
            bytes: data.bytes.to_vec(),
        });
    }

    fn datagram(&mut self, flow: &Flow, wanted: &mut Option<bool>, side: Side, datagram: Datagram<'_>) {
        self.push(wanted, flow, side, || Piece::Bytes {
            side,
            offset: None,
            packet: datagram.packet,
            bytes: datagram.payload.to_vec(),
        });
        let missing = datagram.payload_len as usize - datagram.payload.len();
        if missing > 0 {
            self.push(wanted, flow, side, || {
                Piece::Note(side, format!("{missing} bytes of this datagram were not captured"))
            });
        }
    }

    fn gap(&mut self, flow: &Flow, wanted: &mut Option<bool>, side: Side, gap: Gap) {
        self.push(wanted, flow, side, || {
            let reason = gap.reason.as_str().replace('_', " ");
            Piece::Note(side, format!("{} bytes missing at offset {}: {reason}", gap.len, gap.offset))
        });
    }

    fn disagreement(&mut self, flow: &Flow, wanted: &mut Option<bool>, side: Side, fact: DisagreementFact) {
        self.push(wanted, flow, side, || {
            Piece::Note(side, format!("{} bytes at offset {} came twice and differ", fact.len, fact.offset))
        });
    }

    fn dropped(&mut self, flow: &Flow, wanted: &mut Option<bool>, side: Side, dropped: Dropped) {
        self.push(wanted, flow, side, || {
            let reason = dropped.reason.as_str().replace('_', " ");
            Piece::Note(side, format!("{} bytes without a place in the stream: {reason}", dropped.len))
        });
    }

    fn end(
        &mut self,
        flow: &Flow,
        wanted: &mut Option<bool>,
        side: Side,
        reason: EndReason,
        offset: u64,
        _: PacketRef,
    ) {
        self.push(wanted, flow, side, || {
            Piece::Note(side, format!("end after {offset} bytes: {}", reason.as_str().replace('_', " ")))
        });
    }

    fn closed(&mut self, _: &Flow, _: Option<bool>, _: CloseReason) {}
}
