//! `kcap report` in a browser: what the page shows, that it can be sorted and searched, and that it can be read in light and
//! dark. Needs no privileges; without Chromium only the file itself is looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
