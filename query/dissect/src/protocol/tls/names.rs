//! Names of TLS's numbers, those that Packetbeat writes: IANA's, save where noted.

use super::cipher_suites::cipher_suite_name;

/// Extension `server_name` (RFC 6066).
pub(super) const SERVER_NAME: u16 = 0;
/// Extension `supported_groups` (RFC 8422).
pub(super) const SUPPORTED_GROUPS: u16 = 10;
/// Extension `ec_point_formats` (RFC 8422).
pub(super) const EC_POINT_FORMATS: u16 = 11;
/// Extension `signature_algorithms` (RFC 8446).
pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
/// Extension `application_layer_protocol_negotiation` (RFC 7301).
pub(super) const ALPN: u16 = 16;
/// Extension `session_ticket` (RFC 5077).
pub(super) const SESSION_TICKET: u16 = 35;
/// Extension `pre_shared_key` (RFC 8446).
pub(super) const PRE_SHARED_KEY: u16 = 41;
/// Extension `early_data` (RFC 8446).
pub(super) const EARLY_DATA: u16 = 42;
/// Extension `supported_versions` (RFC 8446).
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
/// Extension `key_share` (RFC 8446).
pub(super) const KEY_SHARE: u16 = 51;

/// Versions on the wire.
pub(super) const TLS_1_3: u16 = 0x0304;

/// Values that clients send to keep servers tolerant (RFC 8701). They mean nothing, and differ from one connection to the next.
pub(super) fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// A cipher suite.
pub(super) fn cipher_suite(suite: u16) -> String {
    name_or_number(cipher_suite_name(suite), suite)
}

/// A named group (IANA "TLS Supported Groups").
pub(super) fn group(group: u16) -> String {
    name_or_number(group_name(group), group)
}

/// A signature scheme (IANA "TLS SignatureScheme"; the three for RSA-PSS with `rsaEncryption` keys have the names of their
/// drafts).
pub(super) fn signature_scheme(scheme: u16) -> String {
    name_or_number(signature_scheme_name(scheme), scheme)
}

/// A version as people write it: `TLS 1.3`.
pub(super) fn version(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        TLS_1_3 => "TLS 1.3".to_owned(),
        // Drafts of TLS 1.3 (RFC 8446, section 4.2.1.1 of its drafts).
        0x7f00..=0x7fff => format!("TLS 1.3 (draft {})", version & 0xff),
        _ => name_or_number(None, version),
    }
}

/// A compression method (RFC 3749).
pub(super) fn compression_method(method: u8) -> String {
    match method {
        0 => "NULL".to_owned(),
        1 => "DEFLATE".to_owned(),
        64 => "LZS".to_owned(),
        _ => format!("(unknown:0x{method:02x})"),
    }
}

/// An EC point format (RFC 8422).
pub(super) fn ec_point_format(format: u8) -> String {
    match format {
        0 => "uncompressed".to_owned(),
        1 => "ansiX962_compressed_prime".to_owned(),
        2 => "ansiX962_compressed_char2".to_owned(),
        _ => format!("(unknown:0x{format:02x})"),
    }
}

/// A certificate type (RFC 6091, RFC 7250).
pub(super) fn certificate_type(kind: u8) -> String {
    match kind {
        0 => "X.509".to_owned(),
        1 => "OpenPGP".to_owned(),
        2 => "RawPubKey".to_owned(),
        _ => format!("(unknown:0x{kind:02x})"),
    }
}

/// The name of those extensions that Packetbeat knows; the number of others.
pub(super) fn extension(kind: u16) -> String {
    let name = match kind {
        SERVER_NAME => "server_name_indication",
        1 => "max_fragment_length",
        2 => "client_certificate_url",
        3 => "trusted_ca_keys",
        4 => "truncated_hmac",
        5 => "status_request",
        6 => "user_mapping",
        7 => "client_authz",
        8 => "server_authz",
        9 => "cert_type",
        SUPPORTED_GROUPS => "supported_groups",
        EC_POINT_FORMATS => "ec_points_formats",
        12 => "srp",
        SIGNATURE_ALGORITHMS => "signature_algorithms",
        ALPN => "application_layer_protocol_negotiation",
        SESSION_TICKET => "session_ticket",
        SUPPORTED_VERSIONS => "supported_versions",
        0xff01 => "renegotiation_info",
        _ => return kind.to_string(),
    };
    name.to_owned()
}

/// An alert's description (RFC 8446, section 6, and those of earlier versions).
pub(super) fn alert(description: u8) -> String {
    let name = match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed_RESERVED",
        22 => "record_overflow",
        30 => "decompression_failure_RESERVED",
        40 => "handshake_failure",
        41 => "no_certificate_RESERVED",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction_RESERVED",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation_RESERVED",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable_RESERVED",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value_RESERVED",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return format!("(unknown:0x{description:02x})"),
    };
    name.to_owned()
}

/// An alert's level.
pub(super) fn alert_level(level: u8) -> String {
    match level {
        1 => "warning".to_owned(),
        2 => "fatal".to_owned(),
        _ => format!("(unknown:0x{level:02x})"),
    }
}

fn name_or_number(name: Option<&str>, number: u16) -> String {
    name.map_or_else(|| format!("(unknown:0x{number:04x})"), str::to_owned)
}

fn group_name(group: u16) -> Option<&'static str> {
    Some(match group {
        1 => "sect163k1",
        2 => "sect163r1",
        3 => "sect163r2",
        4 => "sect193r1",
        5 => "sect193r2",
        6 => "sect233k1",
        7 => "sect233r1",
        8 => "sect239k1",
        9 => "sect283k1",
        10 => "sect283r1",
        11 => "sect409k1",
        12 => "sect409r1",
        13 => "sect571k1",
        14 => "sect571r1",
        15 => "secp160k1",
        16 => "secp160r1",
        17 => "secp160r2",
        18 => "secp192k1",
        19 => "secp192r1",
        20 => "secp224k1",
        21 => "secp224r1",
        22 => "secp256k1",
        23 => "secp256r1",
        24 => "secp384r1",
        25 => "secp521r1",
        26 => "brainpoolP256r1",
        27 => "brainpoolP384r1",
        28 => "brainpoolP512r1",
        29 => "x25519",
        30 => "x448",
        31 => "brainpoolP256r1tls13",
        32 => "brainpoolP384r1tls13",
        33 => "brainpoolP512r1tls13",
        34 => "GC256A",
        35 => "GC256B",
        36 => "GC256C",
        37 => "GC256D",
        38 => "GC512A",
        39 => "GC512B",
        40 => "GC512C",
        41 => "curveSM2",
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        258 => "ffdhe4096",
        259 => "ffdhe6144",
        260 => "ffdhe8192",
        0x0200 => "MLKEM512",
        0x0201 => "MLKEM768",
        0x0202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        0x6399 => "X25519Kyber768Draft00",
        0x639a => "SecP256r1Kyber768Draft00",
        0xff01 => "arbitrary_explicit_prime_curves",
        0xff02 => "arbitrary_explicit_char2_curves",
        _ => return None,
    })
}

fn signature_scheme_name(scheme: u16) -> Option<&'static str> {
    Some(match scheme {
        0x0201 => "rsa_pkcs1_sha1",
        0x0202 => "dsa_sha1_RESERVED",
        0x0203 => "ecdsa_sha1",
        0x0401 => "rsa_pkcs1_sha256",
        0x0403 => "ecdsa_secp256r1_sha256",
        0x0402 => "dsa_sha256_RESERVED",
        0x0501 => "rsa_pkcs1_sha384",
        0x0502 => "dsa_sha384_RESERVED",
        0x0503 => "ecdsa_secp384r1_sha384",
        0x0601 => "rsa_pkcs1_sha512",
        0x0602 => "dsa_sha512_RESERVED",
        0x0603 => "ecdsa_secp521r1_sha512",
        0x0708 => "sm2sig_sm3",
        0x0804 => "rsa_pss_sha256",
        0x0805 => "rsa_pss_sha384",
        0x0806 => "rsa_pss_sha512",
        0x0807 => "ed25519",
        0x0808 => "ed448",
        0x0809 => "rsa_pss_pss_sha256",
        0x080a => "rsa_pss_pss_sha384",
        0x080b => "rsa_pss_pss_sha512",
        0x081a => "ecdsa_brainpoolP256r1tls13_sha256",
        0x081b => "ecdsa_brainpoolP384r1tls13_sha384",
        0x081c => "ecdsa_brainpoolP512r1tls13_sha512",
        0x0904 => "mldsa44",
        0x0905 => "mldsa65",
        0x0906 => "mldsa87",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease() {
        assert!([0x0a0a, 0x1a1a, 0xfafa].into_iter().all(is_grease));
        assert!(![0x0a1a, 0x0a0b, 0x1301, 0xabab].into_iter().any(is_grease));
    }

    #[test]
    fn unknown_numbers_stay_readable() {
        assert_eq!(cipher_suite(0xff85), "(unknown:0xff85)");
        assert_eq!(signature_scheme(0xefef), "(unknown:0xefef)");
        assert_eq!(group(29), "x25519");
        assert_eq!(version(0x7f1c), "TLS 1.3 (draft 28)");
        assert_eq!(extension(23), "23");
        assert_eq!(alert(200), "(unknown:0xc8)");
    }
}
