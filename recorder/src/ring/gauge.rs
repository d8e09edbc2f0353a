//! How full a ring is, for others than its reader.

use std::{fmt, io, os::fd::OwnedFd, sync::atomic::Ordering};

use super::{mapping::Pages, socket::Blocks};

/// Reads the positions of a ring's writer and reader.
pub struct RingGauge(Kind);

enum Kind {
    /// Of kernel programs.
    Programs { consumer: Pages, producer: Pages, data_len: usize },
    /// Of a packet socket.
    Socket(Blocks),
}

impl RingGauge {
    pub(super) fn of(fd: &OwnedFd, page_len: usize, data_len: usize) -> io::Result<Self> {
        let consumer = Pages::map(fd, 0, page_len, libc::PROT_READ)?;
        let producer = Pages::map(fd, page_len, page_len, libc::PROT_READ)?;
        Ok(Self(Kind::Programs { consumer, producer, data_len }))
    }

    pub(super) fn of_blocks(blocks: Blocks) -> Self {
        Self(Kind::Socket(blocks))
    }

    /// The part of the ring that waits for its reader, 0 to 1.
    pub fn filled(&self) -> f64 {
        match &self.0 {
            Kind::Programs { consumer, producer, data_len } => {
                // The reader's first: read in the other order, it could have overtaken.
                let read = consumer.position().load(Ordering::Acquire);
                let written = producer.position().load(Ordering::Acquire);
                written.wrapping_sub(read).min(*data_len) as f64 / *data_len as f64
            }
            Kind::Socket(blocks) => blocks.filled(),
        }
    }
}

impl fmt::Debug for RingGauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RingGauge").field("filled", &self.filled()).finish()
    }
}
