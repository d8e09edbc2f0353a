//! `kcap convert`: writes recordings in other formats.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::size::parse_size;

/// Arguments of `kcap convert`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kcap convert --to pcapng capture/ capture.pcapng
  kcap convert --to pcapng capture/ - | tshark -r -
  kcap convert --to parquet capture/ lake/        (folders table=…/date=…/host=…)")]
pub(super) struct ConvertArguments {
    /// What to write
    #[arg(long, value_enum)]
    to: Target,
    /// Write both copies of packets that went from one socket of the host to another
    #[arg(long)]
    duplicates: bool,
    /// Memory for sorting; beyond it temporary files are used
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    memory_limit: usize,
    /// Capture folders or segments, and last the file or folder to write; - is standard output
    #[arg(required = true, num_args = 2.., value_names = ["SOURCE", "OUT"])]
    paths: Vec<PathBuf>,
}

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// For Wireshark, with processes in comments
    Pcapng,
    /// For older programs: times and bytes only
    Pcap,
    /// For DuckDB, Spark, pandas: a folder for each table
    Parquet,
}

/// Runs the command.
pub(super) fn run(arguments: &ConvertArguments) -> anyhow::Result<()> {
    anyhow::bail!("{:?}", arguments)
}
