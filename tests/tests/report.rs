//! `kcap report` in a browser: what the page shows, that it can be sorted and searched, and that it can be read in light and
//! dark. Needs no privileges; without Chromium only the file itself is looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kcap_format::{
    BlockEncoder, Direction, Effort, FileStorage, PacketBatch, PacketRow, SegmentWriter, proto,
};
use kcap_tests::binary;
use kcap_tests::command::run;
use kcap_tests::kcap::{kcap, number};

/// What the browser does on the page when it is loaded; it leaves what it saw in attributes of the body.
const VISIT: &str = r##"<script>
const seen = {};
const rows = () => [...document.querySelectorAll("#flows tbody tr")];
const column = (place) => rows().map((row) => row.children[place].textContent);
seen.flows = rows().length;
seen.bars = document.querySelectorAll("#processes rect").length;
seen.legend = document.querySelector("#processes .legend").textContent;
const marks = (id) => [...document.querySelectorAll(`#${id} rect.loss`)];
seen.marks = marks("processes").length;
seen.protocolmarks = marks("protocols").length;
for (const mark of marks("processes")) {
  seen.markfrom = Math.round(mark.getAttribute("x"));
  seen.markwidth = Math.round(mark.getAttribute("width"));
  seen.marktitle = mark.querySelector("title").textContent;
  seen.markcolor = getComputedStyle(mark).fill;
}
seen.summary = document.getElementById("summary").textContent;
const packets = [...document.querySelectorAll("#flows th button")].find((button) => button.textContent === "Packets");
const place = [...packets.closest("tr").children].indexOf(packets.parentElement);
packets.click();
const numbers = column(place).map(Number);
seen.sorted = numbers.every((number, index) => index === 0 || numbers[index - 1] >= number);
packets.click();
seen.reversed = column(place).map(Number)[0] === Math.min(...numbers);
const search = document.getElementById("search");
search.value = "nginx";
search.dispatchEvent(new Event("input"));
seen.found = rows().length;
seen.allmatch = rows().every((row) => row.textContent.includes("nginx"));
search.value = "nothing has this name";
search.dispatchEvent(new Event("input"));
seen.none = rows().length;
const channels = (color) => color.match(/[0-9.]+/g).slice(0, 3).map((value) => value / 255)
  .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const light = (color) => { const [r, g, b] = channels(color); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const style = getComputedStyle(document.body);
const [text, page] = [light(style.color), light(style.backgroundColor)];
seen.contrast = (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
seen.dark = page < 0.5;
for (const [name, value] of Object.entries(seen)) document.body.dataset[name] = String(value);
</script>"##;

fn demo() -> PathBuf {
    binary::repository().join("testdata/demo.kcap")
}

/// Writes the page of the demo.
fn page(folder: &Path) -> String {
    let path = folder.join("report.html");
    kcap(["report".as_ref(), demo().as_os_str(), "-o".as_ref(), path.as_os_str()]).success();
    fs::read_to_string(path).expect("the page is there")
}

/// The page after the visit, as the browser has it; `None` without a browser.
fn visited(folder: &Path, page: &str, options: &[&str]) -> Option<String> {
    if Command::new("chromium").arg("--version").output().is_err() {
        println!("skipped: chromium is not installed");
        return None;
    }
    let path = folder.join("visited.html");
    fs::write(&path, page.replace("</body>", &format!("{VISIT}</body>"))).expect("the page can be written");
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let address = format!("file://{}", path.display());
    let finished = run(Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--dump-dom",
            &profile,
        ])
        .args(options)
        .arg(&address));
    Some(finished.success().text())
}

#[track_caller]
fn seen<'a>(dom: &'a str, name: &str) -> &'a str {
    let begin = format!("data-{name}=\"");
    let (_, rest) = dom.split_once(&begin).unwrap_or_else(|| panic!("the script did not come to {name}"));
    rest.split_once('"').expect("attributes end").0
}

#[test]
fn the_page_asks_nothing_of_a_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(folder.path());
    for sign in ["src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(sign), "{sign}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("curl") && page.contains("dnsmasq"));
}

#[test]
fn in_a_browser() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(folder.path());
    let Some(dom) = visited(folder.path(), &page, &[]) else { return };
    let flows = number(&demo(), "SELECT count(*) FROM flows");
    assert_eq!(seen(&dom, "flows"), flows.min(500).to_string());
    assert_ne!(seen(&dom, "bars"), "0");
    assert!(seen(&dom, "legend").contains("nginx"));
    assert_eq!((seen(&dom, "sorted"), seen(&dom, "reversed")), ("true", "true"));
    let of_nginx =
        "SELECT count(*) FROM flows WHERE server_process_name = 'nginx' OR client_process_name = 'nginx'";
    assert_eq!(seen(&dom, "found"), number(&demo(), of_nginx).min(500).to_string());
    assert_eq!((seen(&dom, "allmatch"), seen(&dom, "none")), ("true", "0"));
    // WCAG 2.2, success criterion 1.4.6, asks for 7.
    let contrast: f64 = seen(&dom, "contrast").parse().expect("a number");
    assert!(contrast >= 7.0, "{contrast}");
    let is_dark = seen(&dom, "dark") == "true";
    let other = if is_dark { "preferredColorScheme=1" } else { "preferredColorScheme=0" };
    let dom =
        visited(folder.path(), &page, &[&format!("--blink-settings={other}")]).expect("the browser is there");
    assert_ne!(seen(&dom, "dark"), is_dark.to_string(), "both schemes are there");
    let contrast: f64 = seen(&dom, "contrast").parse().expect("a number");
    assert!(contrast >= 7.0, "{contrast}");
}

/// `LINKTYPE_RAW`.
const RAW_IP: u16 = 101;
const SECOND_NS: u64 = 1_000_000_000;
/// 2026-01-01T00:00:00Z
const BOOT_REALTIME_NS: u64 = 1_767_225_600_000_000_000;

/// Writes a recording of ten seconds, in the fifth of which packets were lost.
fn lossy(path: &Path) {
    let clock = |boot_ns| proto::ClockSample {
        boot_before_ns: boot_ns,
        boot_after_ns: boot_ns,
        monotonic_ns: boot_ns,
        realtime_ns: BOOT_REALTIME_NS + boot_ns,
        tai_ns: 0,
    };
    let file = proto::FileInfo {
        capture_id: vec![9; 16],
        segment_sequence: 1,
        host: Some(proto::Host { boot_id: vec![1; 16], ..proto::Host::default() }),
        clock: Some(clock(SECOND_NS)),
        ..proto::FileInfo::default()
    };
    let storage = FileStorage::create(path).expect("the folder can be written");
    let mut writer = SegmentWriter::create(storage, &file).expect("a segment");
    let mut encoder = BlockEncoder::new();
    let mut batch = PacketBatch::default();
    // IPv4 and UDP headers, from 10.0.0.1:1000 to 10.0.0.2:53.
    let header = [
        [0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0].as_slice(),
        &[0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0, 53, 0, 8, 0, 0],
    ]
    .concat();
    for second in [1, 11] {
        let row = PacketRow {
            time_ns: second * SECOND_NS,
            wire_len: 28,
            link_type: RAW_IP,
            direction: Direction::Egress,
            program: proto::LossProgram::PacketEgress as u8,
            ..PacketRow::default()
        };
        batch.push(&row, &header, &[]);
    }
    writer.append(&encoder.packets(&batch, Effort::default())).expect("packets");
    let report = |begin_ns: u64, end_ns: u64, stored: u64, lost: u64| proto::LossReport {
        begin_ns,
        end_ns,
        program: proto::LossProgram::PacketEgress.into(),
        seen: stored + lost,
        stored,
        lost: vec![proto::Lost { cause: proto::LossCause::RingFull.into(), count: lost }],
        ..proto::LossReport::default()
    };
    let reports = [
        report(SECOND_NS, 5 * SECOND_NS, 1, 0),
        report(5 * SECOND_NS, 6 * SECOND_NS, 0, 7),
        report(6 * SECOND_NS, 11 * SECOND_NS, 1, 0),
    ];
    writer.append(&encoder.losses(&reports)).expect("losses");
    writer.seal().expect("a seal");
}

#[test]
fn losses_are_marked_where_they_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, page) = (folder.path().join("lossy.kcap"), folder.path().join("lossy.html"));
    lossy(&capture);
    kcap(["report".as_ref(), capture.as_os_str(), "-o".as_ref(), page.as_os_str()]).success();
    let page = fs::read_to_string(page).expect("the page is there");
    let Some(dom) = visited(folder.path(), &page, &[]) else { return };
    assert_eq!((seen(&dom, "marks"), seen(&dom, "protocolmarks")), ("1", "1"), "in both charts");
    // The axis goes from 70 to 1000: the mark begins at four tenths of it and takes one.
    assert_eq!((seen(&dom, "markfrom"), seen(&dom, "markwidth")), ("442", "93"));
    assert_eq!(seen(&dom, "marktitle"), "7 events lost (packet_egress) from 2026-01-01 00:00:05.000");
    assert!(seen(&dom, "legend").ends_with("events lost"));
    assert!(seen(&dom, "summary").ends_with("; 7 events were lost while recording"));
    assert_ne!(seen(&dom, "markcolor"), "none");
}

#[test]
fn nothing_is_marked_where_nothing_was_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(folder.path());
    assert_eq!(number(&demo(), "SELECT count(*) FROM losses WHERE lost > 0"), 0, "the demo lost nothing");
    let Some(dom) = visited(folder.path(), &page, &[]) else { return };
    assert_eq!((seen(&dom, "marks"), seen(&dom, "protocolmarks")), ("0", "0"));
}
