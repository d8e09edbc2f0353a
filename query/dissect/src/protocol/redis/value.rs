//! Values of RESP, version 2 and 3.

use std::fmt;

/// A value. Only as much of it as the [limits](super::parser) allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Text or bytes: simple, bulk and verbatim strings, and numbers that have no type here.
    Text(String),
    /// A number.
    Integer(i64),
    /// Yes or no.
    Bool(bool),
    /// Null, of either version.
    Nil,
    /// It failed: what follows the `-` or `!`.
    Error(String),
    /// Several values.
    Items(Aggregate, Vec<Value>),
    /// The database, as it is sent to a replica; its bytes are not kept.
    Database,
}

/// What several values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Array,
    /// Keys and values by turns.
    Map,
    Set,
    /// Not a reply: sent without a request, or for a subscription.
    Push,
    /// About the value that follows.
    Attribute,
}

impl Value {
    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values in it; none, if it isn't several.
    pub(super) fn items(&self) -> &[Value] {
        match self {
            Self::Items(_, items) => items,
            _ => &[],
        }
    }
}

/// As Packetbeat writes it: `[a, b, [nil]]`.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Error(text) => formatter.write_str(text),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Nil => formatter.write_str("nil"),
            Self::Database => formatter.write_str("<database>"),
            Self::Items(_, items) => {
                formatter.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        formatter.write_str(", ")?;
                    }
                    write!(formatter, "{item}")?;
                }
                formatter.write_str("]")
            }
        }
    }
}
