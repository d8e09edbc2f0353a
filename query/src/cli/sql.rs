//! `kcap sql`: one query, or a prompt.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::DFParser;
use futures::StreamExt;

use super::output::{Format, ResultWriter};
use super::size::parse_size;
use super::{open, prompt};
use crate::source::Lake;
use crate::sql::{SessionSettings, error_line, new_lake_session, new_session};

/// Arguments of `kcap sql`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kcap sql capture/ -c 'SELECT count(*) FROM packets'
  kcap sql capture/ --format csv -c \"SELECT ts, src_ip, dst_ip, len FROM packets WHERE src_ip = '10.0.0.1'\"
  kcap sql capture/                (a prompt: \\d lists tables, \\? helps)")]
pub(super) struct SqlArguments {
    /// Capture folders or segments, or a Parquet folder that kcap wrote
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Answer this query and leave
    #[arg(short = 'c', long = "command", value_name = "QUERY", allow_hyphen_values = true)]
    query: Option<String>,
    /// How the result is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Show both copies of packets that went from one socket of the host to another
    #[arg(long)]
    duplicates: bool,
    /// Memory for sorting and grouping; beyond it they use temporary files
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    memory_limit: usize,
}

/// Runs the command.
pub(super) fn run(arguments: &SqlArguments) -> anyhow::Result<()> {
    if matches!(arguments.format, Format::Arrow | Format::Parquet) && std::io::stdout().is_terminal() {
        bail!(
            "Arrow and Parquet are for programs, and would garble the terminal: redirect the output to a file"
        );
    }
    let settings = SessionSettings {
        duplicates: arguments.duplicates,
        memory_limit_bytes: arguments.memory_limit,
        ..SessionSettings::default()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let context = session(&runtime, &arguments.sources, &settings)?;
    match &arguments.query {
        Some(query) => {
            let output = BufWriter::new(std::io::stdout());
            runtime.block_on(answer(&context, query, arguments.format, output)).map(|_| ())
        }
        None => prompt::run(&runtime, &context, arguments.format),
    }
}

/// A session over recordings, or over one Parquet folder.
fn session(
    runtime: &tokio::runtime::Runtime,
    sources: &[PathBuf],
    settings: &SessionSettings,
) -> anyhow::Result<SessionContext> {
    let engine_error = |error| anyhow!(error_line(&error));
    let lakes = sources.iter().filter_map(|source| Lake::open(source).transpose());
    let lakes = lakes.collect::<crate::Result<Vec<_>>>()?;
    match lakes.as_slice() {
        [] => new_session(&Arc::new(open(sources)?), settings).map_err(engine_error),
        [lake] if sources.len() == 1 => {
            runtime.block_on(new_lake_session(lake, settings)).map_err(engine_error)
        }
        _ => bail!("a Parquet folder is a source of its own: name it alone"),
    }
}

/// Writes the result of a query; gives the number of rows.
pub(super) async fn answer(
    context: &SessionContext,
    query: &str,
    format: Format,
    mut output: impl Write + Send,
) -> anyhow::Result<usize> {
    let engine_error = |error| anyhow!(error_line(&error));
    let state = context.state();
    let statements = DFParser::parse_sql(query).map_err(engine_error)?;
    let mut rows = 0;
    for statement in statements {
        let plan = state.statement_to_plan(statement).await.map_err(engine_error)?;
        let frame = context.execute_logical_plan(plan).await.map_err(engine_error)?;
        let mut stream = frame.execute_stream().await.map_err(engine_error)?;
        if stream.schema().fields().is_empty() {
            continue;
        }
        let mut writer = ResultWriter::new(format, &mut output, &stream.schema())?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(engine_error)?;
            rows += batch.num_rows();
            writer.write(&batch)?;
        }
        writer.finish()?;
    }
    output.flush()?;
    Ok(rows)
}
