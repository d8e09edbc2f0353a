//! The `kcap` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// glibc's own keeps what was freed in an arena for each thread, and gives large buffers back to the system each time:
/// conversions took half as much memory again.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    kcap_query::cli::main()
}
