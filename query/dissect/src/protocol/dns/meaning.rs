//! From messages to transactions: fields under Packetbeat's names.

use super::message::{Header, Message, Question, Record, Section, flag, read};
use super::names::{class_name, opcode_name, record_type, response_code_name, type_name};
use super::records::{record_address, record_fields, record_line};
use super::service::{MORE_OPTIONS_LEN_MIN, edns_options, has_more_edns_options};
use super::{Options, PROTOCOL};
use crate::protocol::flow::Sender;
use crate::protocol::parser::Context;
use crate::protocol::transaction::{Incomplete, Message as Place, Status, Transaction};
use crate::protocol::value::{Fields, Value};

/// Records of one section that transactions have: a transfer of a zone may have millions. The counts are always those of the
/// messages.
const RECORDS_MAX: usize = 1000;

/// Bytes of text that the further messages of a transfer may add to its first one: twice what [`RECORDS_MAX`] records have that are
/// signatures of the longest keys in use. Records that are made for it have 256 KiB each.
const TRANSFER_TEXT_LEN_MAX: usize = 2 << 20;

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
    question: Option<Asked>,
    body: Body,
    text: Option<String>,
    error: Option<&'static str>,
    /// SOA records among the answers of a transfer: it begins and ends with one.
    pub(super) soa_count: usize,
    /// Bytes of text that further messages added.
    added_text_len: usize,
}

/// What was asked.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    kind: u16,
    class: u16,
}

/// What a message says.
#[derive(Clone, Debug)]
enum Body {
    /// Nobody wants to know.
    Unwanted,
    /// As fields.
    Fields(Fields),
    /// Of a query, which nearly always has a response that says the same again: as it came.
    Query(Box<[u8]>, Options),
}

impl Part {
    /// Takes from a message what a transaction shows of it.
    pub(super) fn new(message: &Message<'_>, place: Place, options: &Options, wants_fields: bool) -> Self {
        let asked = |question: Question<'_>| Asked {
            name: question.name.text(),
            kind: question.kind,
            class: question.class,
        };
        let question = message.questions().next().map(asked);
        Self { question, ..Self::without_question(message, place, options, wants_fields) }
    }

    /// The same of a response whose query says what was asked.
    pub(super) fn without_question(
        message: &Message<'_>,
        place: Place,
        options: &Options,
        wants_fields: bool,
    ) -> Self {
        let is_response = message.header.is_response();
        let wants_text = if is_response { options.send_response } else { options.send_request };
        let may_be_transfer =
            is_response && message.questions().next().is_none_or(|question| is_transfer(question.kind));
        let soa_records =
            || message.records(Section::Answers).filter(|record| record.kind == record_type::SOA).count();
        Self {
            place,
            header: message.header,
            question: None,
            body: match (wants_fields, is_response) {
                (false, _) => Body::Unwanted,
                (true, true) => Body::Fields(message_fields(message, options)),
                (true, false) => Body::Query(message.bytes().into(), *options),
            },
            text: wants_text.then(|| message_text(message)),
            error: message.error.or_else(|| options_error(message)),
            soa_count: if may_be_transfer { soa_records() } else { 0 },
            added_text_len: 0,
        }
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        // Most queries have one question and an OPT record; fields of it are some hundred bytes.
        512 + self.place.bytes as usize * 4 + self.text.as_ref().map_or(0, String::len)
    }

    fn into_fields(self) -> Fields {
        match self.body {
            Body::Unwanted => Fields::new(),
            Body::Fields(fields) => fields,
            Body::Query(bytes, options) => {
                read(&bytes).map(|message| message_fields(&message, &options)).unwrap_or_default()
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
                for record in more.iter().take(room) {
                    if self.added_text_len >= TRANSFER_TEXT_LEN_MAX {
                        break;
                    }
                    self.added_text_len += text_len(record);
                    records.push(record.clone());
                }
                fields.set(section, Value::List(records));
            }
        }
    }

    /// True for questions that several messages may answer (RFC 5936, section 2.2).
    pub(super) fn is_transfer(&self) -> bool {
        self.question.as_ref().is_some_and(|question| is_transfer(question.kind))
    }

    /// True for the transfer of a whole zone.
    pub(super) fn is_full_transfer(&self) -> bool {
        self.question.as_ref().is_some_and(|question| question.kind == record_type::AXFR)
    }
}

/// Bytes of the texts in a value.
fn text_len(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.iter().map(text_len).sum(),
        Value::Object(fields) => fields.iter().map(|(_, value)| text_len(value)).sum(),
        _ => 0,
    }
}

fn is_transfer(kind: u16) -> bool {
    matches!(kind, record_type::AXFR | record_type::IXFR)
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
    mut request: Option<Part>,
    mut response: Option<Part>,
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
    transaction.request_text = request.as_mut().and_then(|part| part.text.take());
    transaction.response_text = response.as_mut().and_then(|part| part.text.take());
    if let Some(described) = request.as_mut().or(response.as_mut()) {
        transaction.method = Some(opcode_name(described.header.opcode()));
        if let Some(question) = described.question.take() {
            transaction.query = Some(question_line(&question.name, question.kind, question.class));
            transaction.resource = Some(question.name);
        }
    }
    // The response repeats the question and says how it went; a query alone says what was asked.
    if context.wants_fields
        && let Some(part) = response.or(request)
    {
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
fn message_fields(message: &Message<'_>, options: &Options) -> Fields {
    let header = message.header;
    let opt = opt(message);
    let mut fields = Fields::new();
    fields.set("id", header.id);
    fields.set("op_code", opcode_name(header.opcode()));
    let flags = fields.object("flags");
    for (name, bit) in FLAGS {
        flags.set_key(name, header.has(bit));
    }
    fields.set("header_flags", Value::list(header_flags(header)));
    fields.set("response_code", response_code_name(extended_response_code(header, opt)));
    if let Some(question) = message.questions().next() {
        fields.set("question", question_fields(&question));
    }
    if let Some(opt) = opt {
        set_edns(header, &opt, &mut fields);
    }
    fields.set("answers_count", message.record_count(Section::Answers));
    if message.record_count(Section::Answers) > 0 {
        fields.set("answers", records(message.records(Section::Answers)));
        let answers = message.records(Section::Answers).take(RECORDS_MAX);
        let addresses: Vec<_> = answers.filter_map(|record| record_address(&record)).collect();
        if !addresses.is_empty() {
            fields.set("resolved_ip", Value::list(addresses));
        }
    }
    let authorities = message.record_count(Section::Authorities);
    fields.set("authorities_count", authorities);
    if options.include_authorities && authorities > 0 {
        fields.set("authorities", records(message.records(Section::Authorities)));
    }
    let additionals =
        || message.records(Section::Additionals).filter(|record| record.kind != record_type::OPT);
    let count = additionals().count();
    fields.set("additionals_count", count);
    if options.include_additionals && count > 0 {
        fields.set("additionals", records(additionals()));
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

fn question_fields(question: &Question<'_>) -> Fields {
    let mut fields = Fields::new();
    let name = question.name.text();
    fields.set("name", name.as_str());
    fields.set("type", type_name(question.kind));
    fields.set("class", class_name(question.class));
    if let Some(parts) = super::domain::split(&name) {
        fields.set("etld_plus_one", parts.registered);
        fields.set("registered_domain", parts.registered);
        fields.set("top_level_domain", parts.suffix);
        fields.set_some("subdomain", parts.subdomain);
    }
    fields
}

fn records<'a>(records: impl Iterator<Item = Record<'a>>) -> Value {
    Value::list(records.take(RECORDS_MAX).map(|record| record_fields(&record)))
}

fn opt<'a>(message: &Message<'a>) -> Option<Record<'a>> {
    message.records(Section::Additionals).find(|record| record.kind == record_type::OPT)
}

/// What is wrong with the options of EDNS. Few messages have room for so many.
fn options_error(message: &Message<'_>) -> Option<&'static str> {
    let has_more =
        message.len > MORE_OPTIONS_LEN_MIN && opt(message).is_some_and(|opt| has_more_edns_options(opt.data));
    has_more.then_some("more options of EDNS than are looked at")
}

/// The response code with the eight bits that an OPT record adds (RFC 6891, section 6.1.3).
fn extended_response_code(header: Header, opt: Option<Record<'_>>) -> u16 {
    let high = opt.map_or(0, |opt| opt.ttl >> 24);
    (high << 4) as u16 | u16::from(header.response_code())
}

fn set_edns(header: Header, opt: &Record<'_>, fields: &mut Fields) {
    const DNSSEC_OK: u32 = 0x8000;
    let version = opt.ttl >> 16 & 0xff;
    fields.set("opt.version", version.to_string());
    fields.set("opt.do", opt.ttl & DNSSEC_OK != 0);
    fields.set("opt.ext_rcode", response_code_name(extended_response_code(header, Some(*opt))));
    fields.set("opt.udp_size", opt.class);
    for (name, value) in edns_options(opt.data) {
        fields.object("opt").set_key(&name, value);
    }
}

/// `class IN, type MX, example.org`.
fn question_line(name: &str, kind: u16, class: u16) -> String {
    ["class ", &class_name(class), ", type ", &type_name(kind), ", ", name].concat()
}

/// A message in one line: fields `request` and `response`.
fn message_text(message: &Message<'_>) -> String {
    let header = message.header;
    let flags: Vec<_> = header_flags(header).into_iter().map(str::to_lowercase).collect();
    let mut text = format!(
        "ID {}; QR {}; OPCODE {}; FLAGS {}; RCODE {}",
        header.id,
        if header.is_response() { "response" } else { "query" },
        opcode_name(header.opcode()),
        flags.join(" "),
        response_code_name(extended_response_code(header, opt(message)))
    );
    let mut add = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("; {title} {}", lines.join("; ")));
        }
    };
    let line = |question: Question<'_>| question_line(&question.name.text(), question.kind, question.class);
    add("QUESTION", message.questions().take(RECORDS_MAX).map(line).collect());
    let sections = [
        ("ANSWER", Section::Answers),
        ("AUTHORITY", Section::Authorities),
        ("ADDITIONAL", Section::Additionals),
    ];
    for (title, section) in sections {
        let shown = message.records(section).filter(|record| record.kind != record_type::OPT);
        add(title, shown.take(RECORDS_MAX).map(|record| record_line(&record)).collect());
    }
    text
}
