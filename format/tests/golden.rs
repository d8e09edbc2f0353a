//! Segments that were written once are read the same for ever. `testdata/segments/` has a folder for each version of the
//! format, and in it the expected reading beside each segment.

#[path = "common/dump.rs"]
mod dump;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kcap_format::{FileState, Identities, VerifyOptions, repair, verify};
use serde_json::Value;

fn golden() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/segments");
    let versions = root.read_dir().expect("testdata/segments").map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = versions
        .filter(|path| path.is_dir())
        .flat_map(|version| {
            version.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "kcap"))
        .collect();
    files.sort();
    assert!(files.len() >= 25, "{} golden segments", files.len());
    files
}

fn expected(path: &Path) -> Value {
    let text = std::fs::read_to_string(path.with_extension("json")).expect("a reading beside each segment");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn every_golden_segment_is_read_as_it_always_was() {
    for path in golden() {
        let read = dump::dump(&std::fs::read(&path).unwrap(), &Identities::default());
        let expected = expected(&path);
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&read[name], value, "{}: {name}", path.display());
        }
    }
}

#[test]
fn a_recipient_reads_the_encrypted_segment_as_it_always_was() {
    for path in golden().iter().filter(|path| path.ends_with("encrypted.kcap")) {
        let identities = Identities::read(path.with_file_name("identity.txt")).unwrap();
        let read = dump::dump(&std::fs::read(path).unwrap(), &identities);
        let expected = expected(&path.with_file_name("decrypted.kcap"));
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&read[name], value, "{}: {name}", path.display());
        }
        assert!(
            read["blocks"].as_array().unwrap().iter().any(|block| block["packets"]["time_ns"].is_array())
        );
    }
}

#[test]
fn verify_finds_every_class_of_damage_and_nothing_else() {
    let mut states = BTreeSet::new();
    for path in golden() {
        let report = verify(&[&path], &VerifyOptions::default()).unwrap();
        let expected = expected(&path);
        let is_whole =
            |block: &Value| ["packets", "messages", "whole"].iter().any(|name| !block[name].is_null());
        let all_whole = expected["blocks"].as_array().unwrap().iter().all(is_whole);
        let state = report.files[0].state;
        let fits = match expected["state"].as_str().unwrap() {
            // Without the key it is checked, not read.
            "sealed" if all_whole || path.ends_with("encrypted.kcap") => state == FileState::Clean,
            "sealed" => state == FileState::Corrupt,
            opened if all_whole => state.name() == opened,
            _ => matches!(state, FileState::Torn | FileState::Corrupt),
        };
        assert!(fits, "{}: {report:?}", path.display());
        states.insert(state.name());
    }
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["clean", "corrupt", "torn", "unsealed"]);
}

#[test]
fn every_golden_segment_can_be_repaired() {
    for path in golden() {
        let folder = tempfile::tempdir().unwrap();
        let report = repair(&path, &folder.path().join("repaired.kcap"), &|_| {}).unwrap();
        assert!(report.result.is_clean(), "{}: {report:?}", path.display());
    }
}
