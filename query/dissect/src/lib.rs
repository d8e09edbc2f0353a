//! From recorded bytes to meaning: pure functions over slices and numbers.
//!
//! - [`mod@decode`]: link to transport headers of one packet.
//! - [`flow_id()`]: one number for both directions of a conversation.
//! - [`flow`]: conversations, with what each side sent and how they went.
//! - [`filter`]: the language of tcpdump, on bytes of packets.
//! - [`stream`]: the bytes of a direction of a TCP connection, in order.
//! - [`attribute`]: which process a packet belongs to, and how that is known.
//! - [`protocol`]: transactions of protocols.
//! - [`duplicate`]: local traffic is recorded leaving and arriving; which arrival is the copy of which departure.
//!
//! Nothing here does I/O, panics on any bytes, or allocates what a length field asks for.
#![forbid(unsafe_code)]

pub mod attribute;
mod bytes;
pub mod decode;
mod direction;
pub mod duplicate;
#[cfg(test)]
mod filter_tests;
pub mod flow;
mod flow_id;
pub mod protocol;
pub mod stream;

pub use decode::{Decoded, decode, decode_outer, decode_parts};
pub use direction::Direction;
pub use flow_id::{FlowKey, flow_id};
pub use kcap_filter as filter;

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
