//! One direction of a connection, from bytes to messages: records are cut from the stream, and handshake messages put together
//! from records, however the bytes come.

use super::record::{ContentType, FRAGMENT_LEN_MAX, HEADER_LEN, RecordHeader};

/// The longest handshake message that is kept. Chains of certificates are the long ones; the rest is far below.
pub(super) const MESSAGE_LEN_MAX: usize = 256 * 1024;

/// Alerts that are reported of one direction.
const ALERTS_MAX: usize = 16;

/// Handshake messages (RFC 8446, section 4; RFC 5246, section 7.4).
pub(super) mod kind {
    pub(in super::super) const CLIENT_HELLO: u8 = 1;
    pub(in super::super) const SERVER_HELLO: u8 = 2;
    pub(in super::super) const CERTIFICATE: u8 = 11;
    pub(in super::super) const SERVER_KEY_EXCHANGE: u8 = 12;
    pub(in super::super) const CERTIFICATE_REQUEST: u8 = 13;
    pub(in super::super) const SERVER_HELLO_DONE: u8 = 14;
}

/// Something that one end said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A handshake message of one of the kinds in [`kind`].
    Handshake { kind: u8, body: Vec<u8> },
    /// A handshake message that was too long to be kept.
    TooLong { kind: u8 },
    /// What follows is encrypted, until TLS 1.2.
    ChangeCipherSpec,
    /// An alert that isn't encrypted.
    Alert { level: u8, description: u8 },
    /// A record with encrypted content of this length.
    Encrypted { len: usize },
}

/// What a gap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing that is looked into is missing.
    Harmless,
    /// Messages may be missing.
    Messages,
    /// The end of a hello is missing; this is what came of it.
    PartialHello(Message),
}

/// Where the reader of one direction is.
#[derive(Debug, Default)]
pub(super) struct Messages {
    state: State,
    /// Handshake messages and alerts are encrypted: they are not looked into.
    encrypted: bool,
    /// The handshake message being put together, with its header.
    handshake: Vec<u8>,
    /// Bytes of a handshake message that is passed over.
    handshake_skip: usize,
    alert: Option<u8>,
    alerts: usize,
}

#[derive(Debug)]
enum State {
    /// Part of a record's header.
    Header { bytes: [u8; HEADER_LEN], len: usize },
    /// This much of a record is still to come.
    Fragment { content_type: ContentType, left: usize },
    /// No record is known to begin: after a gap, or in a stream that was joined late.
    Lost,
}

impl Default for State {
    fn default() -> Self {
        Self::Header { bytes: [0; HEADER_LEN], len: 0 }
    }
}

impl Messages {
    /// Of a stream that is not known to begin with a record.
    pub(super) fn joined_late() -> Self {
        Self { state: State::Lost, ..Self::default() }
    }

    /// From here on, handshake messages and alerts are not looked into.
    pub(super) fn set_encrypted(&mut self) {
        self.encrypted = true;
        self.handshake = Vec::new();
        self.handshake_skip = 0;
    }

    /// The next bytes. False when they aren't records: then nothing is read until a chunk begins with one.
    pub(super) fn read(&mut self, bytes: &[u8], message: &mut dyn FnMut(&mut Self, Message)) -> bool {
        let mut rest = bytes;
        if let State::Lost = self.state {
            // Segments often begin with a record; within one there is nothing to go by.
            if RecordHeader::at_start(bytes).is_none() {
                return false;
            }
            self.state = State::default();
        }
        while let Some(&byte) = rest.first() {
            match &mut self.state {
                State::Header { bytes, len } => {
                    bytes[*len] = byte;
                    *len += 1;
                    rest = &rest[1..];
                    if *len == HEADER_LEN {
                        let Some(header) = RecordHeader::parse(bytes) else {
                            self.lose();
                            return false;
                        };
                        self.begin(header, message);
                    }
                }
                State::Fragment { content_type, left } => {
                    let content_type = *content_type;
                    let (fragment, after) = rest.split_at((*left).min(rest.len()));
                    *left -= fragment.len();
                    if *left == 0 {
                        self.state = State::default();
                    }
                    rest = after;
                    self.fragment(content_type, fragment, message);
                }
                State::Lost => return false,
            }
        }
        true
    }

    /// Bytes are missing. [`Gap::Harmless`] when only content was lost that isn't looked into.
    pub(super) fn gap(&mut self, len: u64) -> Gap {
        match &mut self.state {
            State::Fragment { content_type, left } if len <= *left as u64 => {
                let harmless = self.encrypted || *content_type == ContentType::ApplicationData;
                *left -= len as usize;
                if *left == 0 {
                    self.state = State::default();
                }
                if harmless { Gap::Harmless } else { self.lose_to_gap() }
            }
            _ => self.lose_to_gap(),
        }
    }

    fn lose_to_gap(&mut self) -> Gap {
        let partial = std::mem::take(&mut self.handshake);
        self.lose();
        match *partial.as_slice() {
            [kind @ (kind::CLIENT_HELLO | kind::SERVER_HELLO), _, _, _, ref body @ ..] => {
                Gap::PartialHello(Message::Handshake { kind, body: body.to_vec() })
            }
            _ => Gap::Messages,
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.handshake = Vec::new();
        self.handshake_skip = 0;
        self.alert = None;
    }

    fn begin(&mut self, header: RecordHeader, message: &mut dyn FnMut(&mut Self, Message)) {
        debug_assert!(header.len <= FRAGMENT_LEN_MAX);
        self.state = match header.len {
            0 => State::default(),
            left => State::Fragment { content_type: header.content_type, left },
        };
        match header.content_type {
            ContentType::ChangeCipherSpec => message(self, Message::ChangeCipherSpec),
            ContentType::ApplicationData => message(self, Message::Encrypted { len: header.len }),
            ContentType::Handshake | ContentType::Alert if self.encrypted => {
                message(self, Message::Encrypted { len: header.len });
            }
            ContentType::Handshake | ContentType::Alert | ContentType::Heartbeat => {}
        }
    }

    fn fragment(
        &mut self,
        content_type: ContentType,
        bytes: &[u8],
        message: &mut dyn FnMut(&mut Self, Message),
    ) {
        match content_type {
            ContentType::Handshake if !self.encrypted => self.handshake(bytes, message),
            ContentType::Alert if !self.encrypted => self.alerts(bytes, message),
            _ => {}
        }
    }

    fn handshake(&mut self, mut bytes: &[u8], message: &mut dyn FnMut(&mut Self, Message)) {
        const KIND_AND_LEN: usize = 4;
        while !bytes.is_empty() && !self.encrypted {
            if self.handshake_skip > 0 {
                let skipped = self.handshake_skip.min(bytes.len());
                self.handshake_skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = match *self.handshake.as_slice() {
                [_, a, b, c, ..] => KIND_AND_LEN + u32::from_be_bytes([0, a, b, c]) as usize,
                _ => KIND_AND_LEN,
            };
            let taken = (wanted - self.handshake.len()).min(bytes.len());
            self.handshake.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let &[kind, a, b, c, ref body @ ..] = self.handshake.as_slice() else { continue };
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if !is_looked_into(kind) || len > MESSAGE_LEN_MAX {
                self.handshake.clear();
                self.handshake_skip = len;
                if is_looked_into(kind) {
                    message(self, Message::TooLong { kind });
                }
            } else if body.len() == len {
                let body = body.to_vec();
                self.handshake.clear();
                message(self, Message::Handshake { kind, body });
            }
        }
    }

    fn alerts(&mut self, bytes: &[u8], message: &mut dyn FnMut(&mut Self, Message)) {
        for &byte in bytes {
            match self.alert.take() {
                None => self.alert = Some(byte),
                Some(level) if self.alerts < ALERTS_MAX => {
                    self.alerts += 1;
                    message(self, Message::Alert { level, description: byte });
                }
                Some(_) => {}
            }
        }
    }
}

fn is_looked_into(message: u8) -> bool {
    [
        kind::CLIENT_HELLO,
        kind::SERVER_HELLO,
        kind::CERTIFICATE,
        kind::SERVER_KEY_EXCHANGE,
        kind::CERTIFICATE_REQUEST,
        kind::SERVER_HELLO_DONE,
    ]
    .contains(&message)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{handshake, record};
    use super::*;

    fn read(messages: &mut Messages, bytes: &[u8]) -> (Vec<Message>, bool) {
        let mut list = Vec::new();
        let fine = messages.read(bytes, &mut |_, message| list.push(message));
        (list, fine)
    }

    fn flight() -> (Vec<u8>, Vec<Message>) {
        let certificate = handshake(11, &[9; 300]);
        let bytes = [
            record(22, &[handshake(2, &[1, 2]), certificate[..100].to_vec()].concat()),
            record(22, &certificate[100..]),
            record(22, &[handshake(99, &[0; 50]), handshake(14, &[])].concat()),
            record(21, &[1, 90]),
            record(20, &[1]),
            record(23, &[0; 40]),
        ]
        .concat();
        let messages = vec![
            Message::Handshake { kind: 2, body: vec![1, 2] },
            Message::Handshake { kind: 11, body: vec![9; 300] },
            Message::Handshake { kind: 14, body: vec![] },
            Message::Alert { level: 1, description: 90 },
            Message::ChangeCipherSpec,
            Message::Encrypted { len: 40 },
        ];
        (bytes, messages)
    }

    #[test]
    fn the_same_however_the_bytes_come() {
        let (bytes, expected) = flight();
        for size in [1, 2, 3, 7, 64, bytes.len()] {
            let mut messages = Messages::default();
            let mut list = Vec::new();
            for chunk in bytes.chunks(size) {
                let (some, fine) = read(&mut messages, chunk);
                assert!(fine);
                list.extend(some);
            }
            assert_eq!(list, expected, "chunks of {size}");
        }
    }

    #[test]
    fn every_prefix() {
        let (bytes, expected) = flight();
        for len in 0..bytes.len() {
            let (list, fine) = read(&mut Messages::default(), &bytes[..len]);
            assert!(fine && list.len() <= expected.len() && expected.starts_with(&list), "{len}");
        }
    }

    #[test]
    fn too_long_messages_are_passed_over() {
        let long =
            [&[11][..], &(MESSAGE_LEN_MAX as u32 + 1).to_be_bytes()[1..], &vec![0; MESSAGE_LEN_MAX + 1]]
                .concat();
        let done = handshake(14, &[]);
        let bytes: Vec<u8> =
            [long, done].concat().chunks(16_000).flat_map(|fragment| record(22, fragment)).collect();
        let mut messages = Messages::default();
        let (list, fine) = read(&mut messages, &bytes);
        assert!(fine);
        assert_eq!(list, [Message::TooLong { kind: 11 }, Message::Handshake { kind: 14, body: vec![] }]);
        assert!(messages.handshake.capacity() < 64);
    }

    #[test]
    fn what_is_encrypted_is_not_looked_into() {
        let mut messages = Messages::default();
        messages.set_encrypted();
        let (list, fine) = read(&mut messages, &[record(22, &[1; 40]), record(21, &[7; 26])].concat());
        assert!(fine);
        assert_eq!(list, [Message::Encrypted { len: 40 }, Message::Encrypted { len: 26 }]);
    }

    #[test]
    fn gaps() {
        let mut messages = Messages::default();
        let data = record(23, &[0; 100]);
        read(&mut messages, &data[..50]);
        assert_eq!(messages.gap(55), Gap::Harmless, "application data that nobody looks at");
        assert!(matches!(messages.state, State::Header { len: 0, .. }));
        read(&mut messages, &data[..50]);
        assert_eq!(messages.gap(56), Gap::Messages, "the next header is lost too");
        assert_eq!(read(&mut messages, b"\x11\x22\x33\x44\x55"), (vec![], false));
        let (list, fine) = read(&mut messages, &record(21, &[2, 40]));
        assert!(fine, "a chunk that begins with a record is where reading goes on");
        assert_eq!(list, [Message::Alert { level: 2, description: 40 }]);
        read(&mut messages, &record(22, &handshake(1, &[0; 100]))[..50]);
        assert_eq!(messages.gap(10), Gap::PartialHello(Message::Handshake { kind: 1, body: vec![0; 41] }));
    }

    #[test]
    fn other_protocols() {
        let mut messages = Messages::default();
        assert_eq!(read(&mut messages, b"SSH-2.0-OpenSSH_9.2"), (vec![], false));
        assert_eq!(read(&mut messages, b"more"), (vec![], false));
    }
}
