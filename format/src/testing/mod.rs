//! Disks that fail and hosts that crash, for the tests of this crate and of those that write segments.
//!
//! [`Faults`] decides which operations fail and [`FaultyStorage`] obeys it, over any other storage.
//! [`CrashStorage`] remembers every write and sync, and makes the files that a crash at any of them could leave.

mod crash;
mod faults;
mod random;

pub use crash::{CrashImage, CrashStorage, KeptPages};
pub use faults::{Failure, Faults, FaultyStorage};
pub use random::Random;
