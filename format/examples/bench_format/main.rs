//! `make bench-format`: how fast segments are written and read, and how small they get, beside zstd on the same bytes and
//! beside a plain copy.
//!
//! ```text
//! cargo run --release -p kcap-format --example bench_format [FILE.pcap[.zst]]
//! ```
//!
//! All on one thread and in a file that the page cache holds, so that neither the number of processors nor the disk is
//! measured. MB/s are those of the capture's bytes in every row: what is compared is the time that the same packets take.

mod capture;
mod measure;
mod report;

use anyhow::Result;

use capture::Capture;
use report::Report;

fn main() -> Result<()> {
    let capture = match std::env::args_os().nth(1) {
        Some(path) => Capture::read(path.as_ref())?,
        None => Capture::of_this_host()?,
    };
    let batches = capture.batches();
    let mut report = Report::new(&capture, &batches);
    println!("{}", report.measured_on());
    let folder = tempfile::tempdir()?;
    measure::all(&capture, &batches, folder.path(), &mut report)?;
    print!("{}", report.text());
    let path = report.write()?;
    println!("{}", path.display());
    Ok(())
}
