//! `kcap`, asked as a user asks it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::binary;
use crate::command::{Finished, run};

/// Runs `kcap` with arguments, whatever comes of it.
#[track_caller]
pub fn kcap<I, S>(arguments: I) -> Finished
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run(Command::new(binary::kcap()).args(arguments))
}

/// The rows that a query gives.
#[track_caller]
pub fn sql(source: &Path, query: &str) -> Vec<Value> {
    sql_with(source, query, &[])
}

/// The rows that a query gives with the arriving copies of local packets too.
#[track_caller]
pub fn sql_with_duplicates(source: &Path, query: &str) -> Vec<Value> {
    sql_with(source, query, &["--duplicates"])
}

/// The one number that a query gives; an empty sum is 0.
#[track_caller]
pub fn number(source: &Path, query: &str) -> u64 {
    only_number(&sql(source, query), query)
}

/// [`number`] with the arriving copies of local packets too.
#[track_caller]
pub fn number_with_duplicates(source: &Path, query: &str) -> u64 {
    only_number(&sql_with_duplicates(source, query), query)
}

#[track_caller]
fn sql_with(source: &Path, query: &str, options: &[&str]) -> Vec<Value> {
    let mut arguments =
        vec![OsStr::new("sql"), source.as_os_str(), OsStr::new("--format"), OsStr::new("ndjson")];
    arguments.extend(options.iter().map(OsStr::new));
    arguments.extend([OsStr::new("-c"), OsStr::new(query)]);
    let finished = kcap(arguments).success();
    let rows = finished.text();
    rows.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{query}: {line}: {error}")))
        .collect()
}

#[track_caller]
fn only_number(rows: &[Value], query: &str) -> u64 {
    let [Value::Object(row)] = rows else { panic!("{query}: not one row: {rows:?}") };
    assert_eq!(row.len(), 1, "{query}: not one column: {row:?}");
    let value = row.values().next().expect("one column");
    value.as_u64().unwrap_or_else(|| {
        assert!(value.is_null(), "{query}: not a number: {value}");
        0
    })
}
