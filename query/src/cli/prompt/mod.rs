//! The prompt of `kcap sql`.

mod helper;
mod history;
mod meta;

use std::io::{BufWriter, IsTerminal};
use std::time::Instant;

use anyhow::Context;
use datafusion::prelude::SessionContext;
use rustyline::error::ReadlineError;
use rustyline::{Config, Editor};
use tokio::runtime::Runtime;

use super::exit::is_broken_pipe;
use super::output::Format;
use super::sql::answer;
use helper::SqlHelper;

/// What the prompt shows.
const PROMPT: &str = "kcap> ";

/// Lines of the history that are kept.
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads queries and answers them until the input ends.
pub(super) fn run(runtime: &Runtime, context: &SessionContext, format: Format) -> anyhow::Result<()> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .auto_add_history(true)
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).context("cannot use the terminal")?;
    editor.set_helper(Some(SqlHelper::new(context)));
    let history = history::path();
    if let Some(path) = &history {
        // A first run has no history.
        let _ = editor.load_history(path);
    }
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        println!("\\d lists tables, \\? helps, \\q leaves. A query ends with a semicolon.");
    }
    loop {
        let text = match editor.readline(PROMPT) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        if let Some(command) = text.strip_prefix('\\') {
            let command = command.trim_end_matches(';').trim();
            if meta::run(command, &mut BufWriter::new(std::io::stdout()))? == meta::Next::Leave {
                break;
            }
            continue;
        }
        match answer_until_interrupted(runtime, context, text, format) {
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => eprintln!("{error:#}"),
            Ok(Some(summary)) if is_terminal => println!("({summary})"),
            Ok(_) => {}
        }
    }
    if let Some(path) = &history {
        history::save(&mut editor, path);
    }
    Ok(())
}

/// Answers a query; Ctrl-C ends it. Gives what is worth saying below the result.
fn answer_until_interrupted(
    runtime: &Runtime,
    context: &SessionContext,
    query: &str,
    format: Format,
) -> anyhow::Result<Option<String>> {
    let start = Instant::now();
    runtime.block_on(async {
        tokio::select! {
            rows = answer(context, query, format, BufWriter::new(std::io::stdout())) => {
                let rows = rows?;
                let noun = if rows == 1 { "row" } else { "rows" };
                Ok(Some(format!("{rows} {noun} in {:.2} s", start.elapsed().as_secs_f64())))
            }
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.context("cannot wait for Ctrl-C")?;
                eprintln!("stopped");
                Ok(None)
            }
        }
    })
}
