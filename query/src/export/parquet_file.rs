//! One Parquet file, with the settings that all of kcap's have.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::ExportError;

/// Most rows of a row group.
const ROW_GROUP_ROWS_MAX: usize = 512 << 10;
/// Encoded bytes after which a row group ends early: payloads would otherwise need gigabytes of memory.
const ROW_GROUP_BYTES_MAX: usize = 32 << 20;
/// Columns that people look for single values in.
const BLOOM_COLUMNS: [&str; 6] =
    ["src_ip", "dst_ip", "client_ip", "server_ip", "flow_id", "dns.question.name"];
/// Columns whose values are bytes from the wire: nobody looks for a range of them, and they seldom repeat.
const OPAQUE_COLUMNS: [&str; 3] = ["header", "payload", "data"];
/// Columns that count up from row to row, or within a flow: a dictionary of them is work for nothing, their differences are
/// small.
const COUNTING_COLUMNS: [&str; 6] = ["ts", "packet_ts", "packet_id", "tcp_seq", "tcp_ack", "offset"];
/// Distinct values that a row group's bloom filter is laid out for.
const BLOOM_VALUES: u64 = 1 << 16;

/// The column that the rows are sorted by, ascending.
#[derive(Clone, Copy, Debug)]
pub struct TimeOrder {
    /// Its place in the schema.
    pub column: usize,
}

/// A file that is being written.
#[derive(Debug)]
pub struct ParquetFile {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl ParquetFile {
    /// Creates the file: format 2, zstd, page index, bloom filters. `order` is that of the rows, if they have one.
    ///
    /// # Errors
    /// When the file cannot be created or the schema has no form in Parquet.
    pub fn create(path: &Path, schema: &SchemaRef, order: Option<TimeOrder>) -> Result<Self, ExportError> {
        let file = File::create_new(path).map_err(|error| {
            std::io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })?;
        let mut properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
            .set_created_by(concat!("kcap ", env!("CARGO_PKG_VERSION")).to_owned());
        // Lists have more columns in the file than in the schema; only then would the place be another one.
        if let Some(TimeOrder { column }) = order
            && let (Ok(column_idx), false) = (i32::try_from(column), has_nested_before(schema, column))
        {
            let sorting = SortingColumn { column_idx, descending: false, nulls_first: false };
            properties = properties.set_sorting_columns(Some(vec![sorting]));
        }
        for column in BLOOM_COLUMNS {
            if schema.index_of(column).is_ok() {
                let path = ColumnPath::from(column);
                properties = properties
                    .set_column_bloom_filter_enabled(path.clone(), true)
                    .set_column_bloom_filter_max_ndv(path, BLOOM_VALUES);
            }
        }
        for column in OPAQUE_COLUMNS {
            let path = ColumnPath::from(column);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        for column in COUNTING_COLUMNS {
            let path = ColumnPath::from(column);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties.build()))
            .map_err(|error| at(path, &error))?;
        Ok(Self { path: path.to_owned(), writer })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        self.writer.write(batch).map_err(|error| at(&self.path, &error))?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES_MAX {
            self.writer.flush().map_err(|error| at(&self.path, &error))?;
        }
        Ok(())
    }

    /// Writes what waits and the footer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(), ExportError> {
        self.writer.close().map(|_| ()).map_err(|error| at(&self.path, &error))
    }
}

fn has_nested_before(schema: &SchemaRef, column: usize) -> bool {
    schema.fields().iter().take(column).any(|field| field.data_type().is_nested())
}

fn at(path: &Path, error: &ParquetError) -> ExportError {
    ExportError::Io(std::io::Error::other(format!("{}: {error}", path.display())))
}
