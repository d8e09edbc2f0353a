//! The command line: one file a command.

mod convert;
mod duration;
mod escape;
mod exit;
mod follow;
mod identity;
mod info;
mod output;
mod progress;
mod prompt;
mod record;
mod repair;
mod report;
mod script;
mod size;
mod sql;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::source::Library;
use escape::escaped;
use identity::IdentityArguments;

/// Ask recordings of a host's traffic: SQL, overview, and export to Wireshark and Parquet.
#[derive(Debug, Parser)]
#[command(name = "kcap", version, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  kcap info capture/\n  kcap sql capture/ -c 'SELECT process_name, sum(len) FROM packets GROUP BY 1 ORDER BY 2 DESC'\n  kcap convert --to pcapng capture/ capture.pcapng"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask SQL of recordings, once with -c or at a prompt
    Sql(sql::SqlArguments),
    /// Show what a recording holds: host, time, segments, counts, losses
    Info(info::InfoArguments),
    /// Show what the two sides of a flow sent
    Follow(follow::FollowArguments),
    /// Write one page about recordings: traffic over time, talkers, flows, losses
    Report(report::ReportArguments),
    /// Write recordings as pcapng, pcap, Parquet or documents, and pcap files as recordings
    Convert(convert::ConvertArguments),
    /// Check every byte of recordings, and that no segment is missing
    Verify(verify::VerifyArguments),
    /// Make a clean recording of what is whole of a damaged one
    Repair(repair::RepairArguments),
    /// Record this host (runs kcap-record, which must be installed beside kcap)
    Record(record::RecordArguments),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let result = match arguments.command {
        Command::Sql(arguments) => sql::run(&arguments),
        Command::Info(arguments) => info::run(&arguments),
        Command::Follow(arguments) => follow::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Repair(arguments) => repair::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
    };
    exit::code(result)
}

/// Tells on stderr what damage left out of an answer.
fn tell_damage(library: &Library) {
    library.take_damage_lines().iter().for_each(|line| eprintln!("kcap: {}", escaped(line)));
}

/// Opens the sources and tells on stderr what is missing of them.
fn open(sources: &[PathBuf], identity: &IdentityArguments) -> crate::Result<Library> {
    let library = Library::open_with(sources, &identity.read()?)?;
    for problem in &library.problems {
        eprintln!("kcap: {}", escaped(problem));
    }
    Ok(library)
}
