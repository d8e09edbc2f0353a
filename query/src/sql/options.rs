//! The options of a session: `SET kcap.… = …`.

use datafusion::common::extensions_options;
use datafusion::config::{ConfigExtension, ConfigOptions};
use kcap_dissect::flow::FlowOptions;
use kcap_dissect::stream::{Overlaps, StreamOptions};

const NS_PER_MS: i64 = 1_000_000;

extensions_options! {
    /// Options that belong to kcap.
    pub struct KcapOptions {
        /// Show both recorded copies of a packet that went from one socket of the host to another.
        pub duplicates: bool, default = false
        /// Silence after which a conversation without connections (UDP, ICMP, …) is over, and the reports of any flow end.
        pub flow_timeout_ms: u64, default = 30_000
        /// Time between the reports of a flow in `flow_reports`; 0 for one report at the end.
        pub flow_period_ms: u64, default = 10_000
        /// Whose bytes count where TCP segments overlap that still wait for others: the first or the last ones that came.
        pub stream_overlaps: String, default = "first".to_owned()
    }
}

impl ConfigExtension for KcapOptions {
    const PREFIX: &'static str = "kcap";
}

impl KcapOptions {
    /// The options of a session.
    #[must_use]
    pub fn of(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// How flows are followed with these options.
    #[must_use]
    pub fn flow_options(&self) -> FlowOptions {
        let nanoseconds = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS);
        let overlaps = if self.stream_overlaps == "last" { Overlaps::LastWins } else { Overlaps::FirstWins };
        FlowOptions {
            timeout_ns: nanoseconds(self.flow_timeout_ms),
            period_ns: Some(self.flow_period_ms).filter(|period| *period > 0).map(nanoseconds),
            stream: StreamOptions { overlaps, ..StreamOptions::default() },
            ..FlowOptions::default()
        }
    }

    /// Whether a session with these options shows both copies of local packets.
    #[must_use]
    pub fn shows_duplicates(options: &ConfigOptions) -> bool {
        options.extensions.get::<Self>().is_some_and(|options| options.duplicates)
    }
}
