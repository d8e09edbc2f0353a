//! The `kcap` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    kcap_query::cli::main()
}
