//! A connection: follows both directions until the handshake is done or has failed, and reports it as one transaction.

use std::sync::Arc;

use super::fields;
use super::hello::{ClientHello, ServerHello};
use super::messages::{Gap, Message, Messages, kind};
use super::names;
use super::options::Options;
use super::reader::Reader;
use crate::protocol;
use crate::protocol::{Chunk, Context, Flow, Incomplete, Moment, Sender, Status, StreamParser, Transaction};

/// The longest encrypted record that can be an alert in TLS 1.3: level, description, content type, and a tag of 16 bytes.
/// Everything else that ends send first is longer.
const ENCRYPTED_ALERT_LEN_MAX: usize = 2 + 1 + 16;

/// An alert that wasn't encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) sender: Sender,
    pub(super) level: u8,
    pub(super) description: u8,
}

impl Alert {
    const FATAL: u8 = 2;

    pub(super) fn is_fatal(self) -> bool {
        self.level == Self::FATAL
    }
}

/// What was seen of a handshake.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    /// Bodies of messages; those that are here can be parsed.
    pub(super) client_hello: Option<Vec<u8>>,
    pub(super) server_hello: Option<Vec<u8>>,
    /// Of the hellos, what is asked for each record: they may be long.
    has_early_data: bool,
    is_tls_1_3: bool,
    pub(super) client_certificates: Option<Vec<u8>>,
    pub(super) server_certificates: Option<Vec<u8>>,
    pub(super) certificate_requested: bool,
    /// The named curve of a server's key exchange.
    pub(super) curve: Option<u16>,
    pub(super) alerts: Vec<Alert>,
    /// Both ends went over to encryption.
    pub(super) established: bool,
    /// The end that sent an encrypted alert (TLS 1.3) where its handshake should go on.
    pub(super) gave_up: Option<Sender>,
    /// The server's flight ended with `ServerHelloDone`: a full handshake.
    pub(super) is_full: bool,
}

impl Handshake {
    pub(super) fn client_hello(&self) -> Option<ClientHello<'_>> {
        self.client_hello.as_deref().and_then(ClientHello::parse)
    }

    pub(super) fn server_hello(&self) -> Option<ServerHello<'_>> {
        self.server_hello.as_deref().and_then(ServerHello::parse)
    }

    /// One end said that it won't go on.
    fn has_failed(&self) -> bool {
        self.gave_up.is_some() || self.alerts.iter().any(|alert| alert.is_fatal())
    }
}

/// The parser of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    options: Arc<Options>,
    directions: [Direction; 2],
    handshake: Handshake,
    /// The end that said a client's hello, or whose peer said a server's.
    client: Option<Sender>,
    incomplete: Option<Incomplete>,
    errors: Vec<String>,
    joined_late: bool,
    is_reported: bool,
}

#[derive(Debug, Default)]
struct Direction {
    messages: Messages,
    seen: Option<protocol::Message>,
    /// It went over to encryption.
    is_encrypted: bool,
}

impl Connection {
    pub(super) fn new(options: &Arc<Options>, flow: &Flow) -> Self {
        let direction = || Direction {
            messages: if flow.originator_known { Messages::default() } else { Messages::joined_late() },
            ..Direction::default()
        };
        Self {
            options: Arc::clone(options),
            directions: [direction(), direction()],
            handshake: Handshake::default(),
            client: None,
            incomplete: None,
            errors: Vec::new(),
            joined_late: !flow.originator_known,
            is_reported: false,
        }
    }

    fn message(&mut self, sender: Sender, reader: &mut Messages, message: Message) {
        match message {
            Message::Handshake { kind, body } => self.handshake_message(sender, kind, body),
            Message::TooLong { kind } => {
                self.set_incomplete(Incomplete::Limit);
                self.note(format!(
                    "handshake message {kind} is longer than {} bytes",
                    super::MESSAGE_LEN_MAX
                ));
            }
            Message::ChangeCipherSpec => {
                // TLS 1.3 has it only for the sake of middleboxes: it changes nothing (RFC 8446, appendix D.4).
                if !self.handshake.is_tls_1_3 {
                    reader.set_encrypted();
                    self.encrypted(sender);
                }
            }
            Message::Alert { level, description } => {
                let alert = Alert { sender, level, description };
                self.handshake.alerts.push(alert);
            }
            Message::Encrypted { len } => {
                if self.is_encrypted_alert(sender, len) {
                    self.handshake.gave_up = Some(sender);
                } else {
                    self.encrypted(sender);
                }
            }
        }
    }

    fn handshake_message(&mut self, sender: Sender, kind: u8, body: Vec<u8>) {
        let handshake = &mut self.handshake;
        match kind {
            kind::CLIENT_HELLO => {
                let Some(hello) = ClientHello::parse(&body) else { return self.set_malformed("ClientHello") };
                let is_whole = hello.extensions.is_whole();
                self.client = Some(sender);
                handshake.has_early_data = hello.extensions.find(names::EARLY_DATA).is_some();
                handshake.client_hello = Some(body);
                if !is_whole {
                    self.set_malformed("extensions of ClientHello");
                }
            }
            kind::SERVER_HELLO => {
                let Some(hello) = ServerHello::parse(&body) else { return self.set_malformed("ServerHello") };
                let is_whole = hello.extensions.is_whole();
                self.client.get_or_insert(sender.other());
                // The second hello of a client, and what the server chooses then, take the place of the first ones.
                if !hello.is_retry_request() || handshake.server_hello.is_none() {
                    handshake.is_tls_1_3 = hello.is_tls_1_3();
                    handshake.server_hello = Some(body);
                }
                if !is_whole {
                    self.set_malformed("extensions of ServerHello");
                }
            }
            kind::CERTIFICATE => {
                if self.client == Some(sender) {
                    handshake.client_certificates = Some(body);
                } else {
                    handshake.server_certificates = Some(body);
                }
            }
            kind::CERTIFICATE_REQUEST => handshake.certificate_requested = true,
            kind::SERVER_KEY_EXCHANGE => handshake.curve = named_curve(&body),
            kind::SERVER_HELLO_DONE => handshake.is_full = true,
            _ => {}
        }
    }

    /// A message can't be read; when part of it is missing in the capture, that is the reason already.
    fn set_malformed(&mut self, what: &str) {
        if matches!(self.incomplete, Some(Incomplete::RequestGap | Incomplete::ResponseGap)) {
            return;
        }
        self.set_incomplete(Incomplete::Malformed);
        self.note(format!("Malformed {what}"));
    }

    /// What is wrong, once: a record has room for thousands of messages with the same mistake.
    fn note(&mut self, error: String) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Whether an end that should go on with an encrypted handshake message can only have sent an alert.
    fn is_encrypted_alert(&self, sender: Sender, len: usize) -> bool {
        let is_first = !self.directions[sender.index()].is_encrypted;
        is_first
            && len <= ENCRYPTED_ALERT_LEN_MAX
            && self.handshake.is_tls_1_3
            && !(self.client == Some(sender) && self.handshake.has_early_data)
    }

    fn encrypted(&mut self, sender: Sender) {
        self.directions[sender.index()].is_encrypted = true;
        self.handshake.established = self.directions.iter().all(|direction| direction.is_encrypted);
    }

    fn set_incomplete(&mut self, reason: Incomplete) {
        self.incomplete.get_or_insert(reason);
    }

    /// The client, by what was said, else by the port, else the end that began.
    fn client(&self) -> Sender {
        self.client.unwrap_or(Sender::Originator)
    }

    fn report_when_done(&mut self, context: &mut Context<'_>) {
        if self.handshake.established || self.handshake.has_failed() {
            self.report(context);
        }
    }

    fn report(&mut self, context: &mut Context<'_>) {
        if std::mem::replace(&mut self.is_reported, true) {
            return;
        }
        let client = self.client();
        let mut transaction = Transaction::new(super::NAME, context.flow, client);
        transaction.request = self.directions[client.index()].seen;
        transaction.response = self.directions[client.other().index()].seen;
        if let (Some(request), Some(response)) = (transaction.request, &mut transaction.response) {
            // A handshake lasts until both ends are done, and it is the client that is last in TLS 1.3.
            response.last = response.last.max(request.last);
        }
        transaction.status = if self.handshake.established { Status::Ok } else { Status::Error };
        let end = |sender| if sender == client { "client" } else { "server" };
        for alert in self.handshake.alerts.iter().filter(|alert| alert.is_fatal()) {
            let name = names::alert(alert.description);
            transaction.errors.push(format!("Fatal alert from the {}: {name}", end(alert.sender)));
        }
        if let Some(sender) = self.handshake.gave_up {
            transaction.errors.push(format!("Encrypted alert from the {}", end(sender)));
        }
        transaction.errors.append(&mut self.errors);
        if let Some(reason) = self.incomplete_reason() {
            transaction.set_incomplete(reason);
        }
        if context.wants_fields {
            fields::set(&mut transaction.fields, &self.handshake, client, &self.options);
        }
        // Nothing of it is needed any more, and connections can be long.
        self.handshake = Handshake::default();
        self.directions = Default::default();
        context.emit(transaction);
    }

    fn incomplete_reason(&self) -> Option<Incomplete> {
        let handshake = &self.handshake;
        let [has_client_hello, has_server_hello] =
            [handshake.client_hello.is_some(), handshake.server_hello.is_some()];
        let failed = handshake.has_failed();
        match (has_client_hello, has_server_hello) {
            _ if self.incomplete.is_some() => self.incomplete,
            (true, true) if handshake.established || failed => None,
            (true, false) if failed => None,
            (true, true) => Some(Incomplete::Ended),
            (true, false) => Some(Incomplete::NoResponse),
            (false, _) if self.joined_late => Some(Incomplete::JoinedLate),
            (false, _) => Some(Incomplete::NoRequest),
        }
    }
}

impl StreamParser for Connection {
    fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        if self.is_reported {
            return;
        }
        let at = chunk.sender.index();
        self.directions[at].seen.get_or_insert(protocol::Message {
            first: chunk.at,
            last: chunk.at,
            bytes: 0,
        });
        if let Some(seen) = &mut self.directions[at].seen {
            seen.extend(chunk.at, chunk.bytes.len());
        }
        let mut messages = std::mem::take(&mut self.directions[at].messages);
        let fine =
            messages.read(chunk.bytes, &mut |reader, message| self.message(chunk.sender, reader, message));
        self.directions[at].messages = messages;
        if !fine && !self.joined_late {
            self.set_incomplete(Incomplete::Malformed);
        }
        self.report_when_done(context);
    }

    fn gap(&mut self, sender: Sender, len: u64, _at: Moment, _context: &mut Context<'_>) {
        if self.is_reported {
            return;
        }
        let direction = &mut self.directions[sender.index()];
        if let Some(seen) = &mut direction.seen {
            seen.bytes += len;
        }
        let gap = direction.messages.gap(len);
        if let Gap::PartialHello(Message::Handshake { kind: kind::SERVER_HELLO, .. }) = &gap {
            self.client.get_or_insert(sender.other());
        }
        if gap != Gap::Harmless {
            let is_request = sender == self.client();
            self.set_incomplete(if is_request { Incomplete::RequestGap } else { Incomplete::ResponseGap });
        }
        if let Gap::PartialHello(Message::Handshake { kind, body }) = gap {
            self.handshake_message(sender, kind, body);
        }
    }

    fn end(&mut self, _sender: Sender, _at: Moment, _context: &mut Context<'_>) {}

    fn finish(&mut self, context: &mut Context<'_>) {
        if self.directions.iter().any(|direction| direction.seen.is_some()) {
            self.report(context);
        }
    }
}

/// The curve of a key exchange with named curves (RFC 8422, section 5.4); key exchanges that have none begin otherwise.
fn named_curve(body: &[u8]) -> Option<u16> {
    const NAMED_CURVE: u8 = 3;
    let mut reader = Reader::new(body);
    if reader.u8()? != NAMED_CURVE {
        return None;
    }
    let curve = reader.u16()?;
    // A point and its signature must follow: the length of a Diffie-Hellman prime may begin with 3, too.
    (reader.vector8().is_some() && !reader.is_empty()).then_some(curve)
}
