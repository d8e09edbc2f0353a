//! `kcap-record`: records what the kernel of this host sees.

use std::process::ExitCode;

fn main() -> ExitCode {
    kcap_recorder::cli::main()
}
