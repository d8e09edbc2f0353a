//! `kcap sql`: one query, or a prompt.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::duration::{parse_duration_ms, parse_period_ms};
use super::exit::Usage;
use super::identity::IdentityArguments;
use super::output::{Content, Format, ResultWriter};
use super::size::parse_size;
use super::{open, prompt, script, tell_damage};
use crate::config::Config;
use crate::source::{Lake, Library, STANDARD_INPUT};
use crate::sql::{SessionSettings, error_line, new_lake_session, new_session, statements};

/// Arguments of `kcap sql`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kcap sql capture/ -c 'SELECT count(*) FROM packets'
  kcap sql capture/ --format csv -c \"SELECT ts, src_ip, dst_ip, len FROM packets WHERE src_ip = '10.0.0.1'\"
  kcap sql capture/                (a prompt: \\d lists tables, \\? helps)")]
pub(super) struct SqlArguments {
    /// Capture folders, segments, pcap or pcapng files (gzip and zstd too, - is standard input), or a Parquet folder that kcap wrote
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
    /// Protocols and their options (TOML, Packetbeat's names), for tables of transactions
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Silence after which a conversation of UDP or ICMP is over, and the reports of any flow end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration_ms)]
    flow_timeout: u64,
    /// Time between the reports of a flow in flow_reports; -1 for one at its end
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_period_ms, allow_hyphen_values = true)]
    flow_period: u64,
    /// Memory for sorting and grouping; beyond it they use temporary files
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    memory_limit: usize,
    #[command(flatten)]
    identity: IdentityArguments,
}

/// Runs the command.
pub(super) fn run(arguments: &SqlArguments) -> anyhow::Result<()> {
    if matches!(arguments.format, Format::Arrow | Format::Parquet) && std::io::stdout().is_terminal() {
        bail!(
            "Arrow and Parquet are for programs, and would garble the terminal: redirect the output to a file"
        );
    }
    if arguments.query.is_none()
        && arguments.sources.iter().any(|source| source.as_os_str() == STANDARD_INPUT)
    {
        return Err(Usage::error(
            "standard input is the capture, and cannot bring queries too: write SQL behind -c",
        ));
    }
    let config = arguments.config.as_deref().map(Config::open).transpose()?.unwrap_or_default();
    let settings = SessionSettings {
        protocols: config.protocols,
        duplicates: arguments.duplicates,
        memory_limit_bytes: arguments.memory_limit,
        flow_timeout_ms: arguments.flow_timeout,
        flow_period_ms: arguments.flow_period,
        ..SessionSettings::default()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let (context, library) = session(&runtime, arguments, &settings)?;
    let asker = Asker { runtime, context, library, format: arguments.format };
    match &arguments.query {
        Some(query) => match asker.answer(query)? {
            Answered { statements: 0, .. } => Err(Usage::error("empty query: write SQL behind -c")),
            _ => Ok(()),
        },
        None if std::io::stdin().is_terminal() => prompt::run(&asker),
        None => script::run(&asker, std::io::stdin().lock()),
    }
}

/// Answers queries on standard output.
pub(super) struct Asker {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) context: SessionContext,
    /// The recordings; none when the session is over Parquet.
    library: Option<Arc<Library>>,
    format: Format,
}

/// How much was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// Statements of the query.
    pub(super) statements: usize,
    /// Rows of all results.
    pub(super) rows: usize,
}

impl Asker {
    /// Answers the statements of a query, up to the first that fails.
    pub(super) fn answer(&self, query: &str) -> anyhow::Result<Answered> {
        self.runtime.block_on(self.answering(query))
    }

    /// As [`Self::answer`]; dropping it stops the query.
    pub(super) async fn answering(&self, query: &str) -> anyhow::Result<Answered> {
        let answered = answer(&self.context, query, self.format, BufWriter::new(std::io::stdout())).await;
        self.tell_damage();
        answered
    }

    /// Tells what damage left out of the answers so far.
    pub(super) fn tell_damage(&self) {
        if let Some(library) = &self.library {
            tell_damage(library);
        }
    }
}

/// A session over recordings, or over one Parquet folder.
fn session(
    runtime: &tokio::runtime::Runtime,
    arguments: &SqlArguments,
    settings: &SessionSettings,
) -> anyhow::Result<(SessionContext, Option<Arc<Library>>)> {
    let engine_error = |error| anyhow!(error_line(&error));
    let sources = &arguments.sources;
    let lakes = sources.iter().filter_map(|source| Lake::open(source).transpose());
    let lakes = lakes.collect::<crate::Result<Vec<_>>>()?;
    match lakes.as_slice() {
        [] => {
            let library = Arc::new(open(sources, &arguments.identity)?);
            let context = new_session(&library, settings).map_err(engine_error)?;
            Ok((context, Some(library)))
        }
        [lake] if sources.len() == 1 => {
            let context = runtime.block_on(new_lake_session(lake, settings)).map_err(engine_error)?;
            Ok((context, None))
        }
        _ => bail!("a Parquet folder is a source of its own: name it alone"),
    }
}

/// Writes the results of a query's statements, one after the other.
async fn answer(
    context: &SessionContext,
    query: &str,
    format: Format,
    mut output: impl Write + Send,
) -> anyhow::Result<Answered> {
    let engine_error = |error| anyhow!(error_line(&error));
    let state = context.state();
    let statements = statements(query).map_err(engine_error)?;
    let mut answered = Answered::default();
    for statement in statements {
        answered.statements += 1;
        let plan = state.statement_to_plan(statement).await.map_err(engine_error)?;
        let is_plan = matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        let content = if is_plan { Content::Plan } else { Content::Rows };
        let frame = context.execute_logical_plan(plan).await.map_err(engine_error)?;
        let mut stream = frame.execute_stream().await.map_err(engine_error)?;
        if stream.schema().fields().is_empty() {
            continue;
        }
        let mut writer = ResultWriter::new(format, &mut output, &stream.schema(), content)?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(engine_error)?;
            answered.rows += batch.num_rows();
            writer.write(&batch)?;
        }
        writer.finish()?;
    }
    output.flush()?;
    Ok(answered)
}
