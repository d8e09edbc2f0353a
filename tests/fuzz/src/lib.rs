//! What fuzz targets share: an allocator that ends the process when a parser takes more memory than it may, and
//! segments around bytes of the fuzzer.
//!
//! Each file of `src/bin` is a target:
//!
//! ```ignore
//! #![no_main]
//! kcap_fuzz::fuzz_target!(|data: &[u8]| my_parser(data));
//! ```

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

/// Most memory that reading any input may take.
pub const MEMORY_LEN_MAX: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting::with_limit(MEMORY_LEN_MAX);
