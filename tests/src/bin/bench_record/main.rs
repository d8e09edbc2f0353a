//! `make bench-record`: what recording costs the programs of a host, and what comes of it, beside tcpdump.
//!
//! Each load runs with nothing recording, with `kcap-record`, and with `tcpdump`, in rounds, so that what the machine
//! does meanwhile hits all alike. Figures are ratios within a round, and medians over the rounds. Then kcap and tcpdump take
//! turns at one load. Needs root. `KCAP_BENCH_ROUNDS` and `KCAP_BENCH_SECONDS` change how many rounds and how long
//! each load runs, `KCAP_BENCH_TURNS` how many turns; 0 rounds or turns leave them out.

mod load;
mod report;
mod size;
mod turns;
mod watcher;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kcap_tests::binary;

use load::{Load, WebServer};
use report::{Report, Run};
use turns::Turns;
use watcher::Watcher;

const ROUNDS_DEFAULT: u32 = 3;
const LOAD_SECONDS_DEFAULT: u32 = 4;
const TURNS_DEFAULT: u32 = 20;

fn main() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("recording needs root: run `sudo -E env \"PATH=$PATH\" make bench-record`");
    }
    let rounds = number_from("KCAP_BENCH_ROUNDS", ROUNDS_DEFAULT)?;
    let turns = number_from("KCAP_BENCH_TURNS", TURNS_DEFAULT)?;
    let load_seconds = number_from("KCAP_BENCH_SECONDS", LOAD_SECONDS_DEFAULT)?;
    if load_seconds == 0 {
        bail!("KCAP_BENCH_SECONDS is not a number above 0");
    }
    let load_time = Duration::from_secs(load_seconds.into());
    let folder = binary::target_folder().join("bench");
    let scratch = folder.join("scratch");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;

    // Before minutes of measuring, not after.
    let _ = [binary::kcap(), binary::kcap_record()];
    let web_server = WebServer::start()?;
    let mut report = Report::new(rounds, load_time);
    for round in 0..rounds {
        for load in Load::ALL {
            for watcher in Watcher::ROUND {
                eprintln!("round {} of {rounds}: {} with {}", round + 1, load.name(), watcher.name());
                let running = watcher.start(&scratch)?;
                let throughput = load.run(load_time, &web_server)?;
                let observed = running.stop()?;
                report.add(Run { round, load, watcher, throughput, observed });
            }
        }
    }
    for load in [Load::TcpStream, Load::UdpFlood].into_iter().filter(|_| turns != 0) {
        report.add_turns(Turns::take(load, turns, &scratch)?);
    }
    for load in Load::ALL.into_iter().filter(|_| rounds != 0) {
        eprintln!("size on disk: {}", load.name());
        for watcher in [Watcher::KcapHeaders, Watcher::KcapFull] {
            report.add_size(size::compare(load, watcher, &scratch, &web_server)?);
        }
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;

    print!("{report}");
    let path = folder.join("record.json");
    fs::write(&path, report.json()?).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

fn number_from(variable: &str, default: u32) -> Result<u32> {
    let Some(value) = std::env::var_os(variable) else { return Ok(default) };
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.with_context(|| format!("{variable} is not a number"))
}
