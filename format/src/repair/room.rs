//! Room in the FILE block for what a repair says. What an earlier writer put there can take all of it.

use prost::Message;

use crate::limits::{FILE_MESSAGE_LEN_MAX, REPAIR_LOST_COUNT_MAX, REPAIR_NOTES_LEN_MAX};
use crate::proto;

/// Bytes that are left for lengths and field numbers, and for the notes that are made here.
const SLACK_LEN: usize = FILE_MESSAGE_LEN_MAX / 64;
/// Most bytes of what a FILE must say for its segment to be told from others. Ids and digests have 32 at most: whoever
/// has this many is lying.
const IDENTITY_LEN_MAX: usize = FILE_MESSAGE_LEN_MAX / 2;
/// Most bytes of an id or digest.
const ID_LEN_MAX: usize = 32;

/// A part of a FILE that a segment can be read without: what it is of, and how it is left out.
type Part = (&'static str, fn(&mut proto::FileInfo));

/// Those that are missed least come first.
const PARTS: [Part; 4] = [
    ("the recorder's command line and options", |info| {
        if let Some(recorder) = info.recorder.take() {
            info.recorder = Some(proto::Recorder {
                name: recorder.name,
                version: recorder.version,
                payload_tasks: recorder.payload_tasks,
                ..proto::Recorder::default()
            });
        }
    }),
    ("the segment before the recording", |info| info.predecessor = None),
    ("the recorder", |info| info.recorder = None),
    ("the host", |info| {
        if let Some(host) = info.host.take() {
            let (boot_id, namespace_device) = (host.boot_id, host.namespace_device);
            info.host = Some(proto::Host { boot_id, namespace_device, ..proto::Host::default() });
        }
    }),
];

/// Whether what tells a segment from others leaves room for anything else. Where not, its FILE is as good as lost.
pub(super) fn is_told_apart(info: &proto::FileInfo) -> bool {
    let mut identity = proto::FileInfo { repair: None, ..info.clone() };
    PARTS.iter().for_each(|(_, leave_out)| leave_out(&mut identity));
    identity.encoded_len() <= IDENTITY_LEN_MAX
}

/// An id or digest of an earlier repair; `None` when it can't be one.
pub(super) fn id(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes.len() <= ID_LEN_MAX).then(|| bytes.to_vec())
}

/// Puts what a repair says into a FILE. Where there is no room for all, losses are counted instead of listed, and where
/// that isn't enough, parts of the FILE are left out, which a note tells.
pub(super) fn put(info: &mut proto::FileInfo, mut repair: proto::Repair) {
    shorten_notes(&mut repair.notes);
    let lost = std::mem::take(&mut repair.lost);
    for (name, leave_out) in PARTS {
        let len = info.encoded_len();
        if len + repair.encoded_len() + SLACK_LEN <= FILE_MESSAGE_LEN_MAX {
            break;
        }
        leave_out(info);
        if info.encoded_len() < len {
            repair.notes.push(format!("what the FILE block said of {name} had no room and is left out"));
        }
    }
    repair.lost = lost;
    info.repair = Some(shorten(repair, info));
}

/// Leaves out as many losses as the FILE block has no room for, and counts them.
fn shorten(mut repair: proto::Repair, info: &proto::FileInfo) -> proto::Repair {
    let room = FILE_MESSAGE_LEN_MAX.saturating_sub(info.encoded_len() + SLACK_LEN);
    while repair.lost.len() > REPAIR_LOST_COUNT_MAX || repair.encoded_len() > room {
        let kept = if repair.lost.len() > REPAIR_LOST_COUNT_MAX {
            REPAIR_LOST_COUNT_MAX
        } else {
            repair.lost.len() / 2
        };
        repair.more_lost = repair.more_lost.saturating_add((repair.lost.len() - kept) as u64);
        repair.lost.truncate(kept);
        if kept == 0 {
            break;
        }
    }
    repair
}

/// Leaves out the longest notes, until the rest is within its limit, and says how many.
fn shorten_notes(notes: &mut Vec<String>) {
    let mut by_length: Vec<usize> = (0..notes.len()).collect();
    by_length.sort_by_key(|&at| notes[at].len());
    let mut len = 0;
    let fitting = by_length.iter().take_while(|&&at| {
        // With its field number and length.
        len += notes[at].len() + 4;
        len <= REPAIR_NOTES_LEN_MAX
    });
    let mut kept = by_length[..fitting.count()].to_vec();
    if kept.len() == notes.len() {
        return;
    }
    let left_out = notes.len() - kept.len();
    kept.sort_unstable();
    *notes = kept.into_iter().map(|at| std::mem::take(&mut notes[at])).collect();
    notes.push(format!("{left_out} more notes had no room"));
}
