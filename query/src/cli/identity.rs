//! `--identity`: whose keys encrypted recordings are read with.

use std::path::PathBuf;

use clap::Args;
use kcap_format::Identities;

/// The option, for every command that reads records.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct IdentityArguments {
    /// Read encrypted recordings with the secret keys of this age identity file; may be given several times
    #[arg(long = "identity", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl IdentityArguments {
    /// Reads the files.
    pub(super) fn read(&self) -> crate::Result<Identities> {
        self.files.iter().try_fold(Identities::default(), |all, file| Ok(all.and(&Identities::read(file)?)))
    }
}
