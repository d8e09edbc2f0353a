//! The options of a session: `SET kcap.… = …`.

use datafusion::common::extensions_options;
use datafusion::config::{ConfigExtension, ConfigOptions};

extensions_options! {
    /// Options that belong to kcap.
    pub struct KcapOptions {
        /// Show both recorded copies of a packet that went from one socket of the host to another.
        pub duplicates: bool, default = false
    }
}

impl ConfigExtension for KcapOptions {
    const PREFIX: &'static str = "kcap";
}

impl KcapOptions {
    /// Whether a session with these options shows both copies of local packets.
    #[must_use]
    pub fn shows_duplicates(options: &ConfigOptions) -> bool {
        options.extensions.get::<Self>().is_some_and(|options| options.duplicates)
    }
}
