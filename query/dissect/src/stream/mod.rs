//! From TCP segments to the bytes that the application wrote.
//!
//! A [`Reassembler`] takes the segments of one direction in the order in which they were recorded and hands on the bytes
//! in the order of the stream: in-order segments as they are, without copying them, others after what was missing came
//! or was given up. Whatever is missing, was given up, or contradicts itself is an event too ([`StreamEvent`]); nothing is
//! dropped without one.
//!
//! ```
//! use kcap_dissect::stream::{PacketRef, Reassembler, Segment, StreamBudget, StreamEvent, StreamOptions};
//!
//! let options = StreamOptions::default();
//! let mut budget = StreamBudget::new(options.total_bytes_max);
//! let mut stream = Reassembler::default();
//! stream.start(1000, true);
//! let mut text = Vec::new();
//! for (sequence, payload) in [(1001, "he"), (1005, "o world"), (1003, "ll"), (1001, "hell")] {
//!     let packet = PacketRef { packet_id: 1, time_ns: 0, tag: 0 };
//!     let payload_len = payload.len() as u32;
//!     let segment = Segment { sequence, payload: payload.as_bytes(), payload_len, packet };
//!     stream.segment(&segment, &options, &mut budget, &mut |event| match event {
//!         StreamEvent::Data(data) => text.extend_from_slice(data.bytes),
//!         other => panic!("{other:?}"),
//!     });
//! }
//! assert_eq!(text, b"hello world");
//! ```

mod event;
mod options;
mod pending;
mod reassembler;
mod sequence;

#[cfg(test)]
mod tests;

pub use event::{
    DisagreementFact, DropReason, Dropped, EndReason, Gap, GapReason, PacketRef, StreamData, StreamEvent,
};
pub use options::{
    Overlaps, PENDING_SEGMENTS_MAX, RECENT_BYTES_MAX, STREAM_BYTES_MAX, StreamBudget, StreamOptions,
    TOTAL_BYTES_MAX,
};
pub use reassembler::{Reassembler, Segment};
pub use sequence::{BEHIND_MAX, offset_of};
