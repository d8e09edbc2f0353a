//! What a dissector gives: a request with its response, or one message.

use std::borrow::Cow;
use std::sync::Arc;

use super::flow::{Endpoint, Flow, Moment, Sender};
use super::value::Fields;

/// One request with its response, or one message, of any protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Name of the protocol in the [registry](super::registry).
    pub protocol: &'static str,
    /// Where it was seen.
    pub flow: Arc<Flow>,
    /// Which end of the flow is the client, the one that asks.
    pub client: Sender,
    /// Which end is the source in documents: the client, save for protocols of single messages, where it is the sender.
    pub source: Sender,
    /// The request; of protocols of single messages, one of the client.
    pub request: Option<Message>,
    /// The response; of protocols of single messages, one of the server.
    pub response: Option<Message>,
    /// The verb: `GET`, `SELECT`, `QUERY`.
    pub method: Option<Cow<'static, str>>,
    /// What was asked, as people would write it: `GET /index.html`, `class IN, type MX, example.org`.
    pub query: Option<String>,
    /// What it was about, without parameters: a path, a table, a key, a name.
    pub resource: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What went wrong, said by the protocol or by the dissector, in the order found: `error.message` of documents.
    pub errors: Vec<String>,
    /// Why this isn't all of the transaction. `None` when it is.
    pub incomplete: Option<Incomplete>,
    /// The request as text, when option `send_request` is on.
    pub request_text: Option<String>,
    /// The response as text, when option `send_response` is on.
    pub response_text: Option<String>,
    /// Packetbeat has no documents of such a thing (a login, a closed statement): it is a row of the tables only.
    pub table_only: bool,
    /// All else, under the names that documents have from their root: `dns.question.name`, `params`, `url.full`. Names of the
    /// fields above are not set here, save to replace what documents would have.
    pub fields: Fields,
}

impl Transaction {
    /// An empty transaction of a protocol in this flow.
    #[must_use]
    pub fn new(protocol: &'static str, flow: &Arc<Flow>, client: Sender) -> Self {
        Self {
            protocol,
            flow: Arc::clone(flow),
            client,
            source: client,
            request: None,
            response: None,
            method: None,
            query: None,
            resource: None,
            status: Status::Ok,
            errors: Vec::new(),
            incomplete: None,
            request_text: None,
            response_text: None,
            table_only: false,
            fields: Fields::new(),
        }
    }

    /// The end that asks.
    #[must_use]
    pub fn client_end(&self) -> &Endpoint {
        self.flow.end(self.client)
    }

    /// The end that answers.
    #[must_use]
    pub fn server_end(&self) -> &Endpoint {
        self.flow.end(self.client.other())
    }

    /// When it began: the first byte of the request, else of the response.
    #[must_use]
    pub fn start(&self) -> Option<Moment> {
        self.request.or(self.response).map(|message| message.first)
    }

    /// When it ended: the last byte of the response, else of the request.
    #[must_use]
    pub fn end(&self) -> Option<Moment> {
        self.response.or(self.request).map(|message| message.last)
    }

    /// From the request's first byte to the response's last one, in nanoseconds. `None` without both.
    #[must_use]
    pub fn duration_ns(&self) -> Option<i64> {
        let (request, response) = (self.request?, self.response?);
        Some(response.last.ts_ns.saturating_sub(request.first.ts_ns).max(0))
    }

    /// Bytes of all its texts.
    #[must_use]
    pub fn text_len(&self) -> usize {
        let texts = [&self.query, &self.resource, &self.request_text, &self.response_text];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let errors: usize = self.errors.iter().map(String::len).sum();
        texts + errors + self.method.as_ref().map_or(0, |method| method.len()) + self.fields.text_len()
    }

    /// Marks it incomplete, unless it is already, and says so in the errors if there is a sentence for it.
    pub fn set_incomplete(&mut self, reason: Incomplete) {
        self.incomplete.get_or_insert(reason);
        if let Some(sentence) = reason.sentence()
            && !self.errors.iter().any(|error| error == sentence)
        {
            self.errors.push(sentence.to_owned());
        }
    }
}

/// The place of a message in the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where its first byte was.
    pub first: Moment,
    /// Where its last byte was.
    pub last: Moment,
    /// Its bytes on the wire, gaps included: above the transport header.
    pub bytes: u64,
}

impl Message {
    /// A message in a single packet.
    #[must_use]
    pub fn at(moment: Moment, bytes: usize) -> Self {
        Self { first: moment, last: moment, bytes: bytes as u64 }
    }

    /// Makes it end later.
    pub fn extend(&mut self, moment: Moment, bytes: usize) {
        self.last = moment;
        self.bytes += bytes as u64;
    }
}

/// How a transaction ended, in Packetbeat's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Well, as far as could be seen.
    #[default]
    Ok,
    /// The protocol said that it failed.
    Error,
    /// It failed, and the server wasn't the cause. Unanswered responses are among these.
    ClientError,
    /// It failed, and the server was the cause. Unanswered requests are among these.
    ServerError,
}

impl Status {
    /// The word of field `status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Error => "Error",
            Self::ClientError => "Client Error",
            Self::ServerError => "Server Error",
        }
    }
}

/// Why a transaction is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Incomplete {
    /// No response was seen within the timeout, or until the conversation or the capture ended.
    NoResponse,
    /// A response without the request that it answers.
    NoRequest,
    /// Bytes of the request are missing in the capture.
    RequestGap,
    /// Bytes of the response are missing in the capture.
    ResponseGap,
    /// Its beginning was before the capture's, or before the point from which on the stream was understood.
    JoinedLate,
    /// The capture, or the conversation, ended within it.
    Ended,
    /// It was larger than a limit, or too many were waiting.
    Limit,
    /// Bytes that the protocol does not allow.
    Malformed,
}

impl Incomplete {
    /// The word of column `incomplete_reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoResponse => "no_response",
            Self::NoRequest => "no_request",
            Self::RequestGap => "request_gap",
            Self::ResponseGap => "response_gap",
            Self::JoinedLate => "joined_late",
            Self::Ended => "ended",
            Self::Limit => "limit",
            Self::Malformed => "malformed",
        }
    }

    /// Packetbeat's sentence for it, in those cases in which it has the same one for all protocols.
    #[must_use]
    pub fn sentence(self) -> Option<&'static str> {
        match self {
            Self::RequestGap => Some("Packet loss while capturing the request"),
            Self::ResponseGap => Some("Packet loss while capturing the response"),
            _ => None,
        }
    }
}
