//! What fuzz targets share: an allocator that ends the process when a parser takes more memory than it may, and
//! segments around bytes of the fuzzer.
//!
//! Each file of `src/bin` is a target:
//!
//! ```ignore
//! #![no_main]
//! kcap_fuzz::fuzz_target!(|data: &[u8]| my_parser(data));
//! ```

use std::sync::OnceLock;

use kcap_dissect::protocol::Protocols;

#[path = "../../../format/tests/common/allocator.rs"]
mod allocator;
pub mod datagram;
pub mod segment;
pub mod stream;

/// What a target is made with.
#[macro_export]
macro_rules! fuzz_target {
    ($($body:tt)*) => {
        $crate::libfuzzer_sys::fuzz_target!($($body)*);
    };
}
pub use libfuzzer_sys;

/// The protocols with a target's options, which are the same in all its runs: reading them takes longer than most runs.
fn protocols(options: &'static str) -> &'static Protocols {
    static PROTOCOLS: OnceLock<(&str, Protocols)> = OnceLock::new();
    let (of, protocols) = PROTOCOLS.get_or_init(|| {
        let read = Protocols::read(options.parse().expect("options are TOML")).expect("options exist");
        (options, read)
    });
    assert_eq!(*of, options, "a target has one set of options");
    protocols
}

/// Most memory that reading any input may take.
pub const MEMORY_LEN_MAX: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting::with_limit(MEMORY_LEN_MAX);
