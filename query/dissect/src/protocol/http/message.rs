//! A message as it comes in: its head, what is kept of its body, and where it was.

use super::coding;
use super::head::Head;
use crate::protocol::{self, Moment};

/// A request or a response.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) head: Head,
    /// Where it was, and all its bytes.
    pub(super) place: protocol::Message,
    /// Bytes of the body without transfer coding, gaps included.
    pub(super) body_len: u64,
    /// What is kept of the body.
    pub(super) body: Vec<u8>,
    /// How much of it may be kept, with its codings and without them.
    pub(super) body_len_max: usize,
    /// Part of the body is missing in the capture.
    pub(super) has_gap: bool,
    /// It was seen to its end.
    pub(super) is_done: bool,
    /// Why it could not be read to its end.
    pub(super) malformed: Option<&'static str>,
}

impl Message {
    /// A message whose head was read. `body_len_max`: how much of its body is to be kept.
    pub(super) fn new(head: Head, first: Moment, last: Moment, body_len_max: usize) -> Self {
        let bytes = head.raw.len() as u64;
        Self {
            head,
            place: protocol::Message { first, last, bytes },
            body_len: 0,
            body: Vec::new(),
            body_len_max,
            has_gap: false,
            is_done: false,
            malformed: None,
        }
    }

    /// More bytes of it, whatever they are.
    pub(super) fn took(&mut self, bytes: usize, at: Moment) {
        if bytes > 0 {
            self.place.extend(at, bytes);
        }
    }

    /// More of its body.
    pub(super) fn push_body(&mut self, data: &[u8]) {
        self.body_len += data.len() as u64;
        let room = self.body_len_max - self.body.len();
        // Behind a gap, the rest would not be at its place.
        if !self.has_gap {
            self.body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }

    /// Part of its body is missing.
    pub(super) fn gap(&mut self, len: u64, at: Moment) {
        self.has_gap = true;
        self.body_len = self.body_len.saturating_add(len);
        self.place.bytes = self.place.bytes.saturating_add(len);
        self.place.last = at;
    }

    /// More was to be kept than is allowed.
    pub(super) fn is_trimmed(&self) -> bool {
        self.body_len_max > 0 && !self.has_gap && self.body.len() as u64 != self.body_len
    }

    /// Memory that it holds, in bytes. A body whose codings will be undone counts as what it can become.
    pub(super) fn memory(&self, is_decoded: bool) -> usize {
        let headers: usize =
            self.head.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        let decoded = if is_decoded && !self.body.is_empty() {
            coding::decoded_len_max(self.body.len(), &self.head.codings(), self.body_len_max)
        } else {
            0
        };
        size_of::<Self>() + self.head.raw.capacity() + headers + self.body.capacity().max(decoded)
    }
}
