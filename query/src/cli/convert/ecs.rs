//! Documents in the Elastic Common Schema.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::ProgressBar;
use kcap_dissect::flow::FlowOptions;

use super::output_file::OutputFile;
use crate::Error;
use crate::config::Config;
use crate::export::ecs::{EcsFormat, EcsWriter};
use crate::source::Library;
use crate::transactions::{TransactionOptions, each};

/// Writes a document for each transaction, and for each report of a flow when the file asks for them.
pub(super) fn write(
    library: &Arc<Library>,
    config: &Config,
    format: EcsFormat,
    out: &Path,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut flows = FlowOptions { reports: config.flows.is_some(), ..FlowOptions::default() };
    if let Some(wanted) = &config.flows {
        (flows.timeout_ns, flows.period_ns) = (wanted.timeout_ns, wanted.period_ns);
    }
    // As Packetbeat: documents are of the ports that are named, tables of whatever is recognised.
    let protocols = config.protocols.clone().only_on_ports();
    let options = TransactionOptions { protocols, flows, ..TransactionOptions::default() };
    let mut writer = EcsWriter::new(config, format, BufWriter::new(OutputFile::open(out)?));
    // The sink of transactions has the library's errors; one of the output is kept until it has stopped them.
    let mut failed = None;
    let result = each(
        library,
        &options,
        |bytes| bar.inc(bytes),
        |found| {
            writer.write(&found).map_err(|error| {
                failed = Some(error);
                Error::Stopped
            })
        },
    );
    match (failed, result) {
        (Some(error), _) => Err(error.into()),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(())) => {
            let mut output = writer.into_inner();
            output.flush()?;
            output.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
        }
    }
}
