//! The tables: one file each, and what they share.

mod captures;
pub(crate) mod column;
mod documentation;
mod facts;
mod interfaces;
mod losses;
pub mod packets;
mod process_events;
mod processes;
pub(crate) mod segments;
mod sockets;
mod text;
pub mod types;

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::source::Library;

pub use documentation::{TableDocumentation, documentation, documentation_markdown};

/// Every table over the recordings of a library, with its name.
#[must_use]
pub fn providers(library: &Arc<Library>) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    vec![
        packets::provider(library),
        facts::provider::<processes::Processes>(library),
        facts::provider::<process_events::ProcessEvents>(library),
        facts::provider::<sockets::Sockets>(library),
        facts::provider::<losses::Losses>(library),
        facts::provider::<segments::Segments>(library),
        facts::provider::<captures::Captures>(library),
        facts::provider::<interfaces::Interfaces>(library),
    ]
}
