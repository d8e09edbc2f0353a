//! Options of TLS.

use crate::protocol::{OptionError, OptionTable};

/// A digest of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fingerprint {
    Md5,
    Sha1,
    Sha256,
}

impl Fingerprint {
    const ALL: [(&'static str, Self); 3] =
        [("md5", Self::Md5), ("sha1", Self::Sha1), ("sha256", Self::Sha256)];

    /// Its name in options and fields.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// What is in force for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// `send_certificates`: whether what is in certificates is reported.
    pub(super) send_certificates: bool,
    /// `include_raw_certificates`: whether certificates are reported as PEM.
    pub(super) include_raw_certificates: bool,
    /// `include_detailed_fields`: whether there is more than ECS's fields.
    pub(super) include_detailed_fields: bool,
    /// `fingerprints`: digests of the certificates of both ends.
    pub(super) fingerprints: Vec<Fingerprint>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_certificates: true,
            include_raw_certificates: false,
            include_detailed_fields: true,
            fingerprints: vec![Fingerprint::Sha1],
        }
    }
}

impl Options {
    /// Takes them out of a table.
    pub(super) fn read(table: &mut OptionTable) -> Result<Self, OptionError> {
        let default = Self::default();
        Ok(Self {
            send_certificates: table.switch("send_certificates", default.send_certificates)?,
            include_raw_certificates: table
                .switch("include_raw_certificates", default.include_raw_certificates)?,
            include_detailed_fields: table
                .switch("include_detailed_fields", default.include_detailed_fields)?,
            fingerprints: match table.texts("fingerprints")? {
                None => default.fingerprints,
                Some(names) => names.iter().map(|name| fingerprint(table, name)).collect::<Result<_, _>>()?,
            },
        })
    }
}

fn fingerprint(table: &OptionTable, name: &str) -> Result<Fingerprint, OptionError> {
    let known = Fingerprint::ALL.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    known
        .map(|&(_, fingerprint)| fingerprint)
        .ok_or_else(|| table.problem("fingerprints", format!("{name:?} is not one of md5, sha1, sha256")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, OptionError> {
        Options::read(&mut OptionTable::new("tls", text.parse().unwrap()))
    }

    #[test]
    fn packetbeats_names() {
        assert_eq!(read("").unwrap(), Options::default());
        let options = read(
            "send_certificates = false\ninclude_raw_certificates = true\ninclude_detailed_fields = false\n\
             fingerprints = [\"sha256\", \"MD5\"]",
        );
        assert_eq!(
            options.unwrap(),
            Options {
                send_certificates: false,
                include_raw_certificates: true,
                include_detailed_fields: false,
                fingerprints: vec![Fingerprint::Sha256, Fingerprint::Md5],
            }
        );
    }

    #[test]
    fn unknown_digests() {
        let error = read("fingerprints = [\"crc32\"]").unwrap_err().to_string();
        assert_eq!(error, "[tls] fingerprints: \"crc32\" is not one of md5, sha1, sha256");
    }
}
