//! `spec/segment.md` states every limit with the value that the code has.

use std::collections::BTreeMap;
use std::path::Path;

use kcap_format::limits::*;

/// Limits that are not of the format's bytes but of this writer or reader alone, and what is no number.
const NOT_OF_THE_FORMAT: [&str; 7] = [
    "SYNC_MARKER",
    "END_MARKER",
    "FORMAT_VERSION",
    "BLOCK_RAW_LEN_TARGET",
    "MESSAGES_RAW_LEN_TARGET",
    "IDENTITY_FILE_LEN_MAX",
    "BUFFER_LEN_KEPT",
];

macro_rules! values {
    ($($name:ident),* $(,)?) => { BTreeMap::from([$((stringify!($name), $name as u64)),*]) };
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_document_states_every_limit_as_the_code_has_it() {
    let code: BTreeMap<&str, u64> = values![
        BLOCK_ALIGNMENT,
        BLOCK_HEADER_LEN_MAX,
        BLOCK_RAW_LEN_MAX,
        BLOCK_STORED_LEN_MAX,
        BLOCK_RECORD_COUNT_MAX,
        SEGMENT_BLOCK_COUNT_MAX,
        INDEX_BLOCK_COUNT,
        SECTION_COUNT_MAX,
        PACKET_ROW_RAW_LEN,
        TRANSPOSED_ROW_LEN_MAX,
        MESSAGE_LEN_MAX,
        FILE_MESSAGE_LEN_MAX,
        MESSAGE_COUNT_MAX,
        MESSAGES_RAW_LEN_MAX,
        CLOCK_SAMPLE_COUNT_MAX,
        ENCRYPTED_CHUNK_LEN,
        RECIPIENT_COUNT_MAX,
        WRAPPED_KEY_LEN_MAX,
        KEY_TRY_COUNT_MAX,
        DICTIONARY_LEN_MAX,
        DICTIONARY_COUNT_MAX,
        DICTIONARY_TRY_COUNT_MAX,
        SEARCH_CHECKED_FILE_LENS_MAX,
        IDENTITY_CANDIDATE_COUNT_MAX,
        SEAL_SAMPLE_COUNT,
        REPAIR_LOST_COUNT_MAX,
        REPAIR_NOTES_LEN_MAX,
    ];
    let specification = read("../spec/segment.md");
    let row = |line: &str| -> Option<(String, u64)> {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        Some((name, cells.next()?.replace(',', "").parse().ok()?))
    };
    let (_, limits) = specification.split_once("\n## Limits\n").expect("a section on limits");
    let (limits, _) = limits.split_once("\n## ").expect("a section behind it");
    let stated: BTreeMap<String, u64> = limits.lines().filter_map(row).collect();
    let stated: BTreeMap<&str, u64> = stated.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(stated, code);

    // None was forgotten above.
    let source = read("src/limits.rs");
    for line in source.lines() {
        let Some((name, _)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        assert!(
            code.contains_key(name) || NOT_OF_THE_FORMAT.contains(&name),
            "{name} is not in the document"
        );
    }
}

/// A limit that nobody checks is none.
#[test]
fn every_limit_is_used() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut code = String::new();
    let mut folders = vec![source];
    while let Some(folder) = folders.pop() {
        for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension() {
                None => folders.push(path),
                Some(_) if path.ends_with("limits.rs") => {}
                Some(_) => code.push_str(&std::fs::read_to_string(&path).unwrap()),
            }
        }
    }
    for line in read("src/limits.rs").lines() {
        let Some((name, _)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        let uses = code.matches(name).count();
        // Its import is the first use.
        assert!(uses >= 2, "{name} is used {uses} times");
    }
}
