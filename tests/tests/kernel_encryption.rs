//! `--encrypt-to`: what was recorded can't be read where it was recorded, and is all there for the recipient.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use kcap_format::{Identities, PacketColumns, ReadMode, ReadOptions, Segment};
use kcap_tests::command::run;
use kcap_tests::kcap::kcap;
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};

/// A pair of keys that nothing else is encrypted to, and the secret one of another.
const RECIPIENT: &str = "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v";
const IDENTITY: &str = "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P";
const OTHER_IDENTITY: &str = "AGE-SECRET-KEY-1295GEAM0UFRRWXM9H4ALMVPNVANE2HQR28G6403DN03QRVZPAUHQDHZ38C";

/// What nobody else sends, and what no other process is called with.
const PAYLOAD: &[u8] = b"a payload that only this test sends: 7f3b1c94";
const ARGUMENT: &str = "an-argument-that-only-this-test-gives-5d20e8";
const DATAGRAMS: usize = 300;

/// Records known datagrams and a known process.
fn record(folder: &Path, options: &[&str]) {
    // Uncompressed, so that bytes are found in the file as they were sent, if they are not encrypted.
    let stored = ["--compression-level", "stored"];
    let recorder = Recorder::start(folder, &[&stored, options].concat());
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut buffer = [0; 100];
    for _ in 0..DATAGRAMS {
        sender.send_to(PAYLOAD, receiver.local_addr().expect("an address")).expect("a datagram is sent");
        let len = receiver.recv(&mut buffer).expect("a datagram arrives");
        assert_eq!(&buffer[..len], PAYLOAD);
    }
    run(Command::new("true").arg(ARGUMENT)).success();
    recorder.stop();
}

/// How often bytes are in the files of a recording.
fn found(folder: &Path, bytes: &[u8]) -> usize {
    let count = |path| {
        let file = std::fs::read(path).expect("a segment");
        file.windows(bytes.len()).filter(|window| window == &bytes).count()
    };
    segments(folder).into_iter().map(count).sum()
}

#[test]
fn only_the_recipient_reads_what_was_recorded() {
    if !kernel::available() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let [plain, secret] = ["plain", "secret"].map(|name| scratch.path().join(name));
    record(&plain, &[]);
    assert!(found(&plain, PAYLOAD) >= DATAGRAMS && found(&plain, ARGUMENT.as_bytes()) >= 1);
    record(&secret, &["--encrypt-to", RECIPIENT]);
    assert_eq!((found(&secret, PAYLOAD), found(&secret, ARGUMENT.as_bytes())), (0, 0));

    let identities = Identities::parse("key.txt", IDENTITY).expect("an identity");
    let options = ReadOptions::with_mode(ReadMode::Strict).with_identities(identities);
    let mut payloads = 0;
    let mut processes = 0;
    for path in segments(&secret) {
        let segment = Segment::open_with(path, &options).expect("a segment");
        for block in segment.blocks_of(kcap_format::BlockType::PACKETS) {
            let packets = segment.packets(block, PacketColumns::ALL).expect("packets");
            payloads += (0..packets.len).filter(|&row| packets.payload.get(row) == Some(PAYLOAD)).count();
        }
        for event in segment.all_events().expect("events") {
            processes += usize::from(format!("{event:?}").contains(&format!("{:?}", ARGUMENT.as_bytes())));
        }
    }
    // The arriving copies may be stored without their payloads.
    assert!((DATAGRAMS..=2 * DATAGRAMS).contains(&payloads), "{payloads} payloads");
    assert!(processes >= 1, "the process is in no event");

    let [key, other] = [("key.txt", IDENTITY), ("other.txt", OTHER_IDENTITY)].map(|(name, secret)| {
        let path = scratch.path().join(name);
        std::fs::write(&path, secret).expect("a file");
        path
    });
    let ask = |identity: Option<&Path>| {
        let query = format!(
            "SELECT count(*) AS n FROM packets WHERE payload_text(payload) = '{}'",
            String::from_utf8_lossy(PAYLOAD)
        );
        let mut arguments = vec!["sql".into(), secret.clone().into_os_string(), "--format".into()];
        arguments.extend(["csv".into(), "-c".into(), query.into()]);
        arguments.extend(identity.into_iter().flat_map(|path| ["--identity".into(), path.into()]));
        kcap(arguments)
    };
    assert_eq!(ask(Some(&key)).success().text(), format!("n\n{DATAGRAMS}\n"));
    for (identity, said) in [
        (None, "encrypted; give --identity FILE"),
        (Some(&*other), "encrypted, and for other recipients than the identity given"),
    ] {
        let refused = ask(identity);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.text());
        let [line] = &refused.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", refused.stderr) };
        assert!(line.contains(said), "{line}");
    }
    // Whoever keeps the recording can check and count it.
    kcap(["verify".as_ref(), secret.as_os_str()]).success();
    kcap(["info".as_ref(), secret.as_os_str()]).success();
}
