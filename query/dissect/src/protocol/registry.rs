//! The protocols that there are.

use std::fmt;
use std::sync::Arc;

use toml::Table;

use super::column::Column;
use super::options::{CommonOptions, OptionError, OptionTable};
use super::parser::Dissector;
use super::{dhcpv4, dns, http, icmp, mysql, pgsql, redis, tls};

/// All protocols, in the order of their tables' names in documentation. A new protocol is a folder and a line here.
pub static PROTOCOLS: &[&Protocol] = &[
    &icmp::PROTOCOL,
    &dhcpv4::PROTOCOL,
    &dns::PROTOCOL,
    &http::PROTOCOL,
    &mysql::PROTOCOL,
    &pgsql::PROTOCOL,
    &redis::PROTOCOL,
    &tls::PROTOCOL,
];

/// A protocol: its folder has one of these.
#[derive(Debug)]
pub struct Protocol {
    /// Name of its table, of its table of options, and the `type` of its documents.
    pub name: &'static str,
    /// Its name as its standard writes it.
    pub title: &'static str,
    /// Ports where it is expected, unless option `ports` says others.
    pub ports: &'static [u16],
    /// Numbers of the IP protocols that it is spoken over, of [`crate::decode::ip_protocol`].
    pub ip_protocols: &'static [u8],
    /// Columns that its table has beside those of all transactions.
    pub columns: &'static [Column],
    /// Makes the dissector: takes its own options out of the table; the common ones were taken before.
    pub configure: Configure,
}

/// See [`Protocol::configure`].
pub type Configure = fn(&CommonOptions, &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError>;

/// The protocol of this name.
#[must_use]
pub fn protocol(name: &str) -> Option<&'static Protocol> {
    PROTOCOLS.iter().copied().find(|protocol| protocol.name == name)
}

/// A protocol with its options.
#[derive(Clone)]
pub struct Configured {
    /// Which.
    pub protocol: &'static Protocol,
    /// The options that every protocol has.
    pub common: CommonOptions,
    /// What recognises and parses it, with its own options.
    pub dissector: Arc<dyn Dissector>,
    /// Whether transactions have fields beside what all protocols have in common.
    wants_fields: bool,
}

impl Configured {
    /// Whether transactions of the protocol have their fields; see [`Protocols::with_fields_of`].
    #[must_use]
    pub fn wants_fields(&self) -> bool {
        self.wants_fields
    }
}

impl fmt::Debug for Configured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Configured")
            .field("name", &self.protocol.name)
            .field("common", &self.common)
            .finish()
    }
}

/// All protocols with their options. Cheap to copy.
#[derive(Clone, Debug)]
pub struct Protocols {
    configured: Arc<[Configured]>,
    /// Whether protocols whose options don't say so are followed on any port.
    on_any_port: bool,
}

impl Protocols {
    /// Reads the options of protocols from tables that are named like them; a protocol without one has its defaults.
    ///
    /// # Errors
    /// When a table, an option or a value doesn't exist.
    pub fn read(mut tables: Table) -> Result<Self, OptionError> {
        let configured = PROTOCOLS
            .iter()
            .map(|protocol| {
                let entries = match tables.remove(protocol.name) {
                    None => Table::new(),
                    Some(toml::Value::Table(entries)) => entries,
                    Some(other) => {
                        return Err(OptionError::Value {
                            table: String::new(),
                            name: protocol.name.to_owned(),
                            problem: format!("{other} is not a table of options: write [{}]", protocol.name),
                        });
                    }
                };
                let mut options = OptionTable::new(protocol.name, entries);
                let common = CommonOptions::read(&mut options, protocol.ports)?;
                let dissector = (protocol.configure)(&common, &mut options)?;
                options.finish()?;
                Ok(Configured { protocol, common, dissector, wants_fields: true })
            })
            .collect::<Result<_, _>>()?;
        match tables.into_iter().next() {
            None => Ok(Self { configured, on_any_port: true }),
            Some((name, _)) => {
                let known: Vec<_> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
                Err(OptionError::Protocol { name, known: known.join(", ") })
            }
        }
    }

    /// The protocols that are enabled.
    pub fn enabled(&self) -> impl Iterator<Item = &Configured> {
        self.configured.iter().filter(|configured| configured.common.enabled)
    }

    /// Follows protocols on their ports only, unless their option `any_port` says otherwise. Those that have no ports are followed
    /// everywhere.
    #[must_use]
    pub fn only_on_ports(self) -> Self {
        Self { on_any_port: false, ..self }
    }

    /// Leaves [`Transaction::fields`](super::Transaction::fields) out of what is found of all protocols but those that are
    /// wanted: making them is most of the work.
    #[must_use]
    pub fn with_fields_of(self, wanted: impl Fn(&Protocol) -> bool) -> Self {
        let configured = (self.configured.iter())
            .map(|configured| Configured { wants_fields: wanted(configured.protocol), ..configured.clone() });
        Self { configured: configured.collect(), ..self }
    }

    /// Whether a protocol is followed in conversations on none of its ports.
    pub(super) fn is_on_any_port(&self, configured: &Configured) -> bool {
        configured.common.any_port.unwrap_or(self.on_any_port) || configured.common.ports.is_empty()
    }

    /// The protocol of this name, also when it isn't enabled.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Configured> {
        self.configured.iter().find(|configured| configured.protocol.name == name)
    }
}

impl Default for Protocols {
    /// All protocols with their defaults.
    fn default() -> Self {
        // Only options that are there can be wrong: `tests::defaults_are_right` holds that for all protocols.
        Self::read(Table::new()).unwrap_or_else(|_| Self { configured: Arc::new([]), on_any_port: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_right() {
        let protocols = Protocols::default();
        assert_eq!(protocols.enabled().count(), PROTOCOLS.len());
    }

    #[test]
    fn names_are_one_word_and_differ() {
        let mut names: Vec<_> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROTOCOLS.len());
    }

    #[test]
    fn columns_are_described_and_differ() {
        for protocol in PROTOCOLS {
            let mut paths: Vec<_> = protocol.columns.iter().map(|column| column.path).collect();
            paths.sort_unstable();
            paths.dedup();
            assert_eq!(paths.len(), protocol.columns.len(), "{}", protocol.name);
            assert!(
                protocol.columns.iter().all(|column| !column.description.is_empty()),
                "{}",
                protocol.name
            );
        }
    }

    #[test]
    fn tables_of_no_protocol_are_refused() {
        let error = Protocols::read("[dsn]\nports = [53]".parse().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("no protocol is called dsn; there are: "), "{error}");
        let error = Protocols::read("dns = 1".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("write [dns]"), "{error}");
    }

    #[test]
    fn what_is_not_enabled_is_left_out() {
        let protocols = Protocols::read("[dns]\nenabled = false".parse().unwrap()).unwrap();
        assert!(protocols.enabled().all(|configured| configured.protocol.name != "dns"));
        assert!(protocols.named("dns").is_some());
    }
}
