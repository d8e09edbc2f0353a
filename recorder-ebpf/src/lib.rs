//! What the kernel programs and `kcap-record` tell each other: ring records, map values and globals.
//!
//! All structs are `repr(C)` with explicit padding and no implicit one, so that the same bytes mean the same
//! on both sides. The programs themselves are in `main.rs`, built only for the BPF target.
#![no_std]

mod event;
mod loss;
mod packet;

pub use event::*;
pub use loss::*;
pub use packet::*;
