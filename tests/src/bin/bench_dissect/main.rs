//! `make bench-dissect`: how fast kcap gives the transactions of a capture, beside tshark.
//!
//! Both print a line for each request of a protocol with its main fields, into nothing, from the same file, one after the other
//! in rounds, so that what the machine does meanwhile hits both alike. Figures are medians over the rounds. Captures are made of
//! those in `testdata/`, repeated with other addresses; the blend is of real captures where the collection is there.
//! `KCAP_BENCH_ROUNDS` and `KCAP_BENCH_MEGABYTES` change how many rounds, and how long the captures are.

mod capture;
mod contest;

use std::fs;

use anyhow::{Context, Result};
use kcap_tests::binary;
use serde_json::json;

use contest::{Contest, Figures};

const ROUNDS_DEFAULT: u32 = 3;
const MEGABYTES_DEFAULT: u32 = 32;
/// The blend is so many times as long as the others.
const BLEND_FACTOR: u32 = 2;

fn main() -> Result<()> {
    let rounds = number_from("KCAP_BENCH_ROUNDS", ROUNDS_DEFAULT)?;
    let megabytes = number_from("KCAP_BENCH_MEGABYTES", MEGABYTES_DEFAULT)?;
    let folder = binary::target_folder().join("bench");
    let scratch = folder.join("dissect");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let mut contests = Vec::new();
    for own in contest::PROTOCOLS {
        let path = scratch.join(format!("{}.pcap", own.name));
        capture::repeat(&[own.capture], &path, megabytes)?;
        contests.push(Contest::of_protocol(own, path)?);
    }
    let (path, blend) = capture::blend(&scratch, megabytes * BLEND_FACTOR)?;
    contests.push(Contest::of_all(path)?);

    println!(
        "{:12} {:>8} {:>12} {:>14} {:>12} {:>14} {:>7}",
        "", "requests", "kcap MB/s", "kcap trans./s", "tshark MB/s", "tshark CPU s", "faster"
    );
    let mut rows = Vec::new();
    let (mut kcap_seconds, mut tshark_seconds) = (0.0, 0.0);
    for contest in &contests {
        let figures = contest.run(rounds)?;
        print_row(contest, &figures);
        kcap_seconds += figures.kcap.wall_seconds;
        tshark_seconds += figures.tshark.wall_seconds;
        rows.push(json!({
            "name": contest.name, "bytes": contest.bytes, "transactions": figures.kcap_lines, "tshark_lines": figures.tshark_lines,
            "kcap_wall_seconds": figures.kcap.wall_seconds, "kcap_cpu_seconds": figures.kcap.cpu_seconds,
            "tshark_wall_seconds": figures.tshark.wall_seconds, "tshark_cpu_seconds": figures.tshark.cpu_seconds,
            "faster": figures.tshark.wall_seconds / figures.kcap.wall_seconds,
        }));
    }
    let faster = tshark_seconds / kcap_seconds;
    println!("\nin all {faster:.1} times as fast as tshark; the blend is {blend}");
    let document =
        json!({ "rounds": rounds, "megabytes": megabytes, "blend": blend, "faster": faster, "rows": rows });
    let path = folder.join("dissect.json");
    fs::write(&path, serde_json::to_string_pretty(&document)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

fn print_row(contest: &Contest, figures: &Figures) {
    let megabytes = contest.bytes as f64 / 1e6;
    let (kcap, tshark) = (&figures.kcap, &figures.tshark);
    println!(
        "{:12} {:>8} {:>12.1} {:>14.0} {:>12.1} {:>14.2} {:>6.1}x",
        contest.name,
        figures.kcap_lines,
        megabytes / kcap.wall_seconds,
        figures.kcap_lines as f64 / kcap.wall_seconds,
        megabytes / tshark.wall_seconds,
        tshark.cpu_seconds,
        tshark.wall_seconds / kcap.wall_seconds,
    );
}

fn number_from(variable: &str, default: u32) -> Result<u32> {
    let Some(value) = std::env::var_os(variable) else { return Ok(default) };
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.with_context(|| format!("{variable} is not a number above 0"))
}
