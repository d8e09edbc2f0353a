//! Columns of table `tls`.

use crate::protocol::Column;

/// The fields of ECS, and those details that people filter by. The whole of the details is in one column, as JSON.
pub(super) const COLUMNS: &[Column] = &[
    Column::bool("tls.established", "whether both ends went over to encryption"),
    Column::bool("tls.resumed", "whether an earlier session was resumed"),
    Column::text("tls.version", "version negotiated, or the highest that the client offered: `1.3`"),
    Column::text("tls.version_protocol", "`tls` or `ssl`"),
    Column::text("tls.cipher", "cipher suite that the server chose"),
    Column::text("tls.curve", "group of the key exchange"),
    Column::text("tls.next_protocol", "protocol that the server chose (ALPN)"),
    Column::text("tls.client.server_name", "host that the client asked for (SNI)"),
    Column::text("tls.client.ja3", "fingerprint of the client's hello"),
    Column::text(
        "tls.client.ja4",
        "fingerprint of the client's hello that doesn't depend on the order of extensions",
    ),
    Column::texts(
        "tls.client.supported_ciphers",
        "cipher suites that the client offers, in its order, without GREASE",
    ),
    Column::text("tls.client.subject", "whose certificate the client showed"),
    Column::text("tls.client.issuer", "who signed the client's certificate"),
    Column::time("tls.client.not_before", "begin of the validity of the client's certificate"),
    Column::time("tls.client.not_after", "end of the validity of the client's certificate"),
    Column::text("tls.client.hash.md5", "MD5 of the client's certificate"),
    Column::text("tls.client.hash.sha1", "SHA-1 of the client's certificate"),
    Column::text("tls.client.hash.sha256", "SHA-256 of the client's certificate"),
    Column::texts("tls.client.certificate_chain", "the client's certificates as PEM"),
    Column::json("tls.client.x509", "what is in the client's certificate"),
    Column::text("tls.server.ja3s", "fingerprint of the server's hello"),
    Column::text("tls.server.subject", "whose certificate the server showed"),
    Column::text("tls.server.issuer", "who signed the server's certificate"),
    Column::time("tls.server.not_before", "begin of the validity of the server's certificate"),
    Column::time("tls.server.not_after", "end of the validity of the server's certificate"),
    Column::text("tls.server.hash.md5", "MD5 of the server's certificate"),
    Column::text("tls.server.hash.sha1", "SHA-1 of the server's certificate"),
    Column::text("tls.server.hash.sha256", "SHA-256 of the server's certificate"),
    Column::texts("tls.server.certificate_chain", "the server's certificates as PEM"),
    Column::texts("tls.server.x509.alternative_names", "names that the server's certificate is for"),
    Column::json("tls.server.x509", "what is in the server's certificate"),
    Column::text("tls.detailed.version", "version with its name: `TLS 1.3`"),
    Column::text("tls.detailed.resumption_method", "`id` or `ticket`"),
    Column::bool("tls.detailed.client_certificate_requested", "whether the server asked for a certificate"),
    Column::texts("tls.detailed.alert_types", "alerts that weren't encrypted, the client's and the server's"),
    Column::json("tls.detailed", "hello messages, chains, alerts: all that Packetbeat has below this name"),
];
