//! What a protocol implements.

use std::sync::Arc;

use super::flow::{Flow, Moment, Sender};
use super::transaction::Transaction;
use crate::decode::Icmp;

/// A protocol with its options: recognises its bytes and makes parsers for conversations.
pub trait Dissector: Send + Sync {
    /// How sure the first bytes of a conversation make it that this protocol is spoken. Must be quick: it is asked for every
    /// conversation, and again when there is more.
    fn detect(&self, sample: &Sample<'_>) -> Detection;

    /// A parser for one conversation over TCP; `None` when the protocol isn't spoken over streams.
    fn stream(&self, _flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        None
    }

    /// A parser for one conversation of datagrams; `None` when the protocol isn't spoken over them.
    fn datagrams(&self, _flow: &Arc<Flow>) -> Option<Box<dyn DatagramParser>> {
        None
    }
}

/// The beginning of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Whose it is.
    pub flow: &'a Flow,
    /// The first bytes of each direction, at the index of the [`Sender`]: of streams contiguous and no more than
    /// [`SAMPLE_LEN_MAX`](super::conversation::SAMPLE_LEN_MAX), of datagrams all of one.
    pub bytes: [&'a [u8]; 2],
    /// The sender of the first bytes.
    pub first: Sender,
    /// For each direction: whether `bytes` begin where the stream does. Always for datagrams.
    pub from_start: [bool; 2],
}

impl<'a> Sample<'a> {
    /// The bytes of one direction.
    #[must_use]
    pub fn of(&self, sender: Sender) -> &'a [u8] {
        self.bytes[sender.index()]
    }
}

/// How sure it is that a protocol is spoken. The surest protocol gets the conversation, of equals the one that has a port
/// of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detection {
    /// These bytes can't be of this protocol.
    No,
    /// They might be, but so might others: only the port makes it this protocol. Also for bytes from the middle of a stream
    /// that the parser could find its way into.
    Port,
    /// Not enough bytes: the conversation is held back until there are more, or until no more can be kept.
    More,
    /// They look like it: enough on any port, unless another protocol is surer.
    Likely,
    /// Nothing else begins like this.
    Certain,
}

/// A part of one direction of a stream, in order.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Whose bytes these are.
    pub sender: Sender,
    /// They follow the previous chunk, or gap, of this sender. Never empty.
    pub bytes: &'a [u8],
    /// The packet that they came in.
    pub at: Moment,
}

/// Follows both directions of one TCP connection.
///
/// Chunks of the two directions come in the order in which their packets were captured. No method may panic, or keep more
/// than a bounded number of bytes, whatever the bytes are.
pub trait StreamParser: Send {
    /// More bytes of one direction.
    fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>);

    /// Bytes of one direction are missing in the capture; the next chunk continues behind them.
    fn gap(&mut self, sender: Sender, len: u64, at: Moment, context: &mut Context<'_>);

    /// One direction was closed in order: no more bytes of this sender follow.
    fn end(&mut self, _sender: Sender, _at: Moment, _context: &mut Context<'_>) {}

    /// The conversation is over (closed, reset, timed out), or the capture is: whatever waits is to be reported, as
    /// incomplete. Nothing is called after this.
    fn finish(&mut self, context: &mut Context<'_>);
}

/// A datagram, or an ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Whose it is.
    pub sender: Sender,
    /// What was captured of it, after the header of UDP or ICMP.
    pub bytes: &'a [u8],
    /// Its length on the wire, in bytes: more than `bytes` has when the capture cut it.
    pub wire_len: usize,
    /// The header of ICMP.
    pub icmp: Option<Icmp>,
    /// Its packet.
    pub at: Moment,
}

/// Follows the datagrams of one conversation, in the order in which they were captured.
pub trait DatagramParser: Send {
    /// The next datagram.
    fn datagram(&mut self, datagram: Datagram<'_>, context: &mut Context<'_>);

    /// As [`StreamParser::finish`].
    fn finish(&mut self, context: &mut Context<'_>);
}

/// What a parser may ask of, and gives to, its surroundings.
#[derive(Debug)]
pub struct Context<'a> {
    /// The conversation.
    pub flow: &'a Arc<Flow>,
    /// Whether anybody looks at [`Transaction::fields`]. Where not, parsers may leave them out, and nothing else.
    pub wants_fields: bool,
    pub(super) transactions: &'a mut Vec<Transaction>,
    pub(super) handed_over: Option<Vec<u8>>,
}

impl<'a> Context<'a> {
    /// A context whose transactions are appended to a list.
    #[must_use]
    pub fn new(flow: &'a Arc<Flow>, transactions: &'a mut Vec<Transaction>) -> Self {
        Self { flow, wants_fields: true, transactions, handed_over: None }
    }

    /// The same where fields are wanted or not.
    #[must_use]
    pub fn wanting_fields(self, wants_fields: bool) -> Self {
        Self { wants_fields, ..self }
    }

    /// Reports a transaction.
    pub fn emit(&mut self, transaction: Transaction) {
        self.transactions.push(transaction);
    }

    /// From here on, the stream speaks another protocol (TLS after `STARTTLS`, anything after `CONNECT`): detection begins
    /// again, with `rest`, the bytes of the present chunk that belong to it, and everything that follows, up to
    /// [`HAND_OVERS_MAX`](super::conversation::HAND_OVERS_MAX) times. To be called from [`StreamParser::data`];
    /// [`StreamParser::finish`] is called next.
    pub fn hand_over(&mut self, rest: &[u8]) {
        self.handed_over = Some(rest.to_vec());
    }
}
