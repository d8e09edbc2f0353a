//! All tables of flows at once, for exports: one pass over the packets, instead of one for each table.

use std::sync::Arc;

use datafusion::error::Result as EngineResult;
use kcap_dissect::flow::FlowOptions;

use super::both::Both;
use super::column::schema_of;
use super::decode_errors::DecodeErrors;
use super::facts::{Facts, RowSink};
use super::fed::{FedTables, fed_table};
use super::flow_reports::FlowReports;
use super::flows::Flows;
use super::gaps::Gaps;
use super::row_collector::RowCollector;
use super::streams::Streams;
use crate::error::Result;
use crate::flows::{PassSettings, follow};
use crate::source::Library;

type SinkOf<T> = RowSink<<T as Facts>::Row>;
type CollectorOf<T> = RowCollector<<T as Facts>::Row>;

/// Fills the tables.
pub(crate) struct FlowFeed {
    library: Arc<Library>,
    flows: SinkOf<Flows>,
    reports: SinkOf<FlowReports>,
    streams: SinkOf<Streams>,
    gaps: SinkOf<Gaps>,
    errors: SinkOf<DecodeErrors>,
}

/// All tables of flows over a library, and what fills them.
///
/// # Errors
/// When the engine does not take a table.
pub(crate) fn flows_at_once(library: &Arc<Library>) -> EngineResult<(FedTables, FlowFeed)> {
    let mut tables = FedTables::new();
    let feed = FlowFeed {
        library: Arc::clone(library),
        flows: sink_of::<Flows>(&mut tables)?,
        reports: sink_of::<FlowReports>(&mut tables)?,
        streams: sink_of::<Streams>(&mut tables)?,
        gaps: sink_of::<Gaps>(&mut tables)?,
        errors: sink_of::<DecodeErrors>(&mut tables)?,
    };
    Ok((tables, feed))
}

fn sink_of<T: Facts>(tables: &mut FedTables) -> EngineResult<SinkOf<T>> {
    let columns = T::columns();
    let schema = schema_of(&columns);
    let (table, output) = fed_table(&schema)?;
    tables.push((T::NAME, table));
    Ok(RowSink::new(columns, schema, output))
}

impl FlowFeed {
    /// Fills the tables, and waits while nobody reads them.
    ///
    /// # Errors
    /// When packets cannot be read; [`Error::Stopped`](crate::Error::Stopped) when a table is read no more.
    pub(crate) fn run(mut self) -> Result<()> {
        let flows = FlowOptions { reports: true, ..self.flows.options().flow_options() };
        let settings = PassSettings { flows, bytes: true, owners: true, flow_ids: None };
        let collectors = || {
            let counted = Both(CollectorOf::<Flows>::default(), CollectorOf::<FlowReports>::default());
            let missing = Both(CollectorOf::<Gaps>::default(), CollectorOf::<DecodeErrors>::default());
            Both(counted, Both(CollectorOf::<Streams>::default(), missing))
        };
        let library = Arc::clone(&self.library);
        follow(
            &library,
            &settings,
            collectors,
            |Both(Both(flows, reports), Both(streams, Both(gaps, errors)))| {
                flows.drain(&mut self.flows)?;
                reports.drain(&mut self.reports)?;
                streams.drain(&mut self.streams)?;
                gaps.drain(&mut self.gaps)?;
                errors.drain(&mut self.errors)
            },
        )?;
        self.flows.flush()?;
        self.reports.flush()?;
        self.streams.flush()?;
        self.gaps.flush()?;
        self.errors.flush()
    }
}
