//! What the tables are, as data and as the text of `spec/tables.md`.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field};

use super::column::Column;
use super::facts::Facts;
use super::types::{ADDRESS_TYPE, MAC_TYPE};
use super::{
    captures, containers, decode_errors, flow_reports, flows, gaps, interfaces, losses, packets,
    process_events, processes, recorder_steps, segments, sockets, streams, transactions,
};

/// A table as a person reads about it.
#[derive(Debug)]
pub struct TableDocumentation {
    /// Name in SQL.
    pub name: &'static str,
    /// What a row is.
    pub summary: &'static str,
    /// Each column with what its values mean.
    pub columns: Vec<(Field, &'static str)>,
}

/// Every table in the order of [`super::providers`].
#[must_use]
pub fn documentation() -> Vec<TableDocumentation> {
    let mut tables = vec![
        packets::documentation(),
        of::<flows::Flows>(),
        of::<flow_reports::FlowReports>(),
        of::<streams::Streams>(),
        of::<gaps::Gaps>(),
        of::<decode_errors::DecodeErrors>(),
        of::<processes::Processes>(),
        of::<process_events::ProcessEvents>(),
        of::<sockets::Sockets>(),
        of::<containers::Containers>(),
        of::<losses::Losses>(),
        of::<recorder_steps::RecorderSteps>(),
        of::<segments::Segments>(),
        of::<captures::Captures>(),
        of::<interfaces::Interfaces>(),
    ];
    tables.extend(transactions::documentation());
    tables
}

/// The text of `spec/tables.md`.
#[must_use]
pub fn documentation_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for table in documentation() {
        write!(
            text,
            "\n## {}\n\n{}\n\n| column | type | null | meaning |\n| --- | --- | --- | --- |\n",
            table.name, table.summary
        )
        .expect("a string takes every write");
        for (field, description) in &table.columns {
            let null = if field.is_nullable() { "yes" } else { "" };
            writeln!(
                text,
                "| `{}` | {} | {null} | {description} |",
                field.name(),
                type_name(field.data_type())
            )
            .expect("a string takes every write");
        }
    }
    text
}

const INTRODUCTION: &str = "# Tables

This page is generated from the table providers; `KCAP_BLESS=1 cargo test -p kcap-query tables_md` writes it anew.

The same thing has the same column name everywhere. Types are those of Arrow:

- Times are `Timestamp(ns, UTC)`; durations are `Int64` and end in `_ns`.
- An address is `FixedSizeBinary(16)`, IPv4 mapped into IPv6, with the extension type `kcap.ip`; results print it as an
  address. It compares with text (`src_ip = '10.0.0.1'`), with `ip('10.0.0.1')` and with `cidr(src_ip, '10.0.0.0/8')`; for
  other programs `ip_text(src_ip)` makes text of it. A MAC address is `FixedSizeBinary(6)`, extension type `kcap.mac`.
- An enumeration, and text that repeats, is a dictionary; it behaves as text.
- `proc_id` names a process for ever: the first eight digits of the boot id, the process id in the initial pid namespace
  and the start in clock ticks (10 ms) since boot, as `1b9d6bcd-4711-98304`. Pids come again, proc_ids don't. It is the
  key: every column that names a process, here or in another table, is a `proc_id`. `process_uuid` is the same three
  facts as a UUID, for other programs; `spec/events.proto` says how it is made.
- `packet_id` is unique in a recording: segment, block and row of the record, 20, 24 and 20 bits.

A time is the host's wall clock when the kernel saw the record, interpolated between samples of the clocks that are taken each
second. Behind the newest sample of a segment that is still being written the clock is taken to run on evenly: once the next
sample is there, the times of those last packets can move by as much as the clock is slewed, some nanoseconds to
microseconds, and so differ from one query to the next. In a segment that has ended, times stay.

`packets` counts a packet that went from one socket of the host to another once, although it was recorded leaving and
arriving: the arriving copy is left out. So are the frames of a packet that other interfaces had before. `SET kcap.duplicates = true` (or `--duplicates`) shows all.

In the Parquet that `kcap convert` writes, and when `kcap sql` reads it, each table has the columns `date` and `host` beside
these, and `payload` is in a table of its own: `packet_payloads` (`ts`, `packet_id`, `payload`, `capture_id`). There only the option
`--duplicates` shows both copies, if both were written. Rows are in the order of time; those of
`streams` in the order in which their bytes were complete.
";

fn of<T: Facts>() -> TableDocumentation {
    TableDocumentation { name: T::NAME, summary: T::SUMMARY, columns: described(T::columns()) }
}

pub(super) fn described<S: ?Sized>(columns: Vec<Column<S>>) -> Vec<(Field, &'static str)> {
    columns.into_iter().map(|column| (column.field, column.description)).collect()
}

/// The type as people speak of it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(_, _) => "Timestamp(ns, UTC)".to_owned(),
        DataType::Dictionary(key, _) => format!("Dictionary({key}, Utf8)"),
        DataType::List(item) => format!("List({})", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("Struct({})", fields.join(", "))
        }
        DataType::Map(_, _) => "Map(Utf8, Utf8)".to_owned(),
        address if *address == ADDRESS_TYPE => "kcap.ip".to_owned(),
        mac if *mac == MAC_TYPE => "kcap.mac".to_owned(),
        other => other.to_string(),
    }
}
