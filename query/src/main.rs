//! The `kcap` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// glibc's own keeps what was freed in an arena for each thread, and gives large buffers back to the system each time:
/// conversions took half as much memory again. Without huge pages: the kernel clears them whole for blocks that are used once.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    kcap_query::cli::main()
}
