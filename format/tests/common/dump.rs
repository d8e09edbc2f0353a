//! Everything that a reader finds in a segment, as JSON: what every reader, also of a later version, must find again.
#![allow(dead_code, unreachable_pub)] // tests and the generator use a part each

use kcap_format::{
    BlockEntry, BlockType, Identities, PacketBatch, PacketColumns, ReadMode, ReadOptions, Segment,
    SegmentState,
};
use serde_json::{Value, json};

/// What is in these bytes, read in salvage mode, and which modes open them at all.
pub fn dump(bytes: &[u8], identities: &Identities) -> Value {
    let options = |mode| ReadOptions::with_mode(mode).with_identities(identities.clone());
    let open = |mode| Segment::from_bytes("golden", bytes.to_vec(), &options(mode));
    let segment = open(ReadMode::Salvage).expect("golden segments have whole blocks");
    let damage: Vec<Value> = segment.damage().iter().map(|range| json!([range.begin, range.end])).collect();
    let blocks: Vec<Value> = segment.blocks().iter().map(|block| block_value(&segment, block)).collect();
    json!({
        "segment_id": hex(&segment.id()),
        "state": match segment.state() {
            SegmentState::Sealed => "sealed",
            SegmentState::Unsealed => "unsealed",
            SegmentState::Torn { .. } => "torn",
            _ => "corrupt",
        },
        "opens": {
            "strict": open(ReadMode::Strict).is_ok(),
            "tail_tolerant": open(ReadMode::TailTolerant).is_ok(),
        },
        "synced_offset": segment.synced_offset(),
        "damage": damage,
        "seal": seal_value(&segment),
        "blocks": blocks,
    })
}

/// The JSON with a line for each block.
pub fn to_text(value: &Value) -> String {
    let object = value.as_object().expect("an object");
    let mut lines = Vec::new();
    for (name, value) in object {
        let text = match value.as_array().filter(|_| name == "blocks") {
            Some(blocks) => {
                let blocks: Vec<String> = blocks.iter().map(Value::to_string).collect();
                format!("[\n{}\n]", blocks.join(",\n"))
            }
            None => value.to_string(),
        };
        lines.push(format!("\"{name}\": {text}"));
    }
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn seal_value(segment: &Segment) -> Value {
    let Some(seal) = segment.seal() else { return Value::Null };
    let counts: Vec<Value> = seal
        .counts
        .iter()
        .map(|count| json!([count.block_type.0, count.block_count, count.record_count]))
        .collect();
    json!({
        "digest": hex(&seal.digest),
        "first_time_ns": seal.first_time_ns,
        "last_time_ns": seal.last_time_ns,
        "counts": counts,
    })
}

fn block_value(segment: &Segment, block: &BlockEntry) -> Value {
    let mut value = json!({
        "sequence": block.sequence,
        "offset": block.offset,
        "type": block.block_type.0,
        "flags": block.flags,
        "record_count": block.record_count,
        "stored_len": block.stored_len,
        "raw_len": block.raw_len,
        "first_time_ns": block.first_time_ns,
        "last_time_ns": block.last_time_ns,
        "header_crc32c": block.header_crc32c,
    });
    let (name, content) = match block.block_type {
        BlockType::PACKETS => {
            ("packets", segment.packets(block, PacketColumns::ALL).map(|batch| packets(&batch)))
        }
        BlockType::INDEX | BlockType::KEY | BlockType::DICTIONARY | BlockType(200..) => {
            ("whole", segment.check_block(block).map(|()| true.into()))
        }
        _ => {
            let messages = segment.message_bytes(block);
            ("messages", messages.map(|messages| messages.iter().map(|message| hex(message)).collect()))
        }
    };
    // What can't be read is null: it is damaged, or encrypted to others.
    value[name] = content.unwrap_or_default();
    value
}

fn packets(batch: &PacketBatch) -> Value {
    let rows = |column: &kcap_format::BytesColumn| -> Vec<String> {
        (0..batch.len).map(|row| hex(column.get(row).unwrap_or_default())).collect()
    };
    let mut value = json!({
        "time_ns": batch.time_ns,
        "socket_cookie": batch.socket_cookie,
        "netns_cookie": batch.netns_cookie,
        "interface_index": batch.interface_index,
        "wire_len": batch.wire_len,
        "link_type": batch.link_type,
        "direction": batch.direction,
        "flags": batch.flags,
        "program": batch.program,
        "cpu": batch.cpu,
        "gso_size": batch.gso_size,
        "gso_segments": batch.gso_segments,
        "mark": batch.mark,
        "payload_len": batch.payload_len,
        "header": rows(&batch.header),
        "payload": rows(&batch.payload),
    });
    // Readings that are older than the column don't have it.
    if batch.tasks.iter().any(|tasks| *tasks != 0) {
        value["tasks"] = json!(batch.tasks);
    }
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
