//! Length-prefixed protobuf messages: payloads of FILE, CLOCK, SNAPSHOT, EVENTS and LOSS.

use prost::Message;
use prost::encoding::{decode_varint, encoded_len_varint};

use crate::error::Fault;
use crate::limits::{MESSAGE_COUNT_MAX, MESSAGE_LEN_MAX, MESSAGES_RAW_LEN_TARGET};
use crate::proto;

/// Appends the messages, each behind its length, and returns the length of the longest.
pub(crate) fn encode<M: Message>(messages: &[M], out: &mut Vec<u8>) -> usize {
    let mut longest = 0;
    for message in messages {
        let len = message.encoded_len();
        longest = longest.max(len);
        out.reserve(len + encoded_len_varint(len as u64));
        message.encode_length_delimited(out).expect("a Vec grows as needed");
    }
    longest
}

/// The bytes of each message, without its length. Checked against the block's record count.
pub(crate) fn split(payload: &[u8], count: u32) -> Result<Vec<&[u8]>, Fault> {
    if count > MESSAGE_COUNT_MAX {
        return Err(Fault::Corrupt("more messages than a block may have"));
    }
    let mut rest = payload;
    let mut messages = Vec::with_capacity(count as usize);
    while !rest.is_empty() {
        let len = decode_varint(&mut rest).map_err(|_| Fault::Corrupt("a message's length is malformed"))?;
        if messages.len() == count as usize {
            return Err(Fault::Corrupt("more messages than the header says"));
        }
        let len = usize::try_from(len).ok().filter(|&len| len <= MESSAGE_LEN_MAX);
        let (message, after) = len
            .and_then(|len| rest.split_at_checked(len))
            .ok_or(Fault::Corrupt("a message is longer than its block or the limit"))?;
        messages.push(message);
        rest = after;
    }
    if messages.len() < count as usize {
        return Err(Fault::Corrupt("fewer messages than the header says"));
    }
    Ok(messages)
}

/// All messages of a payload.
pub(crate) fn decode<M: Message + Default>(payload: &[u8], count: u32) -> Result<Vec<M>, Fault> {
    split(payload, count)?
        .into_iter()
        .map(|bytes| M::decode(bytes).map_err(|_| Fault::Corrupt("a message is not valid protobuf")))
        .collect()
}

/// Divides events into runs that each fit into a block, in their order: a snapshot of a hundred thousand
/// processes becomes several blocks.
pub fn split_events(events: &[proto::Event]) -> impl Iterator<Item = &[proto::Event]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let more = rest.iter().take(MESSAGE_COUNT_MAX as usize).skip(1).take_while(|event| {
            bytes += event.encoded_len();
            bytes < MESSAGES_RAW_LEN_TARGET
        });
        let (run, after) = rest.split_at(1 + more.count());
        rest = after;
        Some(run)
    })
}

impl proto::FileInfo {
    /// Bytes that it takes: a writer refuses more than [`FILE_MESSAGE_LEN_MAX`](crate::limits::FILE_MESSAGE_LEN_MAX).
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.encoded_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name_len: usize) -> proto::Event {
        let exit = proto::ProcessExit { name: vec![b'x'; name_len], ..Default::default() };
        proto::Event { time_ns: 5, event: Some(proto::event::Event::Exit(exit)), ..Default::default() }
    }

    #[test]
    fn messages_come_back() {
        let events = vec![event(0), event(300), proto::Event::default()];
        let mut payload = Vec::new();
        assert!(encode(&events, &mut payload) > 300);
        assert_eq!(decode::<proto::Event>(&payload, 3).unwrap(), events);
        assert!(decode::<proto::Event>(&payload, 2).is_err());
        assert!(decode::<proto::Event>(&payload, 4).is_err());
        for len in 0..payload.len() {
            assert!(decode::<proto::Event>(&payload[..len], 3).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let huge = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert!(split(&huge, 1).is_err());
        assert!(split(&[0xFF; 11], 1).is_err());
        assert!(split(&[5, 1, 2], 1).is_err());
        assert!(split(&[], MESSAGE_COUNT_MAX + 1).is_err());
    }

    #[test]
    fn runs_of_events_fit_into_blocks_and_lose_none() {
        let events: Vec<_> = (0..200_000).map(|i| event(i % 40)).collect();
        let runs: Vec<_> = split_events(&events).collect();
        assert!(runs.len() > 1);
        assert!(runs.iter().all(|run| run.len() <= MESSAGE_COUNT_MAX as usize));
        assert_eq!(runs.concat(), events);
        let large: Vec<_> = (0..3).map(|_| event(MESSAGES_RAW_LEN_TARGET)).collect();
        assert_eq!(split_events(&large).map(<[_]>::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(split_events(&[]).count(), 0);
    }
}
