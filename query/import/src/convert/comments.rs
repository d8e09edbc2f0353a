//! Comments of packets, as the events that segments keep them in.

use std::collections::HashMap;

use kcap_format::{BlockEntry, proto};

/// Most bytes of a packet's comment; what is longer is cut, and ends in an ellipsis then. A comment of pcapng has no more,
/// but a packet may have several.
const COMMENT_LEN_MAX: usize = 64 << 10;
/// Bytes of comments after which another event is begun.
const EVENT_LEN_TARGET: usize = 256 << 10;
/// Bytes that are counted for a packet.
const PACKET_LEN: usize = 5;

/// The events of a block's comments, one for each packet; none when all are empty.
pub(super) fn events(entry: &BlockEntry, comments: &[String]) -> Vec<proto::Event> {
    let packet_count = u32::try_from(comments.len()).unwrap_or(u32::MAX);
    let mut events = Vec::new();
    let mut first = 0;
    while first < comments.len() {
        let mut told = proto::PacketComments {
            packet_count,
            first_packet: u32::try_from(first).unwrap_or(u32::MAX),
            ..proto::PacketComments::default()
        };
        let mut places: HashMap<&str, u32> = HashMap::new();
        let mut bytes = 0;
        for comment in comments[first..].iter().map(|comment| kept(comment)) {
            if bytes >= EVENT_LEN_TARGET {
                break;
            }
            bytes += PACKET_LEN;
            if comment.is_empty() {
                told.comment_of.push(0);
                continue;
            }
            let place = *places.entry(comment).or_insert_with(|| {
                bytes += comment.len();
                told.comments.push(cut(comment));
                u32::try_from(told.comments.len()).unwrap_or(u32::MAX)
            });
            told.comment_of.push(place);
        }
        first += told.comment_of.len();
        if !told.comments.is_empty() {
            events.push(proto::Event {
                time_ns: entry.first_time_ns,
                event: Some(proto::event::Event::PacketComments(told)),
                ..proto::Event::default()
            });
        }
    }
    events
}

/// What is kept of a comment; one byte more than the limit when there is more.
fn kept(comment: &str) -> &str {
    if comment.len() <= COMMENT_LEN_MAX {
        comment
    } else {
        &comment[..comment.ceil_char_boundary(COMMENT_LEN_MAX + 1)]
    }
}

/// The text of what is kept.
fn cut(kept: &str) -> String {
    if kept.len() <= COMMENT_LEN_MAX {
        return kept.to_owned();
    }
    format!("{}…", &kept[..kept.floor_char_boundary(COMMENT_LEN_MAX)])
}

#[cfg(test)]
mod tests {
    use kcap_format::BlockType;

    use super::*;

    fn entry() -> BlockEntry {
        BlockEntry {
            offset: 0,
            first_time_ns: 7,
            last_time_ns: 9,
            sequence: 1,
            record_count: 0,
            stored_len: 0,
            raw_len: 0,
            header_crc32c: 0,
            block_type: BlockType::PACKETS,
            flags: 0,
        }
    }

    fn told(comments: &[String]) -> Vec<proto::PacketComments> {
        let events = events(&entry(), comments);
        assert!(events.iter().all(|event| event.time_ns == 7));
        let of = |event: proto::Event| match event.event {
            Some(proto::event::Event::PacketComments(told)) => told,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(of).collect()
    }

    #[test]
    fn a_comment_is_kept_once() {
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[String::new(), String::new()]), []);
        let [told] = &told(&["a", "", "b", "a"].map(str::to_owned))[..] else { panic!("one event") };
        assert_eq!((told.packet_count, told.first_packet), (4, 0));
        assert_eq!(
            (&told.comments[..], &told.comment_of[..]),
            (&["a".to_owned(), "b".to_owned()][..], &[1, 0, 2, 1][..])
        );
    }

    #[test]
    fn events_stay_small() {
        let comments: Vec<String> = (0..100).map(|number| format!("{number}").repeat(10_000)).collect();
        let all = told(&comments);
        assert!(all.len() > 1);
        let mut next = 0;
        for event in &all {
            assert_eq!((event.packet_count, event.first_packet), (100, next));
            assert!(
                event.comments.iter().map(String::len).sum::<usize>() < EVENT_LEN_TARGET + COMMENT_LEN_MAX
            );
            next += event.comment_of.len() as u32;
        }
        assert_eq!(next, 100);
        let long = "é".repeat(COMMENT_LEN_MAX);
        let cut = &told(&[long])[0].comments[0];
        assert!(cut.ends_with("é…") && cut.len() <= COMMENT_LEN_MAX + '…'.len_utf8());
    }
}
