//! The numbers of the page, asked with SQL.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::prelude::SessionContext;
use serde_json::{Value, json};

use crate::error::Result;
use crate::source::Library;
use crate::sql::{SessionSettings, new_session};

/// Bars of a chart.
const BUCKETS: i64 = 120;
/// Flows of the table: the largest ones.
const FLOWS_MAX: usize = 5000;
/// Pairs of addresses.
const TALKERS_MAX: usize = 50;
/// Rows of losses: those that lost most.
const LOSSES_MAX: usize = 1000;

const NS_PER_MS: f64 = 1e6;

/// Everything that the page shows.
pub(super) async fn gather(library: &Arc<Library>, settings: &SessionSettings, title: &str) -> Result<Value> {
    let asker = Asker(new_session(library, settings)?);
    let summary = asker
        .rows("SELECT CAST(min(ts) AS BIGINT), CAST(max(ts) AS BIGINT), count(*), sum(len) FROM packets")
        .await?;
    let number = |place: usize| summary.first().and_then(|row| row[place].as_i64()).unwrap_or(0);
    let (begin_ns, end_ns) = (number(0), number(1));
    let bucket_ns = end_ns.saturating_sub(begin_ns) / BUCKETS + 1;
    let over_time = |name: &str| {
        format!(
            "SELECT (CAST(ts AS BIGINT) - {begin_ns}) / {bucket_ns} AS bucket, {name} AS name, sum(len) FROM packets \
             GROUP BY 1, 2 ORDER BY 1, 2"
        )
    };
    let by_process = "coalesce(src_process_name, dst_process_name, '(not known)')";
    let by_protocol = "coalesce(ip_proto_name, 'not IP')";
    let flow_count = asker.rows("SELECT count(*) FROM flows").await?;
    let losses = asker
        .rows(&format!(
            "SELECT CAST(begin_ts AS BIGINT), CAST(end_ts AS BIGINT), program, lost FROM losses WHERE lost > 0 \
             ORDER BY lost DESC LIMIT {LOSSES_MAX}"
        ))
        .await?;
    let lost = asker.rows("SELECT coalesce(sum(lost), 0) FROM losses").await?;
    Ok(json!({
        "title": title,
        "begin_ms": begin_ns as f64 / NS_PER_MS,
        "end_ms": end_ns as f64 / NS_PER_MS,
        "bucket_ms": bucket_ns as f64 / NS_PER_MS,
        "buckets": BUCKETS,
        "packets": number(2),
        "bytes": number(3),
        "lost": lost.first().map(|row| row[0].clone()),
        "flow_count": flow_count.first().map(|row| row[0].clone()),
        "by_process": asker.rows(&over_time(by_process)).await?,
        "by_protocol": asker.rows(&over_time(by_protocol)).await?,
        "talkers": asker.rows(&talkers()).await?,
        "flows": asker.rows(&flows()).await?,
        "losses": losses.iter().map(|row| json!({
            "begin_ms": row[0].as_i64().unwrap_or(0) as f64 / NS_PER_MS,
            "end_ms": row[1].as_i64().unwrap_or(0) as f64 / NS_PER_MS,
            "program": row[2],
            "lost": row[3],
        })).collect::<Vec<_>>(),
    }))
}

fn talkers() -> String {
    format!(
        "SELECT ip_text(client_ip), ip_text(server_ip), count(*), sum(client_packets + server_packets), \
         sum(client_bytes + server_bytes) AS bytes FROM flows GROUP BY client_ip, server_ip ORDER BY bytes DESC \
         LIMIT {TALKERS_MAX}"
    )
}

fn flows() -> String {
    let end = |side: &str| {
        format!(
            "CASE WHEN {side}_port IS NULL THEN ip_text({side}_ip) WHEN ip_version = 6 \
             THEN '[' || ip_text({side}_ip) || ']:' || {side}_port ELSE ip_text({side}_ip) || ':' || {side}_port END"
        )
    };
    let (client, server) = (end("client"), end("server"));
    format!(
        "SELECT CAST(ts AS BIGINT) / 1000000.0, duration_ns / 1000000000.0, ip_proto_name, {client}, {server}, \
         client_process_name, server_process_name, conn_state, client_packets + server_packets, \
         client_bytes + server_bytes AS bytes, coalesce(client_retransmissions, 0) + coalesce(server_retransmissions, 0), \
         coalesce(client_missing_bytes, 0) + coalesce(server_missing_bytes, 0), CAST(flow_id AS VARCHAR) \
         FROM flows ORDER BY bytes DESC, ts LIMIT {FLOWS_MAX}"
    )
}

struct Asker(SessionContext);

impl Asker {
    /// The rows of an answer: numbers, texts and nulls.
    async fn rows(&self, sql: &str) -> Result<Vec<Vec<Value>>> {
        let batches = self.0.sql(sql).await?.collect().await?;
        let mut rows = Vec::new();
        for batch in &batches {
            let columns =
                (0..batch.num_columns()).map(|place| values(batch, place)).collect::<Result<Vec<_>>>()?;
            rows.extend(
                (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()),
            );
        }
        Ok(rows)
    }
}

fn values(batch: &RecordBatch, place: usize) -> Result<Vec<Value>> {
    let array = batch.column(place);
    Ok(match array.data_type() {
        data_type if data_type.is_integer() => {
            let array = cast(array, &DataType::Int64)?;
            array.as_primitive::<Int64Type>().iter().map(Value::from).collect()
        }
        data_type if data_type.is_numeric() => {
            let array = cast(array, &DataType::Float64)?;
            array.as_primitive::<Float64Type>().iter().map(Value::from).collect()
        }
        _ => {
            let array = cast(array, &DataType::Utf8)?;
            array.as_string::<i32>().iter().map(Value::from).collect()
        }
    })
}
