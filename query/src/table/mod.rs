//! The tables: one file each, and what they share.

mod both;
mod captures;
pub(crate) mod column;
mod containers;
mod conversation;
mod decode_errors;
mod documentation;
mod facts;
pub(crate) mod fed;
mod file_columns;
mod flow_ids;
mod flow_reports;
mod flows;
pub(crate) mod flows_at_once;
mod gaps;
mod interfaces;
mod losses;
mod mapping_columns;
pub mod packets;
mod process_columns;
mod process_events;
mod processes;
mod recorder_steps;
mod row_collector;
mod scan_plan;
pub(crate) mod segments;
mod sockets;
mod stream_columns;
mod streams;
mod text;
pub(crate) mod transactions;
pub mod types;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use kcap_dissect::protocol::Protocols;

use crate::source::Library;

pub use documentation::{TableDocumentation, documentation, documentation_markdown};
pub use flow_ids::FlowIds;

/// Every table over the recordings of a library, with its name. Those of transactions look for these protocols.
#[must_use]
pub fn providers(
    library: &Arc<Library>,
    protocols: &Protocols,
) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    let mut providers = vec![
        packets::provider(library),
        facts::provider::<flows::Flows>(library),
        facts::provider::<flow_reports::FlowReports>(library),
        facts::provider::<streams::Streams>(library),
        facts::provider::<gaps::Gaps>(library),
        facts::provider::<decode_errors::DecodeErrors>(library),
        facts::provider::<processes::Processes>(library),
        facts::provider::<process_events::ProcessEvents>(library),
        facts::provider::<sockets::Sockets>(library),
        facts::provider::<containers::Containers>(library),
        facts::provider::<losses::Losses>(library),
        facts::provider::<recorder_steps::RecorderSteps>(library),
        facts::provider::<segments::Segments>(library),
        facts::provider::<captures::Captures>(library),
        facts::provider::<interfaces::Interfaces>(library),
    ];
    providers.extend(transactions::providers(library, protocols));
    providers
}
