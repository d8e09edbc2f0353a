//! The prompt's own commands, which begin with a backslash.

use std::io::Write;

use anyhow::bail;

use crate::table::documentation;

/// Whether the prompt goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    Leave,
}

const HELP: &str = "\\d          lists the tables
\\d TABLE    lists the columns of a table
\\q          leaves (as Ctrl-D does)
\\?          shows this
SET kcap.duplicates = true;   shows both copies of local packets
Ctrl-C ends a query or clears the line. Tab completes tables, columns, functions and keywords.";

/// Runs a command without its backslash.
pub(crate) fn run(command: &str, output: &mut impl Write) -> anyhow::Result<Next> {
    let command = command.trim_end_matches(';').trim();
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match (name, argument.trim()) {
        ("q" | "quit", _) => return Ok(Next::Leave),
        ("?" | "h" | "help", _) => writeln!(output, "{HELP}")?,
        ("d", "") => list_tables(output)?,
        ("d", table) => describe(table, output)?,
        (name, _) => bail!("there is no command \\{name}; \\? lists them"),
    }
    output.flush()?;
    Ok(Next::Stay)
}

fn list_tables(output: &mut impl Write) -> anyhow::Result<()> {
    let tables = documentation();
    let width = tables.iter().map(|table| table.name.len()).max().unwrap_or(0);
    for table in tables {
        writeln!(output, "{:width$}  {}", table.name, table.summary)?;
    }
    Ok(())
}

fn describe(name: &str, output: &mut impl Write) -> anyhow::Result<()> {
    let Some(table) = documentation().into_iter().find(|table| table.name == name) else {
        bail!("there is no table {name}; \\d lists them");
    };
    writeln!(output, "{}", table.summary)?;
    let names = table.columns.iter().map(|(field, _)| field.name().len());
    let width = names.max().unwrap_or(0);
    for (field, description) in &table.columns {
        writeln!(output, "  {:width$}  {description}", field.name())?;
    }
    Ok(())
}
