//! `kcap convert`: writes recordings in other formats.

mod capture_file;
mod chosen;
mod ecs;
mod interfaces;
mod losses;
pub(super) mod output_file;
mod parquet;
mod payload;
mod segments;
mod waiting_runs;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::exit::Usage;
use super::identity::IdentityArguments;
use super::size::parse_size;
use super::{open, progress, tell_damage};
use crate::config::Config;
use crate::export::ecs::EcsFormat;
use crate::export::payload::PayloadFields;
use crate::sql::SessionSettings;
use chosen::Chosen;
use payload::AskedFields;

/// Arguments of `kcap convert`.
#[derive(Args, Debug)]
#[command(
    override_usage = "kcap convert --to FORMAT [OPTIONS] SOURCE… OUT|-",
    after_help = "Examples:
  kcap convert --to pcapng capture/ capture.pcapng
  kcap convert --to pcapng capture/ - | tshark -r -
  kcap convert --to pcapng --query \"SELECT flow_id FROM flows WHERE server_port = 443\" capture/ https.pcapng
  kcap convert --to parquet capture/ lake/        (folders table=…/date=…/host=…)
  kcap convert --to segments trace.pcap capture/  (or NAME.kcap: one file)
  kcap convert --to ecs --config kcap.toml capture/ - | jq .query
  kcap convert --to payload --meta process.name+pod.min capture/ - | jq .length

Fields for --meta (those of .min first):
  process    pid name  ppid cmd exe ns startedAt
  container  ID Name  Image ImageID Runtime CreatedAt Labels
  pod        ID Name Namespace  Labels Annotations"
)]
pub(super) struct ConvertArguments {
    /// What to write
    #[arg(long, value_enum)]
    to: Target,
    /// Write both copies of packets that went from one socket of the host to another
    #[arg(long)]
    duplicates: bool,
    /// Protocols, their options and processors of documents (TOML, Packetbeat's names), for ecs and ecs-bulk
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write only the packets that the answer of this query names, by packet_id or flow_id (pcapng, pcap)
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
    /// Leave the bytes out, and keep where, when and whose they were; otherwise they are there but for packets of payload
    /// tasks that skip them (payload)
    #[arg(long)]
    skip_payload: bool,
    /// What documents tell of the process, its container and its pod, as process.name+pod.min: process, container or pod,
    /// each alone or with .all, .min or the name of a field; unless set, what the payload task of the packets says, or
    /// everything (payload)
    #[arg(long, value_name = "SELECTORS")]
    meta: Option<String>,
    /// Memory for sorting; beyond it temporary files are used
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    memory_limit: usize,
    #[command(flatten)]
    identity: IdentityArguments,
    /// Capture folders, segments, pcap or pcapng files, and last the file or folder to write; - is standard output
    #[arg(required = true, value_name = "SOURCE OUT")]
    paths: Vec<PathBuf>,
}

/// What to say when there are too few paths.
const MISSING_OUT: &str =
    "name a SOURCE, and then OUT: the file or folder to write, or - for standard output";

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// For Wireshark, with processes in comments
    Pcapng,
    /// For older programs: times and bytes only
    Pcap,
    /// For DuckDB, Spark, pandas: a folder for each table
    Parquet,
    /// Of pcap and pcapng files: compressed, and faster to question
    Segments,
    /// A document in the Elastic Common Schema for each transaction, as JSON lines
    Ecs,
    /// The same for Elasticsearch's bulk API: POST it to /INDEX/_bulk
    EcsBulk,
    /// A document for each run of reassembled payload, with its process, as JSON lines
    Payload,
}

/// Runs the command.
pub(super) fn run(arguments: &ConvertArguments) -> anyhow::Result<()> {
    let [sources @ .., out] = arguments.paths.as_slice() else { return Err(Usage::error(MISSING_OUT)) };
    if sources.is_empty() {
        return Err(Usage::error(MISSING_OUT));
    }
    let is_packets = matches!(arguments.to, Target::Pcapng | Target::Pcap);
    if arguments.query.is_some() && !is_packets {
        return Err(Usage::error(
            "--query chooses packets, for --to pcapng and --to pcap; for other formats use kcap sql --format",
        ));
    }
    let is_stdout = out.as_os_str() == OsStr::new("-");
    if arguments.to == Target::Parquet && is_stdout {
        return Err(Usage::error(
            "Parquet is a folder of files, and cannot go to standard output: name a folder as OUT",
        ));
    }
    if arguments.to == Target::Segments && is_stdout {
        return Err(Usage::error(
            "segments cannot go to standard output: name a folder as OUT, or a file NAME.kcap",
        ));
    }
    let documents = matches!(arguments.to, Target::Ecs | Target::EcsBulk);
    let config = match &arguments.config {
        Some(_) if !documents => return Err(Usage::error("--config is for --to ecs and ecs-bulk")),
        Some(path) => Config::open(path)?,
        None => Config::default(),
    };
    let fields = payload_fields(arguments)?;
    let library = open(sources, &arguments.identity)?;
    if arguments.to != Target::Segments {
        output_file::refuse_recording(out, &library)?;
    }
    let bar = progress::bytes_bar(library.segments().map(crate::source::SegmentHandle::disk_len).sum());
    match arguments.to {
        Target::Pcapng | Target::Pcap => {
            let write = if arguments.to == Target::Pcap { capture_file::pcap } else { capture_file::pcapng };
            let library = Arc::new(library);
            let chosen = match &arguments.query {
                Some(query) => Chosen::by(query, &library, &settings(arguments))?,
                None => Chosen::All,
            };
            write(&library, &chosen, arguments.duplicates, out, &bar)?;
            tell_damage(&library);
        }
        Target::Segments => {
            segments::write(&library, out, &bar)?;
            tell_damage(&library);
        }
        Target::Ecs | Target::EcsBulk => {
            let format = if arguments.to == Target::Ecs { EcsFormat::Ndjson } else { EcsFormat::Bulk };
            let library = Arc::new(library);
            ecs::write(&library, &config, format, out, &bar)?;
            tell_damage(&library);
        }
        Target::Payload => {
            let library = Arc::new(library);
            payload::write(&library, &fields, out, &bar)?;
            tell_damage(&library);
        }
        Target::Parquet => {
            let settings = parquet::Settings {
                duplicates: arguments.duplicates,
                memory_limit_bytes: arguments.memory_limit,
                folder: out,
            };
            parquet::write(library, &settings, &bar)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// What `--skip-payload` and `--meta` ask for.
fn payload_fields(arguments: &ConvertArguments) -> anyhow::Result<AskedFields> {
    if arguments.to != Target::Payload && (arguments.skip_payload || arguments.meta.is_some()) {
        return Err(Usage::error("--skip-payload and --meta are for --to payload"));
    }
    let meta = arguments.meta.as_deref().map(PayloadFields::selected).transpose().map_err(|selector| {
        Usage::error(format!(
            "--meta: '{selector}' selects nothing: name process, container or pod, alone or with .all, .min or a field, as process.name+pod.min"
        ))
    })?;
    Ok(AskedFields { skip_payload: arguments.skip_payload, meta })
}

/// The session of `--query`.
fn settings(arguments: &ConvertArguments) -> SessionSettings {
    SessionSettings {
        duplicates: arguments.duplicates,
        memory_limit_bytes: arguments.memory_limit,
        ..SessionSettings::default()
    }
}
