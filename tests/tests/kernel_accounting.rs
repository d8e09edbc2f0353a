//! The counters add up exactly: in each row, in each segment, and with what the kernel programs counted themselves.
//! Read from the blocks, and again through SQL.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use kcap_format::{BlockType, Capture, PacketColumns};
use kcap_tests::kcap::{number, number_with_duplicates, sql};
use kcap_tests::kernel;
use kcap_tests::recorder::Recorder;
use kcap_tests::traffic::{Kind, Server, connect, flood};

/// Bytes of a datagram of a flood: small, so that packets are many.
const FLOOD_DATAGRAM_BYTES: usize = 64;
/// Datagrams of a flood.
const FLOOD_DATAGRAMS: usize = 200_000;

/// What the LOSS blocks of some segments say of one program on one processor.
#[derive(Default)]
struct Account {
    seen: u64,
    kernel_seen: u64,
    last_end_ns: u64,
    in_flight: u64,
}

/// Reads every block of a capture that ended orderly and checks what it says against what is there.
/// Gives the records that were lost.
fn check_capture(folder: &Path) -> u64 {
    let capture = Capture::open(folder).expect("a capture");
    assert!(capture.problems.is_empty(), "{:?}", capture.problems);
    let mut accounts: BTreeMap<(i32, u32), Account> = BTreeMap::new();
    let mut lost = 0;
    for segment in &capture.segments {
        let mut stored_said: BTreeMap<i32, u64> = BTreeMap::new();
        let mut stored_there: BTreeMap<i32, u64> = BTreeMap::new();
        for block in segment.blocks_of(BlockType::PACKETS) {
            let batch = segment.packets(block, PacketColumns::PROGRAM).expect("packets");
            for program in &batch.program {
                *stored_there.entry(i32::from(*program)).or_default() += 1;
            }
        }
        for block in segment.blocks_of(BlockType::EVENTS) {
            // 0 is what was read from /proc or sock_diag.
            for event in segment.events(block).expect("events").iter().filter(|event| event.program != 0) {
                *stored_there.entry(event.program.cast_signed()).or_default() += 1;
            }
        }
        for report in segment.all_losses().expect("reports") {
            let report_lost: u64 = report.lost.iter().map(|lost| lost.count).sum();
            assert_eq!(
                report.seen,
                report.filtered + report.stored + report_lost,
                "a row adds up: {report:?}"
            );
            lost += report_lost;
            *stored_said.entry(report.program).or_default() += report.stored;
            let account = accounts.entry((report.program, report.cpu)).or_default();
            account.seen += report.seen;
            if report.end_ns >= account.last_end_ns {
                account.last_end_ns = report.end_ns;
                account.kernel_seen = report.kernel_seen;
                account.in_flight = report.in_flight;
            }
        }
        stored_said.retain(|_, stored| *stored > 0);
        assert_eq!(stored_said, stored_there, "what {} says is stored in it", segment.path().display());
    }
    assert!(!accounts.is_empty(), "a recording has LOSS reports");
    for ((program, cpu), account) in &accounts {
        assert_eq!(
            account.in_flight, 0,
            "program {program} on processor {cpu} ended with records in its ring"
        );
        assert_eq!(account.seen, account.kernel_seen, "program {program} on processor {cpu}");
    }
    lost
}

/// The same sums through SQL.
fn check_tables(folder: &Path, lost: u64) {
    assert_eq!(number(folder, "SELECT count(*) FROM losses WHERE seen <> filtered + stored + lost"), 0);
    assert_eq!(number(folder, "SELECT sum(lost) FROM losses"), lost);
    let stored = "SELECT sum(stored) FROM losses WHERE program IN ('packet_ingress', 'packet_egress')";
    assert_eq!(number_with_duplicates(folder, "SELECT count(*) FROM packets"), number(folder, stored));
}

fn exchange() {
    for kind in [Kind::Tcp, Kind::TcpFork, Kind::Udp] {
        let server = Server::start(kind, Ipv4Addr::LOCALHOST.into(), 20, None);
        for _ in 0..20 {
            connect(kind, server.address, 1, 5_000, None);
        }
        server.finish();
    }
}

#[test]
fn counters_add_up_when_nothing_is_lost() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    exchange();
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let lost = check_capture(&capture);
    assert_eq!(lost, 0, "this little traffic fits the rings");
    check_tables(&capture, lost);
}

#[test]
fn counters_add_up_over_many_segments() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    // Compressed, a flood of equal datagrams would not fill a segment.
    let options = ["--segment-size", "1MiB", "--compression-level", "stored"];
    let recorder = Recorder::start(&folder.path().join("capture"), &options);
    for _ in 0..4 {
        exchange();
        flood(FLOOD_DATAGRAMS / 4, FLOOD_DATAGRAM_BYTES);
    }
    let capture = recorder.folder().to_owned();
    recorder.stop();
    assert!(number(&capture, "SELECT count(*) FROM segments") > 1, "the recording was rotated");
    let lost = check_capture(&capture);
    check_tables(&capture, lost);
}

/// While nobody empties the ring it overruns, and each loss is counted with its cause.
#[test]
fn losses_are_counted_when_the_ring_is_full() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &["--packet-buffer", "256KiB"]);
    recorder.while_stopped(|| flood(FLOOD_DATAGRAMS, FLOOD_DATAGRAM_BYTES));
    exchange();
    let capture = recorder.folder().to_owned();
    let said = recorder.stop().stderr;
    let lost = check_capture(&capture);
    // What the ring holds may be fewer: packets have heads.
    let ring_packets = (256 << 10) / FLOOD_DATAGRAM_BYTES;
    assert!(
        lost as usize >= FLOOD_DATAGRAMS - ring_packets,
        "a flood overruns a ring of 256 KiB: {lost} lost"
    );
    check_tables(&capture, lost);
    let causes = sql(&capture, "SELECT DISTINCT program FROM losses WHERE lost_ring_full > 0");
    assert!(!causes.is_empty(), "the cause is the ring");
    assert!(said.contains("ring"), "the summary names the cause: {said}");
}
