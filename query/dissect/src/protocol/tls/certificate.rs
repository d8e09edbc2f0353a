//! What is reported of certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::der_parser::asn1_rs::{FromDer, Integer};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::distinguished_name;
use super::hex::{lower_hex, upper_hex};
use super::options::Fingerprint;
use super::reader::Reader;
use crate::protocol::{Fields, Value};

/// Certificates of a chain that are reported. OpenSSL verifies no longer ones.
pub(super) const CHAIN_LEN_MAX: usize = 100;

/// The longest serial number, in bytes, that is written as a decimal number (RFC 5280, section 4.1.2.2, allows 20).
const DECIMAL_SERIAL_LEN_MAX: usize = 64;

/// The certificates of a `Certificate` message until TLS 1.2 (RFC 5246, section 7.4.2), the sender's own first. Later ones are
/// encrypted.
pub(super) fn chain(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut list = Reader::new(Reader::new(body).vector24().unwrap_or_default());
    std::iter::from_fn(move || list.vector24()).take(CHAIN_LEN_MAX)
}

/// A certificate that could be read.
#[derive(Debug)]
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        X509Certificate::from_der(der).ok().map(|(_, certificate)| Self(certificate))
    }

    pub(super) fn subject(&self) -> String {
        distinguished_name::to_text(self.0.subject())
    }

    pub(super) fn issuer(&self) -> String {
        distinguished_name::to_text(self.0.issuer())
    }

    pub(super) fn not_before(&self) -> Value {
        time(self.0.validity().not_before)
    }

    pub(super) fn not_after(&self) -> Value {
        time(self.0.validity().not_after)
    }

    /// Fields of ECS below `x509`.
    pub(super) fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        let names = self.alternative_names();
        if !names.is_empty() {
            fields.set("alternative_names", Value::list(names));
        }
        fields.set("issuer", distinguished_name::fields(self.0.issuer()));
        fields.set("not_after", self.not_after());
        fields.set("not_before", self.not_before());
        fields.set("public_key_algorithm", public_key_algorithm(self.0.public_key()));
        fields.set_some("public_key_size", public_key_bits(self.0.public_key()));
        fields.set("serial_number", self.serial_number());
        fields.set("signature_algorithm", signature_algorithm(&self.0.signature_algorithm));
        fields.set("subject", distinguished_name::fields(self.0.subject()));
        fields.set("version_number", u64::from(self.0.version().0) + 1);
        fields
    }

    fn serial_number(&self) -> String {
        match self.0.raw_serial() {
            short if short.len() <= DECIMAL_SERIAL_LEN_MAX => self.0.tbs_certificate.serial.to_string(),
            long => lower_hex(&long[..DECIMAL_SERIAL_LEN_MAX]),
        }
    }

    /// DNS names, mail addresses, addresses, URIs, in that order, as Go's parser sorts them.
    fn alternative_names(&self) -> Vec<String> {
        let mut sorted: [Vec<String>; 4] = Default::default();
        for extension in self.0.extensions() {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                continue;
            };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => sorted[0].push((*name).to_owned()),
                    GeneralName::RFC822Name(name) => sorted[1].push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => sorted[2].extend(address(bytes)),
                    GeneralName::URI(name) => sorted[3].push((*name).to_owned()),
                    _ => {}
                }
            }
        }
        sorted.concat()
    }
}

/// The digest of a certificate.
pub(super) fn fingerprint(der: &[u8], kind: Fingerprint) -> String {
    match kind {
        Fingerprint::Md5 => upper_hex(&Md5::digest(der)),
        Fingerprint::Sha1 => upper_hex(&Sha1::digest(der)),
        Fingerprint::Sha256 => upper_hex(&Sha256::digest(der)),
    }
}

/// The certificate as text (RFC 7468).
pub(super) fn pem(der: &[u8]) -> String {
    const LINE_LEN: usize = 64;
    let encoded = STANDARD.encode(der);
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / LINE_LEN + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(LINE_LEN.min(rest.len()));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// A point in time; years that nanoseconds can't reach, such as the "no end" of RFC 5280, 9999, as text.
fn time(time: ASN1Time) -> Value {
    match time.timestamp().checked_mul(1_000_000_000) {
        Some(ns) => Value::Time(ns),
        None => {
            let date = time.to_datetime();
            Value::from(format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000Z",
                date.year(),
                u8::from(date.month()),
                date.day(),
                date.hour(),
                date.minute(),
                date.second()
            ))
        }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}

/// Go's names, which Packetbeat writes; the object identifier of others.
fn public_key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> String {
    let identifier = key.algorithm.algorithm.to_id_string();
    match identifier.as_str() {
        "1.2.840.113549.1.1.1" => "RSA".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.2.840.10045.2.1" => "ECDSA".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.3.101.110" => "X25519".to_owned(),
        _ => identifier,
    }
}

fn public_key_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    match key.parsed().ok()? {
        PublicKey::RSA(key) => Some(bits(key.modulus)),
        PublicKey::EC(point) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            Some(match curve.map(|curve| curve.to_id_string()).as_deref() {
                Some("1.3.132.0.33") => 224,
                Some("1.2.840.10045.3.1.7" | "1.3.132.0.10") => 256,
                Some("1.3.132.0.34") => 384,
                Some("1.3.132.0.35") => 521,
                _ => point.key_size(),
            })
        }
        // The length of the prime, the first of the parameters (RFC 3279, section 2.3.2).
        PublicKey::DSA(_) => {
            let parameters = key.algorithm.parameters.as_ref()?;
            let (_, prime) = Integer::from_der(parameters.data).ok()?;
            Some(bits(prime.as_ref()))
        }
        _ => None,
    }
}

fn bits(number: &[u8]) -> usize {
    match number.iter().position(|&byte| byte != 0) {
        None => 0,
        Some(at) => (number.len() - at) * 8 - number[at].leading_zeros() as usize,
    }
}

/// Go's names, which Packetbeat writes; the object identifier of others.
fn signature_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let identifier = algorithm.algorithm.to_id_string();
    let name = match identifier.as_str() {
        "1.2.840.113549.1.1.2" => "MD2-RSA",
        "1.2.840.113549.1.1.4" => "MD5-RSA",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "SHA1-RSA",
        "1.2.840.113549.1.1.10" => return pss_name(algorithm).map_or(identifier, str::to_owned),
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.10040.4.3" => "DSA-SHA1",
        "2.16.840.1.101.3.4.3.2" => "DSA-SHA256",
        "1.2.840.10045.4.1" => "ECDSA-SHA1",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        _ => return identifier,
    };
    name.to_owned()
}

/// RSASSA-PSS names its hash in its parameters (RFC 4055).
fn pss_name(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static str> {
    let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) else {
        return None;
    };
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Some("SHA256-RSAPSS"),
        "2.16.840.1.101.3.4.2.2" => Some("SHA384-RSAPSS"),
        "2.16.840.1.101.3.4.2.3" => Some("SHA512-RSAPSS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl ca -selfsign` and `openssl req -x509 -sigopt rsa_padding_mode:pss`.
    const ECDSA: &[u8] = include_bytes!("testdata/ecdsa.der");
    const RSA_PSS: &[u8] = include_bytes!("testdata/rsa_pss.der");

    #[test]
    fn an_ecdsa_certificate() {
        let certificate = Certificate::parse(ECDSA).unwrap();
        assert_eq!(certificate.subject(), "CN=a.test,OU=One+OU=Two,O=Example\\, Inc.,L=Town,ST=State,C=DE");
        let fields = certificate.fields();
        for (path, expected) in [
            ("public_key_algorithm", Value::from("ECDSA")),
            ("public_key_size", Value::from(384_usize)),
            ("signature_algorithm", Value::from("ECDSA-SHA256")),
            ("serial_number", Value::from("320303923501871489846938227999661267578131329321")),
            ("version_number", Value::from(3_u64)),
            (
                "alternative_names",
                Value::list(["a.test", "b.test", "m@a.test", "192.0.2.1", "2001:db8::1", "https://a.test/"]),
            ),
            ("subject.common_name", Value::from("a.test")),
            ("subject.organizational_unit", Value::list(["One", "Two"])),
            ("not_before", Value::Time(1_577_836_800_000_000_000)),
            ("not_after", Value::from("9999-12-31T23:59:59.000Z")),
        ] {
            assert_eq!(fields.value(path), Some(&expected), "{path}");
        }
    }

    #[test]
    fn an_rsa_certificate_signed_with_pss() {
        let fields = Certificate::parse(RSA_PSS).unwrap().fields();
        assert_eq!(fields.value("signature_algorithm"), Some(&Value::from("SHA384-RSAPSS")));
        assert_eq!(fields.value("public_key_algorithm"), Some(&Value::from("RSA")));
        assert_eq!(fields.value("public_key_size"), Some(&Value::from(2048_usize)));
    }

    #[test]
    fn chains() {
        let chain_of = |bytes: &[u8]| chain(bytes).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(chain_of(&[0, 0, 9, 0, 0, 1, 7, 0, 0, 2, 8, 9]), [vec![7], vec![8, 9]]);
        assert_eq!(chain_of(&[0, 0, 0]), Vec::<Vec<u8>>::new(), "a client without a certificate");
        assert_eq!(chain_of(&[0, 0, 5, 0, 0, 9, 7, 7]), Vec::<Vec<u8>>::new(), "a length that doesn't fit");
        let many: Vec<u8> = [0, 0x0b, 0xb8].into_iter().chain([0; 3000]).collect();
        assert_eq!(chain(&many).count(), CHAIN_LEN_MAX);
    }

    #[test]
    fn digests_and_pem() {
        assert_eq!(fingerprint(b"abc", Fingerprint::Md5), "900150983CD24FB0D6963F7D28E17F72");
        assert_eq!(fingerprint(b"abc", Fingerprint::Sha1), "A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert!(fingerprint(b"abc", Fingerprint::Sha256).starts_with("BA7816BF8F01CFEA"));
        let text = pem(&[0; 49]);
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [27, 64, 4, 25]);
    }

    #[test]
    fn every_truncation_and_many_changes() {
        for der in [ECDSA, RSA_PSS] {
            for len in 0..der.len() {
                assert!(Certificate::parse(&der[..len]).is_none(), "{len}");
            }
            let mut changed = der.to_vec();
            for at in 0..der.len() {
                for bit in [0, 7] {
                    changed[at] ^= 1 << bit;
                    if let Some(certificate) = Certificate::parse(&changed) {
                        certificate.fields();
                    }
                    changed[at] ^= 1 << bit;
                }
            }
        }
    }
}
