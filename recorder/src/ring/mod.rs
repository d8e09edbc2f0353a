//! The ring buffers between the kernel programs and this process.
//!
//! [`PacketRing`] and [`EventRing`] hand out the records as they lie in the memory shared with the kernel; nothing is
//! copied or allocated. [`Wakeups`] waits for either.

mod events;
mod gauge;
mod mapping;
mod packets;
mod socket;
mod wake_calls;
mod wakeups;

pub use events::{EventRecord, EventRing, ExecRecord};
pub use gauge::RingGauge;
pub use packets::PacketRing;
pub(crate) use socket::SocketRing;
pub(crate) use wake_calls::WakeCalls;
pub use wakeups::Wakeups;

/// What a call of `drain` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records handed out.
    pub records: u64,
    /// Records whose lengths contradict each other; they were skipped.
    pub bad: u64,
}
