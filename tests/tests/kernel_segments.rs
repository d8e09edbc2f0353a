//! The life of segments: rotation and retention, an orderly end, a sudden end, and reading while they are written.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use kcap_tests::command::wait_until;
use kcap_tests::kcap::{kcap, number, sql};
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::small_disk::SmallDisk;
use kcap_tests::traffic::{Kind, Server, connect, flood};
use nix::sys::signal::Signal;

/// Connects once over loopback, and gives the server's port.
fn exchange() -> u16 {
    let server = Server::start(Kind::Tcp, Ipv4Addr::LOCALHOST.into(), 1, None);
    let port = server.address.port();
    connect(Kind::Tcp, server.address, 1, 10_000, None);
    server.finish();
    port
}

fn packets_of(source: &Path, port: u16) -> u64 {
    number(source, &format!("SELECT count(*) FROM packets WHERE src_port = {port} OR dst_port = {port}"))
}

fn states(source: &Path) -> Vec<String> {
    let rows = sql(source, "SELECT state FROM segments ORDER BY capture_id, segment");
    rows.iter().map(|row| row["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn segments_are_rotated_and_the_oldest_is_removed() {
    if !kernel::available() {
        return;
    }
    const DISK_MAX: u64 = 16 << 20;
    let folder = tempfile::tempdir().expect("a scratch folder");
    // A machine that is busy with other things, too, may step down: headers are enough here.
    let options = [
        ["--segment-size", "1MiB"],
        ["--max-disk", "16MiB"],
        ["--compression-level", "stored"],
        ["--degrade-to", "headers"],
    ];
    let options = options.concat();
    let recorder = Recorder::start(&folder.path().join("capture"), &options);
    let first = segments(recorder.folder()).remove(0);
    wait_until("the first segment's removal", || {
        flood(20_000, 1_000);
        (!first.exists()).then_some(())
    });
    let port = exchange();
    let capture = recorder.folder().to_owned();
    recorder.stop();

    let left = segments(&capture);
    let bytes: u64 = left.iter().map(|path| fs::metadata(path).expect("a segment").len()).sum();
    assert!(bytes <= DISK_MAX, "{bytes} bytes are left of {DISK_MAX}");
    assert!(left.len() > 1, "several segments are left: {left:?}");
    assert!(states(&capture).iter().all(|state| state == "sealed"), "{:?}", states(&capture));
    assert!(packets_of(&capture, port) > 0, "the newest packets are kept");
    // Each segment tells by itself which processes were there: this one, which is older than the recorder, too.
    for segment in &left {
        let this =
            number(segment, &format!("SELECT count(*) FROM processes WHERE pid = {}", std::process::id()));
        assert_eq!(this, 1, "{} knows this process", segment.display());
    }
}

#[test]
fn signals_end_a_recording_in_order() {
    if !kernel::available() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let recorder = Recorder::start(&folder.path().join("capture"), &[]);
        let port = exchange();
        let capture = recorder.folder().to_owned();
        let finished = recorder.end(signal).success();
        assert_eq!(states(&capture), ["sealed"], "after {signal}");
        assert!(packets_of(&capture, port) > 0);
        assert!(finished.stderr.contains("lost"), "the summary tells of losses: {}", finished.stderr);
        assert!(finished.stdout.is_empty(), "nothing on standard output: {}", finished.text());
        assert!(!finished.stderr.contains('\r'), "no progress line in a pipe: {}", finished.stderr);
    }
}

#[test]
fn a_recording_is_read_while_it_is_written_and_after_a_kill() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    let capture = recorder.folder().to_owned();
    let first = exchange();
    let first_packets =
        wait_until("the first packets", || Some(packets_of(&capture, first)).filter(|count| *count > 0));
    let second = exchange();
    wait_until("the second packets", || (packets_of(&capture, second) > 0).then_some(()));
    assert!(packets_of(&capture, first) >= first_packets);

    let killed = recorder.end(Signal::SIGKILL);
    assert!(!killed.status.success());
    assert_ne!(states(&capture), ["sealed"]);
    assert!(packets_of(&capture, first) >= first_packets, "what was readable stays readable");
    assert!(packets_of(&capture, second) > 0);

    // Another recording goes into the same folder, beside the one that was cut off.
    let recorder = Recorder::start(&capture, &[]);
    wait_until("a second segment", || (segments(&capture).len() == 2).then_some(()));
    recorder.stop();
    assert!(packets_of(&capture, first) >= first_packets);
}

#[test]
fn a_segment_cut_short_is_read_up_to_the_cut() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    let capture = recorder.folder().to_owned();
    let port = exchange();
    wait_until("the packets", || (packets_of(&capture, port) > 0).then_some(()));
    recorder.stop();
    let whole = segments(&capture).remove(0);
    let bytes = fs::read(&whole).expect("the segment");
    let short = folder.path().join("short.kcap");
    fs::write(&short, &bytes[..bytes.len() - 10]).expect("a shorter copy");
    let finished =
        kcap(["sql".as_ref(), short.as_os_str(), "-c".as_ref(), "SELECT count(*) FROM packets".as_ref()]);
    let finished = finished.success();
    assert!(finished.stderr.contains("short.kcap"), "it says what is missing where: {:?}", finished.stderr);
    assert_eq!(packets_of(&short, port), packets_of(&whole, port), "only the seal was cut");
}

/// CAP_BPF of include/uapi/linux/capability.h, with which the counters are read: all that a recorder keeps.
const CAP_BPF_MASK: u64 = 1 << 39;

/// `/proc/PID/task/*/status`
fn thread_statuses(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok()).collect()
}

fn status_field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of status").trim()
}

#[test]
fn files_are_for_their_owner_only_and_privileges_are_dropped() {
    use std::os::unix::fs::MetadataExt;
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    // Threads that looked into other namespaces while it started may live a little longer.
    wait_until("every thread to give up its privileges", || {
        let statuses = thread_statuses(recorder.pid());
        let is_confined = |status: &String| {
            let no_new_privileges = status_field(status, "NoNewPrivs:") == "1";
            let capabilities = u64::from_str_radix(status_field(status, "CapEff:"), 16).expect("a mask");
            no_new_privileges && capabilities & !CAP_BPF_MASK == 0
        };
        (!statuses.is_empty() && statuses.iter().all(is_confined)).then_some(())
    });
    let capture = recorder.folder().to_owned();
    recorder.stop();
    assert_eq!(fs::metadata(&capture).expect("the folder").mode() & 0o777, 0o700);
    for segment in segments(&capture) {
        assert_eq!(fs::metadata(segment).expect("a segment").mode() & 0o777, 0o600);
    }
}

#[test]
fn a_full_disk_is_survived_and_counted() {
    if !kernel::available() {
        return;
    }
    // Little room at first. Then enough for what still waits to be written, and for all that other tests send.
    let disk = SmallDisk::tmpfs(128 << 20);
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 127 << 20]).expect("room for it");
    let recorder = Recorder::start(&disk.path().join("capture"), &["--compression-level", "stored"]);
    let capture = recorder.folder().to_owned();
    let before = exchange();
    wait_until("the first packets", || (packets_of(&capture, before) > 0).then_some(()));
    for _ in 0..4 {
        flood(2_000, 1_000);
    }
    fs::remove_file(filler).expect("room again");
    let after = wait_until("packets after there is room again", || {
        let port = exchange();
        std::thread::sleep(std::time::Duration::from_secs(2));
        (packets_of(&capture, port) > 0).then_some(port)
    });
    let finished = recorder.end(Signal::SIGINT);
    assert!(finished.stderr.contains("disk was full"), "the summary says so: {}", finished.stderr);
    assert!(packets_of(&capture, before) > 0, "nothing recorded before is lost");
    assert!(packets_of(&capture, after) > 0, "recording goes on when there is room");
    assert!(
        number(&capture, "SELECT sum(lost_disk_full) FROM losses") > 0,
        "what was not written is counted"
    );
}
