//! How much of a program's environment is kept. Values are often secrets.

use std::fmt;

use clap::ValueEnum;

use super::process::split_arguments;

/// What is kept of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Environment {
    /// Nothing
    None,
    /// The names of variables
    Names,
    /// Names and values, which may hold passwords and keys
    Values,
}

impl Environment {
    /// False when the kernel programs need not copy it either.
    pub(crate) fn is_wanted(self) -> bool {
        self != Self::None
    }

    /// What is kept of an environment as it lies in memory, each entry ended by NUL; the last may be cut.
    pub(crate) fn keep(self, bytes: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::None => Vec::new(),
            Self::Names => split_arguments(bytes).into_iter().filter_map(name).collect(),
            Self::Values => split_arguments(bytes),
        }
    }
}

/// An entry without "=" is none that getenv(3) would find: it may be a secret as well as a name.
fn name(mut entry: Vec<u8>) -> Option<Vec<u8>> {
    let end = entry.iter().position(|byte| *byte == b'=')?;
    entry.truncate(end);
    Some(entry)
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().unwrap_or_default();
        formatter.write_str(value.get_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_only_when_asked_for() {
        let bytes = b"HOME=/root\0EMPTY=\0secret\0TOKEN=a=b\0CUT=hal";
        let names: Vec<Vec<u8>> = [&b"HOME"[..], b"EMPTY", b"TOKEN", b"CUT"].map(<[u8]>::to_vec).into();
        assert_eq!(Environment::Names.keep(bytes), names);
        assert_eq!(Environment::Values.keep(bytes)[3], b"TOKEN=a=b");
        assert!(Environment::None.keep(bytes).is_empty());
    }
}
