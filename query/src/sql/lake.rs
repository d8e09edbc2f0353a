//! A session over Parquet that kcap wrote.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::error::Result;
use datafusion::prelude::{SessionContext, col};

use super::session::{SessionSettings, empty_session};
use crate::source::Lake;

/// The table in which both copies of local packets may be.
const PACKETS: &str = "packets";
/// Its name in the session, when the copies are left out of `packets`.
const PACKETS_WITH_COPIES: &str = "packets_with_copies";

/// A session over the tables of a Parquet folder. They are those of the recordings, with `date` and `host` as further
/// columns; payloads are in `packet_payloads`.
///
/// # Errors
/// When a table cannot be opened.
pub async fn new_lake_session(lake: &Lake, settings: &SessionSettings) -> Result<SessionContext> {
    let context = empty_session(settings)?;
    for (name, folder) in &lake.tables {
        let partitions = vec![("date".to_owned(), DataType::Date32), ("host".to_owned(), DataType::Utf8)];
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
            .with_file_extension(".parquet")
            .with_table_partition_cols(partitions);
        let hides_copies = name == PACKETS && !settings.duplicates;
        let registered = if hides_copies { PACKETS_WITH_COPIES } else { name };
        let url = format!("{}/", folder.display());
        context.register_listing_table(registered, url, options, None, None).await?;
        if hides_copies {
            let once = context.table(PACKETS_WITH_COPIES).await?.filter(col("duplicate_of").is_null())?;
            context.register_table(PACKETS, once.into_view())?;
        }
    }
    Ok(context)
}
