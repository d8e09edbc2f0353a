//! `kcap sql` when its input is no terminal: a script of statements, and of the prompt's own commands.

use std::io::{BufWriter, Read};

use anyhow::Context;

use super::prompt::meta;
use super::sql::Asker;

/// Runs a script up to its end, or to the first error.
pub(super) fn run(asker: &Asker, mut input: impl Read) -> anyhow::Result<()> {
    let mut text = String::new();
    input.read_to_string(&mut text).context("cannot read the standard input")?;
    for part in parts(&text) {
        match part {
            Part::Queries(queries) => {
                asker.answer(queries)?;
            }
            Part::Command(command) => {
                if meta::run(command, &mut BufWriter::new(std::io::stdout()))? == meta::Next::Leave {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A part of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Statements with semicolons between.
    Queries(&'a str),
    /// A line that begins with a backslash, without it.
    Command(&'a str),
}

/// Cuts a script at the lines that are commands: those that begin with a backslash where no statement is open.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        let queries = text[begin..end].trim();
        if let Some(command) = line.trim().strip_prefix('\\')
            && (queries.is_empty() || queries.ends_with(';'))
        {
            parts.push(Part::Queries(queries));
            parts.push(Part::Command(command));
            begin = end + line.len();
        }
        end += line.len();
    }
    parts.push(Part::Queries(text[begin..].trim()));
    parts.retain(|part| *part != Part::Queries(""));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_between_statements() {
        use Part::{Command, Queries};
        assert_eq!(parts("SELECT 1"), [Queries("SELECT 1")]);
        assert_eq!(parts(" \n"), []);
        assert_eq!(
            parts("\\d packets;\nSELECT 1;\nSELECT\n2;\n\\q\n"),
            [Command("d packets;"), Queries("SELECT 1;\nSELECT\n2;"), Command("q")]
        );
        assert_eq!(parts("SELECT '\n\\d\n'"), [Queries("SELECT '\n\\d\n'")]);
    }
}
