//! What `kcap verify` tells, for programs.

use kcap_format::{BlockReport, Encryption, FileReport, Report};
use serde_json::{Value, json};

use crate::source::uuid_text;

/// All that was found out.
pub(super) fn report_json(report: &Report, every_block: bool) -> Value {
    let files: Vec<Value> = report.files.iter().map(|file| file_json(file, every_block)).collect();
    let faults: Vec<Value> = report
        .faults
        .iter()
        .map(|fault| {
            json!({
                "path": report.files[fault.file].path.display().to_string(),
                "kind": fault.kind.name(),
                "what": fault.kind.to_string(),
            })
        })
        .collect();
    json!({ "clean": report.is_clean(), "files": files, "faults": faults })
}

/// A file. Offsets and lengths are bytes; `lost_blocks` is null where nothing tells how many.
pub(in crate::cli) fn file_json(file: &FileReport, every_block: bool) -> Value {
    let damage: Vec<Value> = file
        .damage
        .iter()
        .map(|range| json!({ "begin": range.begin, "end": range.end, "what": range.what }))
        .collect();
    let info = &file.file_info;
    let id = |bytes: &[u8]| (!bytes.is_empty()).then(|| uuid_text(bytes));
    let mut value = json!({
        "path": file.path.display().to_string(),
        "bytes": file.len,
        "state": file.state.name(),
        "reason": file.reason,
        "encrypted": file.encryption != Encryption::None,
        "decrypted": file.encryption == Encryption::Open,
        "segment_id": file.segment_id.map(|bytes| uuid_text(&bytes)),
        "capture_id": id(&info.capture_id),
        "segment": info.segment_sequence,
        "blocks": file.block_count,
        "records": file.record_count,
        "lost_blocks": file.lost_block_count,
        "lost_records": file.lost_record_count,
        "digest": file.sealed_digest.map(|digest| hex_text(&digest)),
        "damage": damage,
        "repaired_from": info.repair.as_ref().map(|repair| repair.source_state.clone()),
    });
    let name = if every_block { "block_list" } else { "damaged_blocks" };
    value[name] = file.blocks.iter().map(block_json).collect();
    value
}

fn block_json(BlockReport { entry, fault, .. }: &BlockReport) -> Value {
    json!({
        "sequence": entry.sequence,
        "offset": entry.offset,
        "type": entry.block_type.to_string(),
        "records": entry.record_count,
        "stored_bytes": entry.stored_len,
        "raw_bytes": entry.raw_len,
        "fault": fault,
    })
}

/// Bytes as hexadecimal digits.
fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
