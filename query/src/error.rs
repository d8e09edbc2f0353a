//! What can go wrong between a path and a row.

use std::path::PathBuf;

use datafusion::error::DataFusionError;

/// Errors of the library part of `kcap`. Each message names the cause and the next step, in one line.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path given as SOURCE does not exist.
    #[error("{path}: no such file or folder", path = path.display())]
    MissingPath {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A folder without recordings.
    #[error(
        "{path}: no recording in this folder; name the folder that kcap-record wrote to, or one of pcap and pcapng files",
        path = path.display()
    )]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A segment could not be opened or read.
    #[error(transparent)]
    Format(#[from] kcap_format::Error),
    /// A capture file of another program could not be opened or read.
    #[error(transparent)]
    Import(#[from] kcap_import::Error),
    /// Rows could not be put into columns.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// The engine refused.
    #[error("{}", crate::sql::error_line(.0))]
    Engine(#[from] DataFusionError),
    /// A file or folder could not be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// Nobody reads the rows any more.
    #[error("the query was stopped")]
    Stopped,
}

/// Result with the [`enum@Error`] of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Engine(error) => error,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}
