//! Memory of packets that nobody needs any more, for the next ones: what is new, the system clears page by page.

use std::sync::{Mutex, PoisonError};

use kcap_dissect::Decoded;

use crate::limits::CHUNK_LEN;
use crate::packets::Packets;

/// Most buffers of each kind that are kept: about as many as are in use at a time by a reader of one file.
const KEPT_MAX: usize = 16;
/// Bytes of a buffer that is kept: those of larger ones are seldom needed again.
const KEPT_LEN_MAX: usize = 16 * CHUNK_LEN as usize;

static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static PACKETS: Mutex<Vec<Packets>> = Mutex::new(Vec::new());

/// A buffer with any bytes in it.
pub(crate) fn buffer() -> Vec<u8> {
    take(&BUFFERS)
}

/// Columns without a packet.
pub(crate) fn packets() -> Packets {
    take(&PACKETS)
}

pub(crate) fn keep_buffer(buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_LEN_MAX {
        keep(&BUFFERS, buffer);
    }
}

pub(crate) fn keep_packets(mut packets: Packets) {
    let Packets { batch, decoded } = &mut packets;
    if batch.raw_len() + decoded.len() * size_of::<Decoded>() <= KEPT_LEN_MAX {
        batch.clear();
        decoded.clear();
        keep(&PACKETS, packets);
    }
}

fn take<T: Default>(kept: &Mutex<Vec<T>>) -> T {
    kept.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn keep<T>(kept: &Mutex<Vec<T>>, one: T) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT_MAX {
        kept.push(one);
    }
}
