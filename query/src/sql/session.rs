//! Makes a session: tables over a recording, functions, options and a bound on memory.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::prelude::{SessionConfig, SessionContext};
use kcap_dissect::protocol::Protocols;

use super::address_literals::AddressLiterals;
use super::bpf_columns::BpfColumns;
use super::functions::all_functions;
use super::options::KcapOptions;
use crate::source::Library;
use crate::table;

/// Memory that a query's operators may take before they spill to disk, unless `--memory-limit` says otherwise.
pub const MEMORY_LIMIT_DEFAULT_BYTES: usize = 1 << 30;
/// Most rows of a batch that goes from operator to operator.
const BATCH_ROWS_MAX: usize = 8192;
/// How many of the largest consumers an out-of-memory error names.
const REPORTED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// What a session may use and shows.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Show both recorded copies of local packets.
    pub duplicates: bool,
    /// Bytes that operators may take in memory; sorts and aggregations beyond it spill to temporary files.
    pub memory_limit_bytes: usize,
    /// The protocols that tables of transactions look for, with their options.
    pub protocols: Protocols,
    /// Silence after which a conversation without connections is over, in milliseconds.
    pub flow_timeout_ms: u64,
    /// Time between reports of a flow in milliseconds; 0 for one report at the end.
    pub flow_period_ms: u64,
    /// How many partitions a scan is cut into; the processor count unless set.
    pub partitions: Option<usize>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        let options = KcapOptions::default();
        Self {
            duplicates: options.duplicates,
            memory_limit_bytes: MEMORY_LIMIT_DEFAULT_BYTES,
            flow_timeout_ms: options.flow_timeout_ms,
            flow_period_ms: options.flow_period_ms,
            protocols: Protocols::default(),
            partitions: None,
        }
    }
}

/// A session over the recordings of `library`.
///
/// # Errors
/// When the engine cannot be set up.
pub fn new_session(library: &Arc<Library>, settings: &SessionSettings) -> Result<SessionContext> {
    let context = empty_session(settings)?;
    for (name, provider) in table::providers(library, &settings.protocols) {
        context.register_table(name, provider)?;
    }
    Ok(context)
}

/// A session with everything but tables.
pub(super) fn empty_session(settings: &SessionSettings) -> Result<SessionContext> {
    let options = KcapOptions {
        duplicates: settings.duplicates,
        flow_timeout_ms: settings.flow_timeout_ms,
        flow_period_ms: settings.flow_period_ms,
        ..KcapOptions::default()
    };
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_batch_size(BATCH_ROWS_MAX)
        .with_option_extension(options)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        // Tables have the same types, whether they come from segments or from Parquet.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
    if let Some(partitions) = settings.partitions {
        config = config.with_target_partitions(partitions);
    }
    let pool = TrackConsumersPool::new(FairSpillPool::new(settings.memory_limit_bytes), REPORTED_CONSUMERS);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    let mut analyzer_rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(AddressLiterals), Arc::new(BpfColumns)];
    analyzer_rules.extend(Analyzer::new().rules);
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_analyzer_rules(analyzer_rules)
        .build();
    datafusion::execution::FunctionRegistry::register_expr_planner(&mut state, Arc::new(AddressLiterals))?;
    let context = SessionContext::new_with_state(state);
    for function in all_functions() {
        context.register_udf(function);
    }
    Ok(context)
}
