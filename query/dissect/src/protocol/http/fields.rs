//! The fields of an exchange, under the names of ECS and Packetbeat.

use std::borrow::Cow;
use std::net::IpAddr;

use super::coding;
use super::cookie;
use super::head::{Head, Start};
use super::message::Message;
use super::options::{self, Options};
use super::parameters::{self, Parameters};
use super::redact::redact;
use super::target::Target;
use crate::protocol::{Fields, Incomplete, Status, Transaction, Value, text};

/// The port that URLs with scheme `http` leave out.
const DEFAULT_PORT: u16 = 80;

/// Sets everything of a transaction from its request, its response, or both. `reason`: why there is no response. Without
/// `wants_fields`, only what all protocols have.
pub(super) fn set(
    transaction: &mut Transaction,
    mut request: Option<Message>,
    mut response: Option<Message>,
    reason: Option<Incomplete>,
    options: &Options,
    wants_fields: bool,
) {
    for message in [&mut request, &mut response].into_iter().flatten() {
        redact(&mut message.head, options);
    }
    if let Some(request) = &request {
        set_request(transaction, request, options, wants_fields);
    }
    if let Some(response) = &response {
        set_response(transaction, response, options, wants_fields);
    }
    let versions =
        [&request, &response].map(|message| message.as_ref().and_then(|message| message.head.minor_version));
    if wants_fields && let Some(minor) = versions.into_iter().flatten().next() {
        transaction.fields.set("http.version", format!("1.{minor}"));
    }
    match (&request, &response) {
        (_, None) => {
            transaction.status = Status::Error;
            transaction.set_incomplete(reason.unwrap_or(Incomplete::NoResponse));
            transaction.errors.push("Unmatched request".to_owned());
        }
        (None, Some(_)) => {
            transaction.status = Status::Error;
            transaction.set_incomplete(reason.unwrap_or(Incomplete::NoRequest));
            transaction.errors.push("Unmatched response".to_owned());
        }
        (Some(_), Some(_)) => {}
    }
    for (message, gap, name) in
        [(&request, Incomplete::RequestGap, "request"), (&response, Incomplete::ResponseGap, "response")]
    {
        let Some(message) = message else { continue };
        if message.has_gap {
            transaction.set_incomplete(gap);
        }
        if let Some(what) = message.malformed {
            transaction.set_incomplete(Incomplete::Malformed);
            transaction.errors.push(format!("Malformed {name}: {what}"));
        } else if !message.is_done {
            transaction.set_incomplete(Incomplete::Ended);
        }
        if message.is_trimmed() && options.includes_body(&message.head) {
            transaction.set_incomplete(Incomplete::Limit);
        }
    }
}

fn set_request(transaction: &mut Transaction, request: &Message, options: &Options, wants_fields: bool) {
    let Start::Request { method, target } = &request.head.start else { return };
    let decoded = decoded_body(transaction, request, options);
    let host_field = request.head.value("host").map(text);
    let parts = Target::parse(method, target, host_field.as_deref());
    let path = text(&parameters::decode(parts.path.as_bytes(), false));
    transaction.request = Some(request.place);
    transaction.method = Some(method_name(method));
    // A tunnel has no path: what is asked for is its other end.
    let resource = if path.is_empty() { target } else { &path };
    transaction.query = Some([method, " ", resource].concat());
    transaction.resource = Some(resource.clone());
    if options.send_request {
        transaction.request_text = Some(message_text(request, decoded.as_deref(), options));
    }
    if !wants_fields {
        return;
    }
    let server_port = transaction.server_end().port;
    let fields = &mut transaction.fields;
    fields.set("http.request.method", method.as_str());
    let referrer = request.head.value("referer").map(text);
    if let Some(referrer) = referrer {
        fields.set("http.request.referrer", referrer);
    }
    set_message(fields, "http.request", request, decoded.as_deref(), options);
    if let Some(agent) = request.head.value("user-agent") {
        fields.set("user_agent.original", text(agent));
    }
    if let Some(host) = parts.host.filter(|_| parts.address().is_none()) {
        fields.set("server.domain", host);
        fields.set("destination.domain", host);
        fields.set("related.hosts", Value::list([host]));
    }
    fields.set("url.original", original_target(target, options));
    let query = parameters(&parts, request, decoded.as_deref(), options);
    set_url(fields, &parts, path, query, parts.port.unwrap_or(server_port));
    if let Some(address) = options.real_ip_header.as_deref().and_then(|name| real_ip(&request.head, name)) {
        fields.set("network.forwarded_ip", address.to_string());
    }
}

fn set_response(transaction: &mut Transaction, response: &Message, options: &Options, wants_fields: bool) {
    let Start::Response { status, phrase } = &response.head.start else { return };
    let decoded = decoded_body(transaction, response, options);
    transaction.response = Some(response.place);
    if *status >= 400 {
        transaction.status = Status::Error;
    }
    if options.send_response {
        transaction.response_text = Some(message_text(response, decoded.as_deref(), options));
    }
    if !wants_fields {
        return;
    }
    let fields = &mut transaction.fields;
    fields.set("http.response.status_code", *status);
    if !phrase.is_empty() {
        fields.set("http.response.status_phrase", phrase.to_lowercase());
    }
    set_message(fields, "http.response", response, decoded.as_deref(), options);
}

/// The method; those that nearly all requests have need no memory of their own.
fn method_name(method: &str) -> Cow<'static, str> {
    const COMMON: [&str; 8] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"];
    match COMMON.into_iter().find(|common| *common == method) {
        Some(common) => Cow::Borrowed(common),
        None => Cow::Owned(method.to_owned()),
    }
}

/// Fields that requests and responses have alike.
fn set_message(fields: &mut Fields, path: &str, message: &Message, body: Option<&[u8]>, options: &Options) {
    fields.set(&format!("{path}.bytes"), message.place.bytes);
    fields.set(&format!("{path}.headers"), headers(message, options));
    fields.set(&format!("{path}.body.bytes"), message.body_len);
    if let Some(body) = body.filter(|body| !body.is_empty() && options.includes_body(&message.head)) {
        fields.set(&format!("{path}.body.content"), text(body));
    }
}

/// The header fields that are wanted; those for the length and the type of the body always, as Packetbeat has them.
fn headers(message: &Message, options: &Options) -> Fields {
    let mut fields = Fields::new();
    fields.set_key("content-length", message.head.content_length().unwrap_or(message.body_len));
    if let Some(content_type) = message.head.content_type() {
        fields.set_key("content-type", content_type);
    }
    let mut joined: Vec<(&str, Vec<u8>)> = Vec::new();
    for (name, value) in &message.head.headers {
        if matches!(name.as_str(), "content-length" | "content-type") || !options.send_headers.includes(name)
        {
            continue;
        }
        if options.split_cookie && matches!(name.as_str(), "cookie" | "set-cookie") {
            cookie::split(value, fields.object(name));
            continue;
        }
        match joined.iter_mut().find(|(other, _)| other == name) {
            Some((_, all)) => {
                all.extend_from_slice(b", ");
                all.extend_from_slice(value);
            }
            None => joined.push((name, value.clone())),
        }
    }
    for (name, value) in joined {
        fields.set_key(name, text(&value));
    }
    fields
}

/// The parameters of the query, and of the body if that is a form's.
fn parameters(parts: &Target<'_>, request: &Message, body: Option<&[u8]>, options: &Options) -> String {
    let mut parameters = Parameters::default();
    parameters.add(parts.query.unwrap_or_default().as_bytes());
    if options::has_form(&request.head) {
        parameters.add(body.unwrap_or_default());
    }
    parameters.hide(&options.hide_keywords);
    parameters.encode()
}

/// The target as it was sent, except for what is to be hidden.
fn original_target(target: &str, options: &Options) -> String {
    match target.split_once('?') {
        Some((before, encoded)) if !options.hide_keywords.is_empty() => {
            format!("{before}?{}", parameters::hide_in_place(encoded, &options.hide_keywords))
        }
        _ => target.to_owned(),
    }
}

fn set_url(fields: &mut Fields, parts: &Target<'_>, path: String, query: String, port: u16) {
    fields.set("url.scheme", "http");
    if let Some(host) = parts.host {
        let host_and_port = match (host.contains(':'), port) {
            (false, DEFAULT_PORT) => host.to_owned(),
            (false, _) => format!("{host}:{port}"),
            (true, DEFAULT_PORT) => format!("[{host}]"),
            (true, _) => format!("[{host}]:{port}"),
        };
        let mark = if query.is_empty() { "" } else { "?" };
        fields.set("url.full", format!("http://{host_and_port}{}{mark}{query}", parts.path));
        fields.set("url.domain", host);
    }
    if port != DEFAULT_PORT {
        fields.set("url.port", port);
    }
    if !path.is_empty() {
        fields.set("url.path", path);
    }
    if let Some(extension) = parts.extension() {
        fields.set("url.extension", extension);
    }
    if !query.is_empty() {
        fields.set("url.query", query);
    }
}

/// What is kept of the body, without its codings if they are to be undone, and then no longer than it may be with them. Problems are
/// noted.
fn decoded_body(transaction: &mut Transaction, message: &Message, options: &Options) -> Option<Vec<u8>> {
    if message.body.is_empty() {
        return None;
    }
    if !options.decode_body {
        return Some(message.body.clone());
    }
    let decoded = coding::decode(&message.body, &message.head.codings(), message.body_len_max);
    let is_whole = !message.has_gap && !message.is_trimmed() && message.is_done;
    transaction.errors.extend(decoded.problem.filter(|_| is_whole));
    Some(decoded.body)
}

/// The message as text: the head, and the body if that is to be reported.
fn message_text(message: &Message, body: Option<&[u8]>, options: &Options) -> String {
    let mut bytes = message.head.raw.clone();
    if let Some(body) = body.filter(|_| options.includes_body(&message.head)) {
        bytes.extend_from_slice(body);
    }
    bytes.truncate(options.max_message_size);
    text(&bytes)
}

/// The first address of a list such as `X-Forwarded-For` has.
fn real_ip(head: &Head, name: &str) -> Option<IpAddr> {
    let value = text(head.value(name)?);
    value.split(',').next()?.trim().trim_matches(['[', ']']).parse().ok()
}
