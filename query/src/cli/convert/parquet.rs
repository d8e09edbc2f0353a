//! Parquet: a folder that other engines read as it is.
//!
//! `table=…/date=…/host=…/part-0.parquet`, sorted by time. Payloads are a table of their own, `packet_payloads`, so that
//! whoever asks about packets need not carry them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, anyhow, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext, col};
use futures::StreamExt;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use kcap_dissect::protocol::PROTOCOLS;

use crate::Error;
use crate::cli::tell_damage;
use crate::export::parquet_file::{ParquetFile, TimeOrder};
use crate::source::Library;
use crate::sql::{SessionSettings, error_line, new_session};
use crate::table::fed::FedTables;
use crate::table::flows_at_once::flows_at_once;
use crate::table::packets::OrderedBatches;
use crate::table::transactions::all_at_once;

/// How and where to write.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    /// Both copies of local packets.
    pub(super) duplicates: bool,
    /// Bytes that sorting may take.
    pub(super) memory_limit_bytes: usize,
    /// The folder.
    pub(super) folder: &'a Path,
}

/// Column with the time of packets and transactions.
const TIME: &str = "ts";
/// Column with the payload of packets, and those that tell in the table of payloads whose it is.
const PAYLOAD: &str = "payload";
const PAYLOAD_KEYS: [&str; 3] = [TIME, "packet_id", "capture_id"];
/// The table that is written in the order of its rows: it has the payloads once more, and sorting would write and read all of
/// them twice. Only bytes that waited for others before them are behind their time.
const UNSORTED_TABLE: &str = "streams";
/// Tables of flows, which are filled in one pass, and the column of their time.
const FLOW_TABLES: [(&str, &str); 5] = [
    ("flows", "ts"),
    ("flow_reports", "report_ts"),
    (UNSORTED_TABLE, "packet_ts"),
    ("gaps", "packet_ts"),
    ("decode_errors", "ts"),
];
/// Other tables, which have a pass each and are sorted before they are written, and the column of their time.
const SORTED_TABLES: [(&str, &str); 9] = [
    ("processes", "first_seen_ts"),
    ("process_events", "ts"),
    ("sockets", "first_seen_ts"),
    ("containers", "first_seen_ts"),
    ("losses", "begin_ts"),
    ("recorder_steps", "ts"),
    ("segments", "first_ts"),
    ("captures", "first_ts"),
    ("interfaces", "first_seen_ts"),
];

/// Memory for sorting; beside it, row groups of several tables are in memory.
const SORT_BYTES_MAX: usize = 512 << 20;
/// Parts that this memory is cut into, one for each sort: of one pool for all, what many sorts at a time hold leaves no room
/// for merging what one of them spilled. Few have much to sort.
const SORT_PARTS: usize = 16;
/// Most sorts at a time: the tables of transactions, with that of all protocols, those of flows but one, and one table of each
/// other writer.
const SORTS_MAX: usize = (PROTOCOLS.len() + 1) + (FLOW_TABLES.len() - 1) + (WRITERS_MAX - 2);
const _: () = assert!(SORTS_MAX <= SORT_PARTS, "each sort has a part");
/// What a sort keeps of its part for merging what it spilled.
const MERGE_BYTES: usize = 8 << 20;
/// Rows of a batch that is sorted: some tables have more than a hundred columns, and merging needs a batch of each run.
const SORT_BATCH_ROWS: usize = 1024;

/// Most tables that are written at once: bounds the memory.
const WRITERS_MAX: usize = 4;

/// A table to write.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Packets and their payloads.
    Packets,
    /// The tables of transactions.
    Transactions,
    /// The tables of flows.
    Flows,
    /// A table that is sorted by this column.
    Sorted(&'static str, &'static str),
}

/// Writes every table of every host.
pub(super) fn write(library: Library, settings: &Settings<'_>, bar: &ProgressBar) -> anyhow::Result<()> {
    let folder = settings.folder;
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(
            "{}: this folder is not empty; name a new one, so that no table gets rows twice",
            folder.display()
        );
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    for (host, library) in library.by_host() {
        let library = Arc::new(library);
        let lake = Lake { folder, host: &host };
        let sort = SortSettings {
            duplicates: settings.duplicates,
            memory_limit_bytes: settings.memory_limit_bytes.min(SORT_BYTES_MAX) / SORT_PARTS,
        };
        each_side_by_side(|task| match task {
            Task::Packets => lake.write_packets(&library, settings.duplicates, bar),
            Task::Transactions => runtime.block_on(lake.write_transactions(&library, sort)),
            Task::Flows => runtime.block_on(lake.write_flows(&library, sort)),
            Task::Sorted(table, time) => runtime.block_on(lake.write_sorted(&library, sort, table, time)),
        })?;
        tell_damage(&library);
    }
    Ok(())
}

/// Writes all tables, several at once; ends with the first error.
fn each_side_by_side(write: impl Fn(Task) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    let sorted = SORTED_TABLES.map(|(table, time)| Task::Sorted(table, time));
    // What takes longest begins first.
    let tasks: Vec<Task> = [&[Task::Transactions, Task::Packets, Task::Flows], &sorted[..]].concat();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            write(*task).inspect_err(|_| next.store(tasks.len(), Ordering::Relaxed))?;
        }
        anyhow::Ok(())
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..processors.min(WRITERS_MAX)).map(|_| scope.spawn(work)).collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// How a table is sorted.
#[derive(Clone, Copy, Debug)]
struct SortSettings {
    /// Both copies of local packets.
    duplicates: bool,
    /// Bytes that it may take; what is more goes to temporary files.
    memory_limit_bytes: usize,
}

impl SortSettings {
    /// A session for one table, with memory of its own.
    async fn session(self, library: &Arc<Library>) -> Result<SessionContext, DataFusionError> {
        let settings = SessionSettings {
            duplicates: self.duplicates,
            memory_limit_bytes: self.memory_limit_bytes,
            ..SessionSettings::default()
        };
        let context = new_session(library, &settings)?;
        let merge_bytes = MERGE_BYTES.min(self.memory_limit_bytes / 4);
        context
            .sql(&format!("SET datafusion.execution.sort_spill_reservation_bytes = {merge_bytes}"))
            .await?;
        context.sql(&format!("SET datafusion.execution.batch_size = {SORT_BATCH_ROWS}")).await?;
        Ok(context)
    }
}

/// Where the tables of one host go.
struct Lake<'a> {
    folder: &'a Path,
    host: &'a str,
}

impl Lake<'_> {
    /// Writes packets, and their payloads beside them: both from one pass.
    fn write_packets(
        &self,
        library: &Arc<Library>,
        duplicates: bool,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let mut batches = OrderedBatches::new(library, duplicates, |_| true)?;
        let schema = Arc::clone(batches.schema());
        let places = |is_wanted: fn(&str) -> bool| -> Vec<usize> {
            (0..schema.fields().len()).filter(|place| is_wanted(schema.field(*place).name())).collect()
        };
        let tables = [
            ("packets", places(|name| name != PAYLOAD)),
            ("packet_payloads", places(|name| name == PAYLOAD || PAYLOAD_KEYS.contains(&name))),
        ];
        let mut writers = Vec::new();
        for (table, places) in tables {
            let schema = Arc::new(schema.project(&places)?);
            writers.push((TableWriter::new(self, table, TIME, &schema, true), places));
        }
        while let Some((batch, bytes)) = batches.next_batch()? {
            for (writer, places) in &mut writers {
                writer.write(&batch.project(places)?)?;
            }
            bar.inc(bytes);
        }
        writers.into_iter().try_for_each(|(writer, _)| writer.finish())
    }

    async fn write_sorted(
        &self,
        library: &Arc<Library>,
        sort: SortSettings,
        table: &str,
        time: &str,
    ) -> anyhow::Result<()> {
        let engine_error = |error| anyhow!(error_line(&error));
        let context = sort.session(library).await.map_err(engine_error)?;
        let frame = context.table(table).await.map_err(engine_error)?;
        let frame = frame.sort(vec![col(time).sort(true, false)]).map_err(engine_error)?;
        self.write_frame(frame, table, time, true).await
    }

    /// Writes the tables of flows, all in one pass over the packets.
    async fn write_flows(&self, library: &Arc<Library>, sort: SortSettings) -> anyhow::Result<()> {
        let (tables, feed) = flows_at_once(library).map_err(|error| anyhow!(error_line(&error)))?;
        self.write_fed(library, sort, tables, move || feed.run()).await
    }

    /// Writes the tables of transactions, all in one pass over the packets.
    async fn write_transactions(&self, library: &Arc<Library>, sort: SortSettings) -> anyhow::Result<()> {
        let (tables, feed) = all_at_once(library).map_err(|error| anyhow!(error_line(&error)))?;
        self.write_fed(library, sort, tables, move || feed.run()).await
    }

    /// Writes tables that are filled side by side while `fill` runs.
    async fn write_fed(
        &self,
        library: &Arc<Library>,
        sort: SortSettings,
        tables: FedTables,
        fill: impl FnOnce() -> crate::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let engine_error = |error| anyhow!(error_line(&error));
        let feed = tokio::task::spawn_blocking(fill);
        let writes = tables.into_iter().map(|(table, provider)| {
            let time = FLOW_TABLES.iter().find(|(name, _)| *name == table).map_or(TIME, |(_, time)| time);
            async move {
                let context = sort.session(library).await.map_err(engine_error)?;
                let mut frame = context.read_table(provider).map_err(engine_error)?;
                let is_sorted = table != UNSORTED_TABLE;
                if is_sorted {
                    frame = frame.sort(vec![col(time).sort(true, false)]).map_err(engine_error)?;
                }
                self.write_frame(frame, table, time, is_sorted).await
            }
        });
        let written = try_join_all(writes).await;
        match feed.await? {
            Err(Error::Stopped) | Ok(()) => written.map(|_| ()),
            Err(error) => Err(error.into()),
        }
    }

    async fn write_frame(
        &self,
        frame: DataFrame,
        table: &str,
        time: &str,
        is_sorted: bool,
    ) -> anyhow::Result<()> {
        let engine_error = |error| anyhow!(error_line(&error));
        let mut stream = frame.execute_stream().await.map_err(engine_error)?;
        let mut writer = TableWriter::new(self, table, time, &stream.schema(), is_sorted);
        while let Some(batch) = stream.next().await {
            writer.write(&batch.map_err(engine_error)?)?;
        }
        writer.finish()
    }
}

/// Most days of a table whose files are open at once. Rows that aren't sorted change to and fro at midnight: a file for each
/// change would be thousands.
const DAYS_OPEN_MAX: usize = 3;
/// Pieces of batches after which a day that none was of is over, until it comes again.
const IDLE_PIECES_MAX: u64 = 256;

/// Writes batches, nearly in the order of time, into a file for each day.
struct TableWriter<'a> {
    lake: &'a Lake<'a>,
    table: String,
    time: usize,
    /// Whether rows come in the order of time, which the files then say.
    is_sorted: bool,
    schema: SchemaRef,
    /// Open files, the one that was written to last at the end.
    files: Vec<DayFile>,
    /// Pieces of batches that were written.
    pieces: u64,
}

/// The file of a day.
struct DayFile {
    day: i32,
    /// The piece that was written to it last.
    piece: u64,
    file: ParquetFile,
}

impl<'a> TableWriter<'a> {
    fn new(lake: &'a Lake<'a>, table: &str, time: &str, schema: &SchemaRef, is_sorted: bool) -> Self {
        let time = schema.index_of(time).unwrap_or(0);
        Self {
            lake,
            table: table.to_owned(),
            time,
            is_sorted,
            schema: Arc::clone(schema),
            files: Vec::new(),
            pieces: 0,
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let days = cast(batch.column(self.time), &DataType::Date32)?;
        let days = days.as_primitive::<Date32Type>();
        // Rows without a time, as segments without records, stay with those before them.
        let day = |row: usize, before: i32| if days.is_valid(row) { days.value(row) } else { before };
        let mut start = 0;
        while start < batch.num_rows() {
            let before = self.files.last().map_or(0, |file| file.day);
            let today = day(start, before);
            let end =
                (start..batch.num_rows()).find(|row| day(*row, today) != today).unwrap_or(batch.num_rows());
            self.file_of(today)?.write(&batch.slice(start, end - start))?;
            start = end;
        }
        Ok(())
    }

    fn file_of(&mut self, day: i32) -> anyhow::Result<&mut ParquetFile> {
        self.pieces += 1;
        if let Some(place) = self.files.iter().position(|file| file.day == day) {
            let file = self.files.remove(place);
            self.files.push(file);
        } else {
            while self.files.len() >= self.days_open_max() {
                self.files.remove(0).file.finish()?;
            }
            let date = Date32Type::to_naive_date_opt(day).context("a time is beyond what dates can tell")?;
            let folder = self
                .lake
                .folder
                .join(format!("table={}", self.table))
                .join(format!("date={date}"))
                .join(format!("host={}", folder_name(self.lake.host)));
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            let order = self.is_sorted.then_some(TimeOrder { column: self.time });
            let file = ParquetFile::create(&free_part(&folder), &self.schema, order)?;
            self.files.push(DayFile { day, piece: 0, file });
        }
        while self
            .files
            .first()
            .is_some_and(|file| file.day != day && self.pieces > file.piece + IDLE_PIECES_MAX)
        {
            self.files.remove(0).file.finish()?;
        }
        let current = self.files.last_mut().context("no file is open")?;
        current.piece = self.pieces;
        Ok(&mut current.file)
    }

    /// Rows that are sorted don't come back to a day.
    fn days_open_max(&self) -> usize {
        if self.is_sorted { 1 } else { DAYS_OPEN_MAX }
    }

    /// A table without rows has a file without rows: whoever asks gets none, and no error.
    fn finish(mut self) -> anyhow::Result<()> {
        if self.files.is_empty() {
            self.file_of(0)?;
        }
        self.files.into_iter().try_for_each(|file| Ok(file.file.finish()?))
    }
}

/// The next part of a folder: a day comes again only when times run backwards.
fn free_part(folder: &Path) -> std::path::PathBuf {
    let part = |number: u32| folder.join(format!("part-{number}.parquet"));
    (0..).map(part).find(|path| !path.exists()).unwrap_or_else(|| part(0))
}

/// A host's name as a part of a path: other characters than letters, digits, `-`, `.` and `_` become `_`.
fn folder_name(host: &str) -> String {
    let safe = |character: char| {
        if character.is_alphanumeric() || "-._".contains(character) { character } else { '_' }
    };
    let name: String = host.chars().map(safe).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
