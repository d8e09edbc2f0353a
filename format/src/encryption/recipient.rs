//! Whom a segment is encrypted to.

use std::str::FromStr;

use crate::error::Error;

/// A public key: who has its identity can read what is encrypted to it. Written `age1…`, as `age-keygen` prints it.
#[derive(Clone, Debug)]
pub struct Recipient(pub(super) age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with("AGE-SECRET-KEY-") {
            // Not repeated: it is a secret, and messages get logged.
            let what = "this is a secret key, which must not be on the host; give its public key";
            return Err(Error::Recipient { text: "AGE-SECRET-KEY-…".to_owned(), what });
        }
        text.parse().map(Self).map_err(|_| Error::Recipient {
            text: text.to_owned(),
            what: "not an age X25519 public key; it looks like age1…, and age-keygen makes one",
        })
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_are_read_and_nothing_else() {
        let public = age::x25519::Identity::generate().to_public().to_string();
        assert_eq!(public.parse::<Recipient>().unwrap().to_string(), public);
        let mut wrong = public.clone();
        wrong.replace_range(10..11, if &public[10..11] == "q" { "p" } else { "q" });
        for text in ["", "age1", "ssh-ed25519 AAAAC3Nz", &wrong] {
            let error = text.parse::<Recipient>().unwrap_err().to_string();
            assert!(error.contains("not an age X25519 public key") && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn a_secret_key_is_refused_and_not_repeated() {
        use age::secrecy::ExposeSecret;
        let secret = age::x25519::Identity::generate().to_string();
        let error = secret.expose_secret().parse::<Recipient>().unwrap_err().to_string();
        assert!(error.contains("secret key") && !error.contains(&secret.expose_secret()[20..]), "{error}");
    }
}
