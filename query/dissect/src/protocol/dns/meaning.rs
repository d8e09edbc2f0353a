//! From messages to transactions: fields under Packetbeat's names.

use super::message::{Header, Message, Question, Record, flag, read};
use super::names::{class_name, opcode_name, record_type, response_code_name, type_name};
use super::records::{record_address, record_fields, record_line};
use super::service::edns_options;
use super::{Options, PROTOCOL};
use crate::protocol::flow::Sender;
use crate::protocol::parser::Context;
use crate::protocol::transaction::{Incomplete, Message as Place, Status, Transaction};
use crate::protocol::value::{Fields, Value};

/// Records of one section that transactions have: a transfer of a zone may have millions. The counts are always those of the
/// messages.
const RECORDS_MAX: usize = 1000;

/// Sentences that Packetbeat has in `error.message`.
mod sentence {
    pub(super) const NO_RESPONSE: &str = "No response to this query was received";
    pub(super) const NO_REQUEST: &str = "Response: received without an associated Query";
    pub(super) const REPLACED: &str = "Another query with the same DNS ID from this client was received so this query was closed without receiving a response";
}

/// What is kept of a message: its bytes are gone when the other one comes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) header: Header,
    pub(super) question: Option<Question>,
    body: Body,
    text: Option<String>,
    error: Option<&'static str>,
}

/// What a message says.
#[derive(Clone, Debug)]
enum Body {
    /// As fields.
    Fields(Fields),
    /// Of a query, which nearly always has a response that says the same again: as it came.
    Query(Box<[u8]>, Options),
}

impl Part {
    /// Takes from a message what a transaction shows of it.
    pub(super) fn new(bytes: &[u8], message: Message, place: Place, options: &Options) -> Self {
        let is_response = message.header.is_response();
        let wanted = if is_response { options.send_response } else { options.send_request };
        Self {
            place,
            header: message.header,
            body: if is_response {
                Body::Fields(message_fields(bytes, &message, options))
            } else {
                Body::Query(bytes[..message.len].into(), *options)
            },
            text: wanted.then(|| message_text(bytes, &message)),
            error: message.error,
            question: message.questions.into_iter().next(),
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        // Most queries have one question and an OPT record; fields of it are some hundred bytes.
        512 + self.place.bytes as usize * 4 + self.text.as_ref().map_or(0, String::len)
    }

    fn into_fields(self) -> Fields {
        match self.body {
            Body::Fields(fields) => fields,
            Body::Query(bytes, options) => {
                read(&bytes).map(|message| message_fields(&bytes, &message, &options)).unwrap_or_default()
            }
        }
    }

    /// Adds the records of a further message of the same response: a transfer of a zone.
    pub(super) fn append(&mut self, further: &Self) {
        self.place.last = further.place.last;
        self.place.bytes += further.place.bytes;
        self.error = self.error.or(further.error);
        let (Body::Fields(fields), Body::Fields(further)) = (&mut self.body, &further.body) else { return };
        for section in ["answers", "authorities", "additionals"] {
            let count = format!("{section}_count");
            let number = |fields: &Fields| fields.value(&count).and_then(Value::as_u64).unwrap_or_default();
            let sum = number(fields) + number(further);
            fields.set(&count, sum);
            if let Some(Value::List(more)) = further.value(section) {
                let mut records = match fields.remove(section) {
                    Some(Value::List(records)) => records,
                    _ => Vec::new(),
                };
                let room = RECORDS_MAX.saturating_sub(records.len());
                records.extend(more.iter().take(room).cloned());
                fields.set(section, Value::List(records));
            }
        }
    }

    /// Number of SOA records among the answers: a transfer begins and ends with one.
    pub(super) fn soa_count(&self) -> usize {
        let Body::Fields(fields) = &self.body else { return 0 };
        let Some(Value::List(answers)) = fields.value("answers") else { return 0 };
        let is_soa = |answer: &&Value| match answer {
            Value::Object(fields) => fields.value("type").and_then(Value::as_text) == Some("SOA"),
            _ => false,
        };
        answers.iter().filter(is_soa).count()
    }

    /// True for questions that several messages may answer (RFC 5936, section 2.2).
    pub(super) fn is_transfer(&self) -> bool {
        self.question
            .as_ref()
            .is_some_and(|question| matches!(question.kind, record_type::AXFR | record_type::IXFR))
    }
}

/// Why a query has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    NoResponse,
    Replaced,
}

/// Reports a query with its response.
pub(super) fn emit(
    context: &mut Context<'_>,
    client: Sender,
    request: Option<Part>,
    response: Option<Part>,
    alone: Alone,
) {
    let mut transaction = Transaction::new(PROTOCOL.name, context.flow, client);
    transaction.request = request.as_ref().map(|part| part.place);
    transaction.response = response.as_ref().map(|part| part.place);
    match (&request, &response) {
        (Some(_), None) => {
            transaction.set_incomplete(Incomplete::NoResponse);
            transaction.errors.push(
                match alone {
                    Alone::NoResponse => sentence::NO_RESPONSE,
                    Alone::Replaced => sentence::REPLACED,
                }
                .into(),
            );
        }
        (None, _) => {
            transaction.set_incomplete(Incomplete::NoRequest);
            transaction.errors.push(sentence::NO_REQUEST.into());
        }
        _ => {}
    }
    for part in [&request, &response].into_iter().flatten() {
        if let Some(error) = part.error {
            transaction.set_incomplete(Incomplete::Malformed);
            transaction.errors.push(format!("Malformed message: {error}"));
        }
    }
    transaction.status = match &response {
        Some(part) if part.header.response_code() == 0 => Status::Ok,
        _ => Status::Error,
    };
    transaction.request_text = request.as_ref().and_then(|part| part.text.clone());
    transaction.response_text = response.as_ref().and_then(|part| part.text.clone());
    let described = request.as_ref().or(response.as_ref());
    transaction.method = described.map(|part| opcode_name(part.header.opcode()));
    if let Some(question) = described.and_then(|part| part.question.as_ref()) {
        transaction.query = Some(question_line(question));
        transaction.resource = Some(question.name.clone());
    }
    // The response repeats the question and says how it went; a query alone says what was asked.
    if let Some(part) = response.or(request) {
        let mut fields = part.into_fields();
        if let Some(Value::List(addresses)) = fields.value("resolved_ip") {
            let addresses = addresses.clone();
            transaction.fields.set("related.ip", Value::List(addresses));
        }
        fields.set("type", if transaction.response.is_some() { "answer" } else { "query" });
        transaction.fields.set("dns", fields);
    }
    context.emit(transaction);
}

/// The fields of a message, from `dns` on.
fn message_fields(bytes: &[u8], message: &Message, options: &Options) -> Fields {
    let header = message.header;
    let mut fields = Fields::new();
    fields.set("id", header.id);
    fields.set("op_code", opcode_name(header.opcode()));
    let flags = fields.object("flags");
    for (name, bit) in FLAGS {
        flags.set_key(name, header.has(bit));
    }
    fields.set("header_flags", Value::list(header_flags(header)));
    fields.set("response_code", response_code_name(extended_response_code(message)));
    if let Some(question) = message.questions.first() {
        fields.set("question", question_fields(question));
    }
    set_edns(bytes, message, &mut fields);
    let [answers, authorities, additionals] = &message.sections;
    fields.set("answers_count", answers.len());
    if !answers.is_empty() {
        fields.set("answers", records(bytes, answers));
        let addresses: Vec<_> =
            answers.iter().take(RECORDS_MAX).filter_map(|record| record_address(bytes, record)).collect();
        if !addresses.is_empty() {
            fields.set("resolved_ip", Value::list(addresses));
        }
    }
    fields.set("authorities_count", authorities.len());
    if options.include_authorities && !authorities.is_empty() {
        fields.set("authorities", records(bytes, authorities));
    }
    let additionals: Vec<_> =
        additionals.iter().filter(|record| record.kind != record_type::OPT).cloned().collect();
    fields.set("additionals_count", additionals.len());
    if options.include_additionals && !additionals.is_empty() {
        fields.set("additionals", records(bytes, &additionals));
    }
    fields
}

const FLAGS: [(&str, u16); 6] = [
    ("authoritative", flag::AUTHORITATIVE),
    ("truncated_response", flag::TRUNCATED),
    ("recursion_desired", flag::RECURSION_DESIRED),
    ("recursion_available", flag::RECURSION_AVAILABLE),
    ("authentic_data", flag::AUTHENTIC_DATA),
    ("checking_disabled", flag::CHECKING_DISABLED),
];

/// The short names of the flags that are set, in the order of their bits.
fn header_flags(header: Header) -> Vec<&'static str> {
    FLAGS
        .iter()
        .zip(["AA", "TC", "RD", "RA", "AD", "CD"])
        .filter(|((_, bit), _)| header.has(*bit))
        .map(|(_, short)| short)
        .collect()
}

fn question_fields(question: &Question) -> Fields {
    let mut fields = Fields::new();
    fields.set("name", question.name.as_str());
    fields.set("type", type_name(question.kind));
    fields.set("class", class_name(question.class));
    if let Some(parts) = super::domain::split(&question.name) {
        fields.set("etld_plus_one", parts.registered);
        fields.set("registered_domain", parts.registered);
        fields.set("top_level_domain", parts.suffix);
        fields.set_some("subdomain", parts.subdomain);
    }
    fields
}

fn records(bytes: &[u8], records: &[Record]) -> Value {
    Value::list(records.iter().take(RECORDS_MAX).map(|record| record_fields(bytes, record)))
}

fn opt(message: &Message) -> Option<&Record> {
    message.sections[2].iter().find(|record| record.kind == record_type::OPT)
}

/// The response code with the eight bits that an OPT record adds (RFC 6891, section 6.1.3).
fn extended_response_code(message: &Message) -> u16 {
    let high = opt(message).map_or(0, |opt| opt.ttl >> 24);
    (high << 4) as u16 | u16::from(message.header.response_code())
}

fn set_edns(bytes: &[u8], message: &Message, fields: &mut Fields) {
    const DNSSEC_OK: u32 = 0x8000;
    let Some(opt) = opt(message) else { return };
    let version = opt.ttl >> 16 & 0xff;
    fields.set("opt.version", version.to_string());
    fields.set("opt.do", opt.ttl & DNSSEC_OK != 0);
    fields.set("opt.ext_rcode", response_code_name(extended_response_code(message)));
    fields.set("opt.udp_size", opt.class);
    for (name, value) in edns_options(&bytes[opt.data.clone()]) {
        fields.object("opt").set_key(&name, value);
    }
}

fn question_line(question: &Question) -> String {
    format!("class {}, type {}, {}", class_name(question.class), type_name(question.kind), question.name)
}

/// A message in one line: fields `request` and `response`.
fn message_text(bytes: &[u8], message: &Message) -> String {
    let header = message.header;
    let flags: Vec<_> = header_flags(header).into_iter().map(str::to_lowercase).collect();
    let mut text = format!(
        "ID {}; QR {}; OPCODE {}; FLAGS {}; RCODE {}",
        header.id,
        if header.is_response() { "response" } else { "query" },
        opcode_name(header.opcode()),
        flags.join(" "),
        response_code_name(extended_response_code(message))
    );
    let mut add = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("; {title} {}", lines.join("; ")));
        }
    };
    add("QUESTION", message.questions.iter().take(RECORDS_MAX).map(question_line).collect());
    for (title, section) in ["ANSWER", "AUTHORITY", "ADDITIONAL"].into_iter().zip(&message.sections) {
        let shown = section.iter().filter(|record| record.kind != record_type::OPT).take(RECORDS_MAX);
        add(title, shown.map(|record| record_line(bytes, record)).collect());
    }
    text
}
