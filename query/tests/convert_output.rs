//! `kcap convert` once wrote over whatever its last path named. With OUT forgotten behind a glob that was the newest segment
//! of the recording; with OUT the same as SOURCE it died while it read. Now it refuses, and writes beside OUT until all is written.

mod support;

use std::path::Path;
use std::process::{Command, Output};

fn convert(paths: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    command.args(["convert", "--to", "pcapng"]).args(paths).output().expect("kcap runs")
}

/// A recording of two segments, and their bytes.
fn recording() -> (tempfile::TempDir, [Vec<u8>; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    support::web_recording(folder.path());
    let bytes = [1, 2].map(|sequence| std::fs::read(segment(folder.path(), sequence)).expect("a segment"));
    (folder, bytes)
}

fn segment(folder: &Path, sequence: u32) -> std::path::PathBuf {
    folder.join(format!("{sequence:06}.kcap"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn assert_refused(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("is not written over"), "{said}");
}

#[test]
fn a_forgotten_out_overwrites_no_segment() {
    let (folder, bytes) = recording();
    let (first, second) = (segment(folder.path(), 1), segment(folder.path(), 2));
    assert_refused(&convert(&[&first, &second]));
    assert_refused(&convert(&[&first, &first]));
    assert_refused(&convert(&[folder.path(), &second]));
    assert_refused(&convert(&[folder.path(), &segment(folder.path(), 3)]));
    // Under another name it is a segment all the same.
    let renamed = folder.path().join("second.pcapng");
    std::fs::rename(&second, &renamed).expect("a rename");
    assert_refused(&convert(&[&first, &renamed]));
    std::fs::rename(&renamed, &second).expect("a rename");
    for (sequence, bytes) in (1..).zip(&bytes) {
        assert_eq!(std::fs::read(segment(folder.path(), sequence)).expect("a segment"), *bytes);
    }
    assert_eq!(names(folder.path()), ["000001.kcap", "000002.kcap"]);
}

#[test]
fn out_is_written_whole_or_left_as_it_was() {
    let (folder, _) = recording();
    let out = folder.path().join("capture.pcapng");
    std::fs::write(&out, "an older export").expect("a file");
    let output = convert(&[folder.path(), &out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(&out).expect("a file")[..4], [0x0A, 0x0D, 0x0D, 0x0A]);
    assert_eq!(names(folder.path()), ["000001.kcap", "000002.kcap", "capture.pcapng"]);
}

/// The message once said the cause twice and the file not at all.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_once_with_the_name_of_the_file() {
    let (folder, _) = recording();
    let output = convert(&[folder.path(), Path::new("/dev/full")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "kcap: cannot write /dev/full: No space left on device (os error 28)\n");
}
