//! What is to become of each file, so that the result is whole also from one segment to the next.

use std::collections::BTreeMap;

use super::{refusal, room};
use crate::proto;
use crate::verify::{ChainFaultKind, FileReport, FileState, is_nameless, link, predecessor_fault};

/// What is to become of a file.
pub(super) enum Plan {
    LeaveOut {
        reason: String,
    },
    Copy,
    /// Write it anew with this FILE block; `repair` lacks what is lost.
    Rewrite(Box<proto::FileInfo>),
}

/// Decides for all files of a source, which are sorted by name.
pub(super) fn plan(files: &[FileReport]) -> Vec<Plan> {
    let infos: Vec<proto::FileInfo> = (0..files.len()).map(|at| file_info(files, at)).collect();
    let mut plans: Vec<Plan> = files
        .iter()
        .map(|file| match refusal(file) {
            Some(reason) => Plan::LeaveOut { reason },
            None => Plan::Copy,
        })
        .collect();
    let mut recordings: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for at in (0..files.len()).filter(|&at| matches!(plans[at], Plan::Copy)) {
        recordings.entry(&infos[at].capture_id).or_default().push(at);
    }
    let mut recordings: Vec<Vec<usize>> = recordings.into_values().collect();
    for recording in &mut recordings {
        recording.sort_by_key(|&at| infos[at].segment_sequence);
    }
    recordings
        .sort_by_key(|recording| infos[recording[0]].clock.as_ref().map_or(0, |clock| clock.realtime_ns));
    for (age, recording) in recordings.iter().enumerate() {
        let is_named = !infos[recording[0]].capture_id.is_empty();
        let mut before: Option<usize> = None;
        for (place, &at) in recording.iter().enumerate() {
            let file = &files[at];
            let mut links = Links { info: infos[at].clone(), changed: false, repair: repair_of(file) };
            if is_named {
                if let Some(before) = before
                    && infos[before].segment_sequence == infos[at].segment_sequence
                {
                    let reason = format!("{} is the same segment", files[before].path.display());
                    plans[at] = Plan::LeaveOut { reason };
                    continue;
                }
                links.join_segment_before(before.map(|before| (&files[before], &infos[before])), age > 0);
                links.join_recording_before(files, age > 0);
                links.source_digest(file, recording.get(place + 1).map(|&next| &infos[next]));
            }
            before = Some(at);
            if links.changed || file.state != FileState::Clean {
                links.info.repair = Some(links.repair);
                plans[at] = Plan::Rewrite(Box::new(links.info));
            }
        }
    }
    plans
}

/// What the FILE block says; nothing where that can't be kept. Where it is lost, and the files around leave no doubt, what it must have said.
fn file_info(files: &[FileReport], at: usize) -> proto::FileInfo {
    let info = files[at].file_info.clone();
    if !room::is_told_apart(&info) {
        return proto::FileInfo::default();
    }
    if !is_nameless(&files[at]) {
        return info;
    }
    let around = at.checked_sub(1).and_then(|before| Some((files.get(before)?, files.get(at + 1)?)));
    let Some((before, after)) = around else { return info };
    let (before_info, after_info) = (&before.file_info, &after.file_info);
    let is_between = !before_info.capture_id.is_empty()
        && before_info.capture_id == after_info.capture_id
        && before_info.segment_sequence.checked_add(2) == Some(after_info.segment_sequence);
    if !is_between {
        return info;
    }
    proto::FileInfo {
        segment_sequence: before_info.segment_sequence + 1,
        previous_digest: before.sealed_digest.map(Vec::from).unwrap_or_default(),
        clock: None,
        predecessor: None,
        repair: None,
        ..before_info.clone()
    }
}

/// What a rewritten segment says of the file that it was made of.
fn repair_of(file: &FileReport) -> proto::Repair {
    let fresh = proto::Repair {
        source_segment_id: file.segment_id.map(Vec::from).unwrap_or_default(),
        source_state: file.state.name().to_owned(),
        source_len: file.len,
        source_digest: file.sealed_digest.map(Vec::from).unwrap_or_default(),
        repaired_by: concat!("kcap ", env!("CARGO_PKG_VERSION")).to_owned(),
        file_lost: file.file_info == proto::FileInfo::default() || !room::is_told_apart(&file.file_info),
        ..proto::Repair::default()
    };
    // One that was repaired before goes on to stand for what it was made of, and to say what that lost.
    match &file.file_info.repair {
        None => fresh,
        Some(earlier) => proto::Repair {
            source_segment_id: room::id(&earlier.source_segment_id).unwrap_or(fresh.source_segment_id),
            source_digest: room::id(&earlier.source_digest).unwrap_or(fresh.source_digest),
            lost: earlier.lost.clone(),
            more_lost: earlier.more_lost,
            segments_lost_before: earlier.segments_lost_before,
            notes: earlier.notes.clone(),
            ..fresh
        },
    }
}

/// A segment's FILE while it is made to fit to the other segments of the result.
struct Links {
    info: proto::FileInfo,
    changed: bool,
    repair: proto::Repair,
}

impl Links {
    fn join_segment_before(&mut self, before: Option<(&FileReport, &proto::FileInfo)>, has_older: bool) {
        let sequence = self.info.segment_sequence;
        let expected = before.map(|(_, info)| info.segment_sequence.saturating_add(1));
        let lost_before = match expected {
            Some(expected) => sequence.saturating_sub(expected),
            None if has_older => sequence.saturating_sub(1),
            None => self.repair.segments_lost_before,
        };
        if lost_before != self.repair.segments_lost_before {
            self.changed = true;
            self.repair.segments_lost_before = lost_before;
        }
        let Some((before, _)) = before.filter(|_| expected == Some(sequence)) else { return };
        if let Some(fault @ ChainFaultKind::Replaced { .. }) = link(before, &self.info.previous_digest) {
            self.changed = true;
            self.info.previous_digest = before.sealed_digest.map(Vec::from).unwrap_or_default();
            self.repair.notes.push(fault.to_string());
        }
    }

    fn join_recording_before(&mut self, files: &[FileReport], has_older: bool) {
        let Some(told) = &self.info.predecessor else { return };
        let fault = match predecessor_fault(told, files, has_older) {
            // It is rewritten, and stands for what was found.
            Some(ChainFaultKind::PredecessorChanged { path })
                if files.iter().any(|file| {
                    file.path == path
                        && file.state != FileState::Clean
                        && refusal(file).is_none()
                        && file.segment_id.is_some_and(|id| id[..] == told.segment_id[..])
                }) =>
            {
                return;
            }
            None if files.iter().all(|file| !has_name(file, &told.name) || refusal(file).is_none()) => return,
            fault => fault,
        };
        self.changed = true;
        let name = String::from_utf8_lossy(&told.name).into_owned();
        let fault = fault.unwrap_or(ChainFaultKind::PredecessorGone { name });
        self.repair.notes.push(fault.to_string());
        self.info.predecessor = None;
    }

    /// What later segments name: the digest in the SEAL, or where that is lost, what the next segment says.
    fn source_digest(&mut self, file: &FileReport, next: Option<&proto::FileInfo>) {
        let is_next = |next: &&proto::FileInfo| {
            self.info.segment_sequence.checked_add(1) == Some(next.segment_sequence)
        };
        if file.sealed_digest.is_none()
            && self.repair.source_digest.is_empty()
            && let Some(next) = next.filter(is_next)
        {
            self.repair.source_digest.clone_from(&next.previous_digest);
            if let Some(ChainFaultKind::EndGone { .. }) = link(file, &next.previous_digest) {
                self.repair.notes.push("blocks behind the last one are gone".to_owned());
            }
        }
    }
}

fn has_name(file: &FileReport, name: &[u8]) -> bool {
    file.path.file_name().is_some_and(|file_name| file_name.as_encoded_bytes() == name)
}
