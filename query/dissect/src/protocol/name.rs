//! Names of fields.

use std::fmt;

/// Most bytes of a name that is kept where it stands: then it is as large as the `String` that it is in place of.
const SHORT_LEN_MAX: usize = 22;

/// A name of a field. A transaction has dozens; those of up to 22 bytes, which nearly all are, need no memory of their own.
#[derive(Clone)]
pub(super) enum Name {
    Short { len: u8, bytes: [u8; SHORT_LEN_MAX] },
    Long(Box<str>),
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; SHORT_LEN_MAX];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(name.as_bytes());
                Self::Short { len, bytes }
            }
            _ => Self::Long(name.into()),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.as_bytes() == name.as_bytes()
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            // It was made of text as a whole.
            Self::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Long(name) => name,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len).min(SHORT_LEN_MAX)],
            Self::Long(name) => name.as_bytes(),
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_are_what_they_were_made_of() {
        for len in 0..64 {
            let text: String = "äbc".chars().cycle().take(len).collect();
            let name = Name::new(&text);
            assert_eq!(name.as_str(), text);
            assert!(name.is(&text) && !name.is(&format!("{text}x")));
            assert_eq!(name, name.clone());
        }
        assert_eq!(size_of::<Name>(), size_of::<String>());
    }
}
