//! Owners as the comments of a capture file tell of them: what `kcap convert --to pcapng` wrote comes back.

use std::collections::HashMap;

use kcap_dissect::attribute::Attribution;

/// Names of the ends in comments, in their order here.
pub(super) const ROLES: [&str; 2] = ["sender: ", "receiver: "];

/// A line of a comment that tells of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ToldEnd<'a> {
    /// The process, if one was known.
    pub(super) process: Option<ToldProcess<'a>>,
    /// How it was known, or why not.
    pub(super) attribution: Attribution,
}

/// A process, as a comment tells of it. Texts may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ToldProcess<'a> {
    pub(super) pid: u32,
    pub(super) name: &'a str,
    pub(super) command_line: &'a str,
}

/// Reads what a comment tells of both ends: lines of the form `ROLE: NAME (pid PID): COMMAND LINE [ATTRIBUTION]`. Other lines are
/// somebody's remarks.
pub(super) fn ends(comment: &str) -> [Option<ToldEnd<'_>>; 2] {
    let mut ends = [None; 2];
    for line in comment.lines() {
        for (end, role) in ends.iter_mut().zip(ROLES) {
            if let Some(rest) = line.strip_prefix(role) {
                *end = told_end(rest).or(*end);
            }
        }
    }
    ends
}

fn told_end(text: &str) -> Option<ToldEnd<'_>> {
    let (text, attribution) = text.strip_suffix(']')?.rsplit_once(" [")?;
    let attribution = Attribution::ALL.into_iter().find(|known| known.as_str() == attribution)?;
    if text == "unknown" {
        return Some(ToldEnd { process: None, attribution });
    }
    let nameless = text.strip_prefix("pid ").and_then(|rest| told_pid("", rest, ""));
    let process = nameless.or_else(|| {
        let (name, rest) = text.split_once(" (pid ")?;
        told_pid(name, rest, ")")
    })?;
    Some(ToldEnd { process: Some(process), attribution })
}

/// Reads `PID`, what closes it, and a command line if one follows.
fn told_pid<'a>(name: &'a str, text: &'a str, closing: &str) -> Option<ToldProcess<'a>> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (pid, rest) = text.split_at(digits);
    let rest = rest.strip_prefix(closing)?;
    let command_line = if rest.is_empty() { "" } else { rest.strip_prefix(": ")? };
    Some(ToldProcess { pid: pid.parse().ok()?, name, command_line })
}

/// Numbers processes in the order in which they are told of.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a> {
    numbers: HashMap<ToldProcess<'a>, u32>,
    /// The processes by their numbers.
    pub(super) processes: Vec<ToldProcess<'a>>,
}

impl<'a> Numbers<'a> {
    /// The number of a process.
    pub(super) fn of(&mut self, process: ToldProcess<'a>) -> u32 {
        let next = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(process).or_insert_with(|| {
            self.processes.push(process);
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_that_kcap_wrote_are_understood() {
        let told = ends(
            "sender: curl (pid 1234): curl http://[::1]/ [x] [cookie]\nreceiver: pid 7 [proc_scan]\nseen by hand",
        );
        let curl = ToldProcess { pid: 1234, name: "curl", command_line: "curl http://[::1]/ [x]" };
        let nameless = ToldProcess { pid: 7, name: "", command_line: "" };
        assert_eq!(told[0], Some(ToldEnd { process: Some(curl), attribution: Attribution::Cookie }));
        assert_eq!(told[1], Some(ToldEnd { process: Some(nameless), attribution: Attribution::ProcScan }));
        let kernel = ToldEnd { process: None, attribution: Attribution::Kernel };
        assert_eq!(ends("receiver: unknown [kernel]"), [None, Some(kernel)]);
        assert_eq!(
            ends("sender: sh (pid 9) [tuple]")[0].and_then(|end| end.process).map(|of| of.pid),
            Some(9)
        );
    }

    #[test]
    fn remarks_tell_of_nobody() {
        for remark in [
            "",
            "sender",
            "sender: unknown",
            "sender: unknown [magic]",
            "sender: x (pid ) [cookie]",
            "sender: x (pid 99999999999) [cookie]",
            "sender: x (pid 1 [cookie]",
            "sender: x (pid 1)y [cookie]",
            "the sender: x (pid 1) [cookie]",
        ] {
            assert_eq!(ends(remark), [None, None], "{remark}");
        }
    }
}
