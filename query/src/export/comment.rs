//! The comment of a packet: whose it was, and how that is known.

use std::fmt::Write;

/// Most bytes of a command line in a comment; the table `processes` has all of it.
pub const COMMAND_LINE_LEN_MAX: usize = 1024;

/// One end of a packet, as its comment tells of it.
#[derive(Clone, Copy, Debug)]
pub struct CommentEnd<'a> {
    /// "sender" or "receiver".
    pub role: &'a str,
    /// The process; `None` when none is known.
    pub process: Option<CommentProcess<'a>>,
    /// How the process is known, or why none is: the column `attribution`.
    pub attribution: &'a str,
}

/// A process, as a comment tells of it.
#[derive(Clone, Copy, Debug)]
pub struct CommentProcess<'a> {
    /// Its id.
    pub pid: u32,
    /// Its name; may be empty.
    pub name: &'a str,
    /// Its command line; may be empty.
    pub command_line: &'a str,
}

/// Appends a line for an end to a comment, for instance `sender: curl (pid 1234): curl http://[::1]/ [cookie]`.
///
/// Control characters are escaped, so that a line stays a line and a terminal that shows it is safe.
pub fn add_comment_line(comment: &mut String, end: &CommentEnd<'_>) {
    if !comment.is_empty() {
        comment.push('\n');
    }
    comment.push_str(end.role);
    comment.push_str(": ");
    match &end.process {
        None => comment.push_str("unknown"),
        Some(process) => {
            if process.name.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(comment, "pid {}", process.pid);
            } else {
                push_escaped(comment, process.name);
                let _ = write!(comment, " (pid {})", process.pid);
            }
            if !process.command_line.is_empty() {
                comment.push_str(": ");
                let kept = process.command_line.floor_char_boundary(COMMAND_LINE_LEN_MAX);
                push_escaped(comment, &process.command_line[..kept]);
                if kept < process.command_line.len() {
                    comment.push('…');
                }
            }
        }
    }
    let _ = write!(comment, " [{}]", end.attribution);
}

/// Appends a line with the payload tasks that asked for the packet, for instance `payload tasks: shop, database`; none when there
/// are none.
pub fn add_tasks_line(comment: &mut String, tasks: &[impl AsRef<str>]) {
    for (place, task) in tasks.iter().enumerate() {
        comment.push_str(match place {
            0 if comment.is_empty() => "payload tasks: ",
            0 => "\npayload tasks: ",
            _ => ", ",
        });
        push_escaped(comment, task.as_ref());
    }
}

fn push_escaped(comment: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            comment.extend(character.escape_default());
        } else {
            comment.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(ends: &[CommentEnd<'_>]) -> String {
        let mut comment = String::new();
        ends.iter().for_each(|end| add_comment_line(&mut comment, end));
        comment
    }

    #[test]
    fn a_line_for_each_end() {
        let curl = CommentProcess { pid: 1234, name: "curl", command_line: "curl http://[::1]/" };
        let nameless = CommentProcess { pid: 7, name: "", command_line: "" };
        let ends = [
            CommentEnd { role: "sender", process: Some(curl), attribution: "cookie" },
            CommentEnd { role: "receiver", process: Some(nameless), attribution: "proc_scan" },
            CommentEnd { role: "sender", process: None, attribution: "kernel" },
        ];
        let expected = "sender: curl (pid 1234): curl http://[::1]/ [cookie]\nreceiver: pid 7 [proc_scan]\n\
                        sender: unknown [kernel]";
        assert_eq!(lines(&ends), expected);
    }

    #[test]
    fn payload_tasks_are_the_last_line() {
        let end = CommentEnd { role: "sender", process: None, attribution: "kernel" };
        let mut comment = lines(&[end]);
        add_tasks_line(&mut comment, &[] as &[&str]);
        assert_eq!(comment, "sender: unknown [kernel]");
        add_tasks_line(&mut comment, &["shop", "a\nb"]);
        assert_eq!(comment, "sender: unknown [kernel]\npayload tasks: shop, a\\nb");
        comment.clear();
        add_tasks_line(&mut comment, &["shop"]);
        assert_eq!(comment, "payload tasks: shop");
    }

    #[test]
    fn names_cannot_forge_lines_or_move_the_cursor() {
        let hostile = CommentProcess { pid: 1, name: "a\nreceiver: root", command_line: "x\u{1b}[2J" };
        let end = CommentEnd { role: "sender", process: Some(hostile), attribution: "cookie" };
        assert_eq!(lines(&[end]), "sender: a\\nreceiver: root (pid 1): x\\u{1b}[2J [cookie]");
    }

    #[test]
    fn long_command_lines_are_cut() {
        let long = "é".repeat(COMMAND_LINE_LEN_MAX);
        let process = CommentProcess { pid: 1, name: "x", command_line: &long };
        let line = lines(&[CommentEnd { role: "sender", process: Some(process), attribution: "cookie" }]);
        assert!(line.ends_with("é… [cookie]"), "{line}");
        assert!(line.len() < COMMAND_LINE_LEN_MAX + 50);
    }
}
