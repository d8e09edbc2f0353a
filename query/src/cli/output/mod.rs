//! Results of a query in the formats of `--format`.

mod printable;
mod time_text;

use std::io::Write;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use printable::{Style, printable, printable_schema};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns with lines around them, for people
    Table,
    /// Comma-separated values with a head line (RFC 4180)
    Csv,
    /// One JSON object a line
    Ndjson,
    /// Arrow IPC stream
    Arrow,
    /// Parquet
    Parquet,
}

/// What a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Rows of data.
    Rows,
    /// The plan of a query: text of many lines.
    Plan,
}

/// Rows of a table that are laid out together: column widths are those of these rows.
const TABLE_ROWS_MAX: usize = 16_384;

/// Writes batches as they come.
pub(super) enum ResultWriter<W: Write + Send> {
    Table {
        output: W,
        schema: SchemaRef,
        style: Style,
        waiting: Vec<RecordBatch>,
        rows: usize,
        is_empty: bool,
    },
    Csv {
        writer: arrow::csv::Writer<W>,
        schema: SchemaRef,
        is_empty: bool,
    },
    Ndjson {
        writer: LineDelimitedWriter<W>,
    },
    Arrow {
        writer: StreamWriter<W>,
    },
    Parquet {
        writer: ArrowWriter<W>,
    },
}

impl<W: Write + Send> ResultWriter<W> {
    /// A writer for results with this schema.
    pub(super) fn new(
        format: Format,
        output: W,
        schema: &SchemaRef,
        content: Content,
    ) -> anyhow::Result<Self> {
        let style = if content == Content::Plan { Style::Plan } else { Style::Table };
        Ok(match format {
            Format::Table => Self::Table {
                output,
                schema: printable_schema(schema, style),
                style,
                waiting: Vec::new(),
                rows: 0,
                is_empty: true,
            },
            Format::Csv => Self::Csv {
                writer: WriterBuilder::new().with_header(true).build(output),
                schema: printable_schema(schema, Style::Csv),
                is_empty: true,
            },
            Format::Ndjson => Self::Ndjson { writer: LineDelimitedWriter::new(output) },
            Format::Arrow => Self::Arrow { writer: StreamWriter::try_new(output, schema)? },
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                Self::Parquet { writer: ArrowWriter::try_new(output, schema.clone(), Some(properties))? }
            }
        })
    }

    /// Writes a batch; rows may wait until their layout is known.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        match self {
            Self::Table { waiting, rows, is_empty, style, .. } => {
                if batch.num_rows() > 0 {
                    *is_empty = false;
                    *rows += batch.num_rows();
                    waiting.push(printable(batch, *style)?);
                }
                if *rows >= TABLE_ROWS_MAX {
                    self.flush_table()?;
                }
            }
            Self::Csv { writer, is_empty, .. } => {
                *is_empty = false;
                writer.write(&printable(batch, Style::Csv)?)?;
            }
            Self::Ndjson { writer } => writer.write(&printable(batch, Style::Json)?)?,
            Self::Arrow { writer } => writer.write(batch)?,
            Self::Parquet { writer } => writer.write(batch)?,
        }
        Ok(())
    }

    /// Writes what waits and ends the format.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if let Self::Table { waiting, schema, is_empty: true, .. } = &mut self {
            waiting.push(RecordBatch::new_empty(schema.clone()));
        }
        if matches!(self, Self::Table { .. }) {
            self.flush_table()?;
        }
        match self {
            Self::Table { .. } => {}
            Self::Csv { mut writer, schema, is_empty } => {
                if is_empty {
                    writer.write(&RecordBatch::new_empty(schema))?;
                }
            }
            Self::Ndjson { mut writer } => writer.finish()?,
            Self::Arrow { mut writer } => writer.finish()?,
            Self::Parquet { writer } => {
                writer.close()?;
            }
        }
        Ok(())
    }

    fn flush_table(&mut self) -> anyhow::Result<()> {
        let Self::Table { output, waiting, rows, .. } = self else { return Ok(()) };
        if !waiting.is_empty() {
            let options = FormatOptions::default().with_null("").with_display_error(true);
            let text =
                pretty_format_batches_with_options(waiting, &options).context("cannot lay out the result")?;
            writeln!(output, "{text}")?;
            waiting.clear();
            *rows = 0;
        }
        Ok(())
    }
}
