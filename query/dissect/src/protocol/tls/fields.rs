//! The fields of a connection, under the names of ECS and Packetbeat.

use super::certificate::{self, Certificate};
use super::connection::{Alert, Handshake};
use super::extension::{self, Extensions};
use super::hello::{ClientHello, ServerHello};
use super::hex::lower_hex;
use super::options::Options;
use super::{ja3, ja4, names};
use crate::protocol::{Fields, Sender, Value, text};

/// Sets all fields.
pub(super) fn set(fields: &mut Fields, handshake: &Handshake, client: Sender, options: &Options) {
    let (client_hello, server_hello) = (handshake.client_hello(), handshake.server_hello());
    fields.set("tls.established", handshake.established);
    fields.set("tls.resumed", resumption_method(handshake).is_some());
    if let Some(hello) = &client_hello {
        fields
            .set("tls.client.supported_ciphers", Value::list(hello.cipher_suites().map(names::cipher_suite)));
        if hello.extensions.is_whole() {
            fields.set("tls.client.ja3", ja3::client(hello));
            fields.set("tls.client.ja4", ja4::client(hello));
        }
        if let Some(name) = hello.extensions.server_names().and_then(|names| names.into_iter().next()) {
            fields.set("tls.client.server_name", name.as_str());
            fields.set("server.domain", name.as_str());
            fields.set("destination.domain", name);
        }
    }
    if let Some(hello) = &server_hello {
        if !hello.is_retry_request() {
            fields.set("tls.cipher", names::cipher_suite(hello.cipher_suite));
            if hello.extensions.is_whole() {
                fields.set("tls.server.ja3s", ja3::server(hello));
            }
        }
        if let Some([protocol]) = hello.extensions.application_protocols().as_deref() {
            fields.set("tls.next_protocol", text(protocol));
        }
        fields.set_some("tls.curve", curve(handshake, hello).map(names::group));
    }
    if let Some(version) = version(client_hello.as_ref(), server_hello.as_ref()) {
        let (protocol, number) = version_and_protocol(version);
        fields.set_some("tls.version", number);
        fields.set_some("tls.version_protocol", protocol);
    }
    for (end, chain) in
        [("client", &handshake.client_certificates), ("server", &handshake.server_certificates)]
    {
        if let Some(chain) = chain {
            set_certificates(fields, end, chain, options);
        }
    }
    if options.include_detailed_fields {
        let detailed = details(handshake, client, client_hello.as_ref(), server_hello.as_ref(), options);
        fields.set("tls.detailed", detailed);
    }
}

/// The version that was negotiated; before that, the highest that the client offers.
fn version(client: Option<&ClientHello<'_>>, server: Option<&ServerHello<'_>>) -> Option<u16> {
    server.map(ServerHello::negotiated_version).or_else(|| client.map(ClientHello::version_max))
}

/// ECS's `tls.version_protocol` and `tls.version`.
fn version_and_protocol(version: u16) -> (Option<&'static str>, Option<&'static str>) {
    match version {
        0x0300 => (Some("ssl"), Some("3.0")),
        0x0301 => (Some("tls"), Some("1.0")),
        0x0302 => (Some("tls"), Some("1.1")),
        0x0303 => (Some("tls"), Some("1.2")),
        names::TLS_1_3 | 0x7f00..=0x7fff => (Some("tls"), Some("1.3")),
        _ => (None, None),
    }
}

/// How a session was resumed: `id` or `ticket`; `None` when it wasn't.
///
/// Until TLS 1.2 a server that resumes repeats the client's session id, also of a ticket (RFC 5077, section 3.4), or, for
/// clients that sent a ticket without an id, leaves the key exchange out. TLS 1.3 repeats ids always; there a server resumes when
/// it accepts a key (RFC 8446, section 4.2.11), and Packetbeat calls that by the id.
fn resumption_method(handshake: &Handshake) -> Option<&'static str> {
    let (client, server) = (handshake.client_hello()?, handshake.server_hello()?);
    let same_id = !client.session_id.is_empty() && client.session_id == server.session_id;
    if server.is_tls_1_3() {
        let resumed = server.extensions.find(names::PRE_SHARED_KEY).is_some();
        return resumed.then_some(if same_id { "id" } else { "ticket" });
    }
    let has_ticket = client.extensions.find(names::SESSION_TICKET).is_some_and(|ticket| !ticket.is_empty());
    let is_short = handshake.established && !handshake.is_full && handshake.server_certificates.is_none();
    match (same_id, has_ticket) {
        (true, true) => Some("ticket"),
        (true, false) => Some("id"),
        (false, true) if is_short => Some("ticket"),
        _ => None,
    }
}

fn curve(handshake: &Handshake, server: &ServerHello<'_>) -> Option<u16> {
    if server.is_tls_1_3() { server.extensions.server_key_share_group() } else { handshake.curve }
}

/// Fields of ECS below `tls.client` or `tls.server`.
fn set_certificates(fields: &mut Fields, end: &str, chain: &[u8], options: &Options) {
    let Some(own) = certificate::chain(chain).next() else { return };
    let below = fields.object("tls").object(end);
    for &kind in &options.fingerprints {
        below.set(&format!("hash.{}", kind.name()), certificate::fingerprint(own, kind));
    }
    if options.include_raw_certificates {
        below.set("certificate_chain", Value::list(certificate::chain(chain).map(certificate::pem)));
    }
    let Some(own) = Certificate::parse(own) else { return };
    below.set("subject", own.subject());
    below.set("issuer", own.issuer());
    below.set("not_before", own.not_before());
    below.set("not_after", own.not_after());
    if options.send_certificates && options.include_detailed_fields {
        below.set("x509", own.fields());
    }
}

fn details(
    handshake: &Handshake,
    client: Sender,
    client_hello: Option<&ClientHello<'_>>,
    server_hello: Option<&ServerHello<'_>>,
    options: &Options,
) -> Fields {
    let mut detailed = Fields::new();
    if let Some(version) = version(client_hello, server_hello) {
        detailed.set("version", names::version(version));
    }
    detailed.set_some("resumption_method", resumption_method(handshake));
    detailed.set("client_certificate_requested", handshake.certificate_requested);
    if let Some(hello) = client_hello {
        detailed.set("client_hello", client_hello_fields(hello));
    }
    if let Some(hello) = server_hello {
        detailed.set("server_hello", server_hello_fields(hello));
    }
    for (name, chain) in [
        ("client_certificate_chain", &handshake.client_certificates),
        ("server_certificate_chain", &handshake.server_certificates),
    ] {
        let issuers = chain.iter().flat_map(|chain| certificate::chain(chain).skip(1));
        let issuers: Vec<_> =
            issuers.filter_map(Certificate::parse).map(|issuer| Value::Object(issuer.fields())).collect();
        if options.send_certificates && !issuers.is_empty() {
            detailed.set(name, issuers);
        }
    }
    if !handshake.alerts.is_empty() {
        let alerts = handshake.alerts.iter().map(|alert| Value::Object(alert_fields(*alert, client)));
        detailed.set("alerts", alerts.collect::<Vec<_>>());
        let types = handshake.alerts.iter().map(|alert| names::alert(alert.description));
        detailed.set("alert_types", Value::list(types));
    }
    detailed
}

fn alert_fields(alert: Alert, client: Sender) -> Fields {
    let mut fields = Fields::new();
    fields.set("severity", names::alert_level(alert.level));
    fields.set("code", alert.description);
    fields.set("type", names::alert(alert.description));
    fields.set("source", if alert.sender == client { "client" } else { "server" });
    fields
}

fn client_hello_fields(hello: &ClientHello<'_>) -> Fields {
    let mut fields = Fields::new();
    fields.set("version", hello_version(hello.version));
    fields.set("random", lower_hex(hello.random));
    if !hello.session_id.is_empty() {
        fields.set("session_id", lower_hex(hello.session_id));
    }
    let methods = hello.compression_methods.iter().map(|&method| names::compression_method(method));
    fields.set("supported_compression_methods", Value::list(methods));
    set_extensions(&mut fields, &hello.extensions, client_extension);
    fields
}

fn server_hello_fields(hello: &ServerHello<'_>) -> Fields {
    let mut fields = Fields::new();
    fields.set("version", hello_version(hello.version));
    fields.set("random", lower_hex(hello.random));
    if !hello.session_id.is_empty() {
        fields.set("session_id", lower_hex(hello.session_id));
    }
    fields.set("selected_compression_method", names::compression_method(hello.compression_method));
    set_extensions(&mut fields, &hello.extensions, server_extension);
    fields
}

/// Major and minor number, as they are on the wire.
fn hello_version(version: u16) -> String {
    format!("{}.{}", version >> 8, version & 0xff)
}

/// Those that can be read under their names; the names of the others in a list.
fn set_extensions(fields: &mut Fields, extensions: &Extensions<'_>, read: fn(u16, &[u8]) -> Option<Value>) {
    let mut below = Fields::new();
    let mut unparsed = Vec::new();
    for (kind, data) in extensions.iter() {
        match read(kind, data) {
            Some(value) => below.set_key(&names::extension(kind), value),
            None => unparsed.push(names::extension(kind)),
        }
    }
    if !unparsed.is_empty() {
        below.set("_unparsed_", Value::list(unparsed));
    }
    if !below.is_empty() {
        fields.set("extensions", below);
    }
}

fn client_extension(kind: u16, data: &[u8]) -> Option<Value> {
    match kind {
        names::SERVER_NAME => Some(Value::list(extension::server_names(data)?)),
        names::SUPPORTED_GROUPS => Some(Value::list(extension::u16_vector(data)?.map(names::group))),
        names::SIGNATURE_ALGORITHMS => {
            Some(Value::list(extension::u16_vector(data)?.map(names::signature_scheme)))
        }
        names::SUPPORTED_VERSIONS => Some(Value::list(extension::client_versions(data)?.map(names::version))),
        _ => common_extension(kind, data),
    }
}

fn server_extension(kind: u16, data: &[u8]) -> Option<Value> {
    match (kind, data) {
        (names::SUPPORTED_VERSIONS, &[high, low]) => {
            Some(Value::from(names::version(u16::from_be_bytes([high, low]))))
        }
        _ => common_extension(kind, data),
    }
}

/// Those that are the same in both hellos.
fn common_extension(kind: u16, data: &[u8]) -> Option<Value> {
    const MAX_FRAGMENT_LENGTH: u16 = 1;
    const CLIENT_CERTIFICATE_URL: u16 = 2;
    const TRUNCATED_HMAC: u16 = 4;
    const CERT_TYPE: u16 = 9;
    const SRP: u16 = 12;
    match (kind, data) {
        (names::EC_POINT_FORMATS, &[len, ref formats @ ..]) if usize::from(len) == formats.len() => {
            Some(Value::list(formats.iter().map(|&format| names::ec_point_format(format))))
        }
        (names::ALPN, _) => Some(Value::list(extension::application_protocols(data)?.into_iter().map(text))),
        // The length of a ticket; nothing when a ticket is only wished for.
        (names::SESSION_TICKET, []) => Some(Value::from("")),
        (names::SESSION_TICKET, ticket) => Some(Value::from(ticket.len().to_string())),
        (MAX_FRAGMENT_LENGTH, &[code @ 1..=4]) => Some(Value::from(format!("2^{}", code + 8))),
        (CLIENT_CERTIFICATE_URL | TRUNCATED_HMAC, []) => Some(Value::from("")),
        (CERT_TYPE, &[chosen]) => Some(Value::from(names::certificate_type(chosen))),
        (CERT_TYPE, &[len, ref types @ ..]) if usize::from(len) == types.len() => {
            Some(Value::list(types.iter().map(|&kind| names::certificate_type(kind))))
        }
        (SRP, &[len, ref user @ ..]) if usize::from(len) == user.len() => Some(Value::from(text(user))),
        _ => None,
    }
}
