//! Encrypted recordings: every command reads them with `--identity`, and says in one line what is missing without.

mod support;

use std::path::Path;
use std::process::{Command, Output};

const RECIPIENT: &str = "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v";
const IDENTITY: &str = "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P";
const OTHER_IDENTITY: &str = "AGE-SECRET-KEY-1295GEAM0UFRRWXM9H4ALMVPNVANE2HQR28G6403DN03QRVZPAUHQDHZ38C";
const COUNT: &str =
    "SELECT process_name, count(*) AS n, sum(len) AS bytes FROM packets GROUP BY 1 ORDER BY 1";

fn kcap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in text")
}

#[test]
fn with_the_identity_answers_are_those_of_a_plain_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (plain, secret, key) = (path("plain"), path("secret"), path("key.txt"));
    for recording in [&plain, &secret] {
        std::fs::create_dir(recording).expect("a folder");
    }
    support::web_recording(&plain);
    support::encrypted_web_recording(&secret, vec![RECIPIENT.parse().expect("a recipient")]);
    std::fs::write(&key, format!("# created by age-keygen\n{IDENTITY}\n")).expect("a file");

    let asked = ["sql", "--format", "csv", "-c", COUNT];
    let expected = kcap(&[&asked[..], &[text(&plain)]].concat());
    assert!(expected.status.success() && !expected.stdout.is_empty(), "{}", said(&expected));
    let answer = kcap(&[&asked[..], &[text(&secret), "--identity", text(&key)]].concat());
    assert!(answer.status.success(), "{}", said(&answer));
    assert_eq!(answer.stdout, expected.stdout);

    let verified = kcap(&["verify", text(&secret), "--identity", text(&key)]);
    assert!(verified.status.success(), "{}", said(&verified));
    let lines = String::from_utf8(verified.stdout).expect("text");
    assert!(lines.lines().all(|line| line.ends_with(", encrypted and decrypted")), "{lines}");

    let convert = |source: &Path, identity: &[&str]| {
        kcap(&[&["convert", "--to", "pcap", text(source), "-"][..], identity].concat())
    };
    let converted = convert(&secret, &["--identity", text(&key)]);
    assert!(converted.status.success(), "{}", said(&converted));
    assert_eq!(converted.stdout, convert(&plain, &[]).stdout);
}

#[test]
fn without_a_fitting_identity_structure_and_losses_are_told_and_records_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::create_dir(&secret).expect("a folder");
    support::encrypted_web_recording(&secret, vec![RECIPIENT.parse().expect("a recipient")]);
    let other = folder.path().join("other.txt");
    std::fs::write(&other, OTHER_IDENTITY).expect("a file");

    for arguments in [vec!["info", text(&secret)], vec!["verify", text(&secret)]] {
        let output = kcap(&arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        assert!(said(&output).is_empty(), "{}", said(&output));
    }
    // The bytes are in order; to look into them was asked for, and could not be done.
    let verified = kcap(&["verify", text(&secret), "--identity", text(&other)]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stdout).contains(": clean, "));
    assert!(said(&verified).contains("for other recipients than the identity given"), "{}", said(&verified));
    assert_eq!(said(&verified).lines().count(), 1, "{}", said(&verified));

    let losses = kcap(&["sql", text(&secret), "-c", "SELECT sum(seen) FROM losses"]);
    assert!(losses.status.success(), "{}", said(&losses));

    let pcapng = folder.path().join("out.pcapng");
    for (identity, advice) in [
        (vec![], "encrypted; give --identity FILE"),
        (vec!["--identity", text(&other)], "encrypted, and for other recipients than the identity given"),
    ] {
        for command in [
            vec!["sql", text(&secret), "-c", COUNT],
            vec!["sql", text(&secret), "-c", "SELECT * FROM processes"],
            vec!["convert", "--to", "pcapng", text(&secret), text(&pcapng)],
        ] {
            let output = kcap(&[&command[..], &identity].concat());
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
            assert!(said.contains(advice) && said.lines().count() == 1, "{command:?}: {said}");
        }
    }
    let missing = kcap(&["sql", text(&secret), "-c", COUNT, "--identity", "no/such/file"]);
    assert!(said(&missing).starts_with("kcap: no/such/file: "), "{}", said(&missing));
    let wrong = kcap(&["sql", text(&secret), "-c", COUNT, "--identity", text(&secret.join("000001.kcap"))]);
    assert!(said(&wrong).contains("identity file") && said(&wrong).lines().count() == 1, "{}", said(&wrong));
}
