//! The prompt of `kcap sql`.

mod helper;
mod history;
pub(super) mod meta;

use std::io::BufWriter;
use std::time::Instant;

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::{Config, Editor};

use super::escape::escaped;
use super::exit::{is_broken_pipe, text_of};
use super::sql::Asker;
use helper::SqlHelper;

/// What the prompt shows.
const PROMPT: &str = "kcap> ";

/// Lines of the history that are kept.
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads queries and answers them until the input ends.
pub(super) fn run(asker: &Asker) -> anyhow::Result<()> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .auto_add_history(true)
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).context("cannot use the terminal")?;
    editor.set_helper(Some(SqlHelper::new(&asker.context)));
    let history = history::path();
    if let Some(path) = &history {
        // A first run has no history.
        let _ = editor.load_history(path);
    }
    println!("\\d lists tables, \\? helps, \\q leaves. A query ends with a semicolon.");
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
            match meta::run(command, &mut BufWriter::new(std::io::stdout())) {
                Ok(meta::Next::Leave) => break,
                Ok(meta::Next::Stay) => {}
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => eprintln!("{}", text_of(&error)),
            }
            continue;
        }
        match answer_until_interrupted(asker, text) {
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => eprintln!("{}", escaped(&text_of(&error))),
            Ok(Some(summary)) => println!("({summary})"),
            Ok(None) => {}
        }
    }
    if let Some(path) = &history {
        history::save(&mut editor, path);
    }
    Ok(())
}

/// Answers a query; Ctrl-C ends it. Gives what is worth saying below the result.
fn answer_until_interrupted(asker: &Asker, query: &str) -> anyhow::Result<Option<String>> {
    let start = Instant::now();
    asker.runtime.block_on(async {
        tokio::select! {
            answered = asker.answering(query) => {
                let rows = answered?.rows;
                let noun = if rows == 1 { "row" } else { "rows" };
                Ok(Some(format!("{rows} {noun} in {:.2} s", start.elapsed().as_secs_f64())))
            }
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.context("cannot wait for Ctrl-C")?;
                asker.tell_damage();
                eprintln!("stopped");
                Ok(None)
            }
        }
    })
}
