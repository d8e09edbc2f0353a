//! Who may read encrypted segments.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::limits::IDENTITY_FILE_LEN_MAX;

/// Secret keys that encrypted segments are read with. Cheap to clone; none by default.
#[derive(Clone, Default)]
pub struct Identities(Arc<Vec<age::x25519::Identity>>);

impl Identities {
    /// The secret keys of an age identity file, as `age-keygen` writes it: one a line, and lines that begin with `#`.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Identity`] when it is no such file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let wrong = |what| Error::Identity { path: path.to_owned(), line: None, what };
        let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        if metadata.len() > IDENTITY_FILE_LEN_MAX {
            return Err(wrong("too large for an age identity file"));
        }
        let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| Error::io(path, error))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("not text, and so no age identity file"))?;
        Self::parse(path, text)
    }

    /// As [`Self::read`], of text; `name` stands for the path in messages.
    ///
    /// # Errors
    /// [`Error::Identity`].
    pub fn parse(name: impl AsRef<Path>, text: &str) -> Result<Self> {
        let wrong = |line, what| Error::Identity { path: name.as_ref().to_owned(), line, what };
        let mut identities = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself is a secret, even when it is a misspelled one.
            let what = match line {
                _ if line.starts_with("age1") => {
                    "a public key; the identity file with its secret key is needed"
                }
                _ if line.starts_with("age-encryption.org/") || line.starts_with("-----BEGIN AGE") => {
                    "an encrypted identity file; decrypt it with age -d first"
                }
                _ if line.starts_with("AGE-PLUGIN-") => {
                    "an identity of an age plugin, which kcap doesn't use"
                }
                _ => "not an age identity (AGE-SECRET-KEY-1…)",
            };
            identities.push(line.parse().map_err(|_| wrong(Some(number), what))?);
        }
        if identities.is_empty() {
            return Err(wrong(None, "no identity in this file; age-keygen makes one"));
        }
        Ok(Self(Arc::new(identities)))
    }

    /// The identities of both.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(Arc::new(self.0.iter().chain(others.0.iter()).cloned().collect()))
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }
}

impl fmt::Debug for Identities {
    /// How many; never which.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identities({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;

    #[test]
    fn an_identity_file_is_read_as_age_does() {
        let secret = age::x25519::Identity::generate().to_string();
        let text = format!("# created: today\n# public key: age1…\n\n{}\n", secret.expose_secret());
        let identities = Identities::parse("key.txt", &text).unwrap();
        assert_eq!((identities.iter().count(), identities.is_empty()), (1, false));
        assert_eq!(format!("{:?}", identities.and(&identities)), "Identities(2)");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
        assert!(!Identities::read(&path).unwrap().is_empty());
        assert!(matches!(Identities::read(folder.path().join("none")), Err(Error::Io { .. })));
        std::fs::write(&path, [0xFF; 9]).unwrap();
        assert!(matches!(Identities::read(&path), Err(Error::Identity { .. })));
    }

    #[test]
    fn what_is_no_identity_file_is_refused_in_one_line_without_the_secret() {
        let public = age::x25519::Identity::generate().to_public().to_string();
        let secret = "AGE-SECRET-KEY-1MISSPELLED";
        for (text, said) in [
            ("", "no identity"),
            ("# a comment\n", "no identity"),
            (&public, "line 1: a public key"),
            ("\nage-encryption.org/v1\n", "line 2: an encrypted identity file"),
            ("AGE-PLUGIN-YUBIKEY-1QQ", "plugin"),
            (secret, "not an age identity"),
        ] {
            let error = Identities::parse("key.txt", text).unwrap_err().to_string();
            assert!(error.starts_with("key.txt: ") && error.contains(said), "{error}");
            assert!(error.lines().count() == 1 && !error.contains("MISSPELLED"), "{error}");
        }
    }
}
