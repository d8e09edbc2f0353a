//! The prompt's own commands, which begin with a backslash.

use crate::table::documentation;

/// Whether the prompt goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
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
pub(super) fn run(command: &str) -> Next {
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match (name, argument.trim()) {
        ("q" | "quit", _) => return Next::Leave,
        ("?" | "h" | "help", _) => println!("{HELP}"),
        ("d", "") => list_tables(),
        ("d", table) => describe(table),
        (name, _) => eprintln!("there is no command \\{name}; \\? lists them"),
    }
    Next::Stay
}

fn list_tables() {
    let tables = documentation();
    let width = tables.iter().map(|table| table.name.len()).max().unwrap_or(0);
    for table in tables {
        println!("{:width$}  {}", table.name, table.summary);
    }
}

fn describe(name: &str) {
    let Some(table) = documentation().into_iter().find(|table| table.name == name) else {
        eprintln!("there is no table {name}; \\d lists them");
        return;
    };
    println!("{}", table.summary);
    let names = table.columns.iter().map(|(field, _)| field.name().len());
    let width = names.max().unwrap_or(0);
    for (field, description) in &table.columns {
        println!("  {:width$}  {description}", field.name());
    }
}
