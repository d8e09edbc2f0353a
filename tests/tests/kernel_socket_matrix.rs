//! Sockets whose owner is hard to tell, case by case: who their packets are attributed to, and how that is known.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use kcap_format::Segment;
use kcap_format::proto::{event::Event as Kind, socket_event::Kind as SocketKind};
use kcap_tests::command::{COMMAND_TIME_MAX, Running, run, wait_until};
use kcap_tests::kcap::sql_with_duplicates;
use kcap_tests::namespace::Namespace;
use kcap_tests::owners::Expectation;
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::{binary, kernel};

/// Lets everybody make ping sockets (`ping_group_range` of icmp(7)), and becomes the program.
const WITH_PING: &str = r#"echo "0 2147483647" >/proc/sys/net/ipv4/ping_group_range && exec "$0" "$@""#;

#[test]
fn every_kind_of_socket_has_the_right_owner() {
    if !kernel::available() {
        return;
    }
    let space = Namespace::new();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let go = folder.path().join("go");
    run(Command::new("mkfifo").arg(&go)).success();
    let helper = || {
        let mut command = space.command("sh");
        command.args(["-c", WITH_PING]).arg(binary::kcap_sockets());
        command
    };
    // A fifo that is open for both: standard input neither ends nor blocks before there is a line.
    let input = std::fs::File::options().read(true).write(true).open(&go).expect("the fifo");
    let reader = input.try_clone().expect("a second descriptor");
    let mut before = Running::start_with_input(helper().arg("before"), Stdio::from(reader));
    before.wait_for_line("ready");

    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    wait_until("the older sockets to be found", || {
        is_enumerated(recorder.folder(), before.pid()).then_some(())
    });
    std::io::Write::write_all(&mut &input, b"go\n").expect("a line");
    let mut expectations = expectations(&before.wait(COMMAND_TIME_MAX).success().text());
    expectations.extend(self::expectations(&run(helper().arg("during")).success().text()));
    let capture = recorder.folder().to_owned();
    recorder.stop();

    let wrong: Vec<String> =
        expectations.iter().filter_map(|expected| check(&capture, expected).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(expectations.len() >= 25, "all cases were tried: {}", expectations.len());
}

/// Whether a recording has found sockets that a process had open before it.
fn is_enumerated(capture: &Path, owner: u32) -> bool {
    let events = segments(capture).into_iter().filter_map(|path| Segment::open(path).ok()?.all_events().ok());
    events.flatten().any(|event| match event.event {
        Some(Kind::Socket(socket)) => {
            socket.kind() == SocketKind::Enumerate && socket.owner.is_some_and(|id| id.pid == owner)
        }
        _ => false,
    })
}

fn expectations(output: &str) -> Vec<Expectation> {
    assert_eq!(output.lines().last(), Some("done"));
    let lines = output.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Prints the row of the matrix; says what is wrong with it.
fn check(capture: &Path, expected: &Expectation) -> Result<(), String> {
    let query = format!(
        "SELECT pid, attribution, count(*) AS packets FROM packets WHERE {} GROUP BY 1, 2 ORDER BY 1, 2",
        expected.filter.condition()
    );
    let rows = sql_with_duplicates(capture, &query);
    let mut reached = BTreeSet::new();
    for row in &rows {
        let attribution = row["attribution"].as_str().unwrap_or_default().to_owned();
        let pid = row["pid"].as_u64().unwrap_or(0);
        let right = expected.pid == 0 || pid == u64::from(expected.pid);
        // A connection's own owner may be named beside what the kernel made for it, and need not be.
        let kernels = attribution == "kernel" && (pid == 0 || right);
        if !expected.attributions.contains(&attribution) || !(right || kernels) {
            return Err(format!("{}: of {}, but {rows:?}", expected.case, expected.pid));
        }
        reached.insert(attribution);
    }
    println!("{:<28} {}", expected.case, reached.iter().cloned().collect::<Vec<_>>().join(", "));
    if rows.is_empty() { Err(format!("{}: no packets: {query}", expected.case)) } else { Ok(()) }
}
