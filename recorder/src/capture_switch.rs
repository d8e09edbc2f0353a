//! How much the kernel programs capture of packets, changed while they run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fmt, io};

use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use kcap_recorder_ebpf::{CAPTURE_COUNTS, CAPTURE_FULL, CAPTURE_HEADERS, CAPTURE_MODE_MASK};

use crate::packet_socket::Tallies;
use crate::probe::Error;

/// What is captured of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaptureMode {
    /// What the options ask.
    Full,
    /// Headers from the network to the transport layer.
    Headers,
    /// Nothing: each packet is counted as lost.
    Counts,
}

/// What the packet programs, or the reader of a packet socket, have their mode from.
pub struct CaptureSwitch {
    target: Target,
    changes: u32,
}

enum Target {
    Map(Array<MapData, u32>),
    Socket(Arc<Tallies>),
}

impl CaptureSwitch {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Map {
            what: "opening CAPTURE",
            source: io::Error::other(error.to_string()),
        };
        let map = ebpf.take_map("CAPTURE").ok_or_else(|| failed(&"not in the object"))?;
        match map {
            map @ Map::Array(_) => {
                let map = Array::try_from(map).map_err(|error| failed(&error))?;
                Ok(Self { target: Target::Map(map), changes: 0 })
            }
            _ => Err(failed(&"of another type")),
        }
    }

    pub(crate) fn of_socket(tallies: Arc<Tallies>) -> Self {
        Self { target: Target::Socket(tallies), changes: 0 }
    }

    /// Sets what is captured from now on. Runs that are under way may still end as before.
    ///
    /// # Errors
    /// What the kernel says, which then goes on as before.
    pub fn set(&mut self, mode: CaptureMode) -> Result<(), Error> {
        self.changes = self.changes.wrapping_add(1);
        let bits = match mode {
            CaptureMode::Full => CAPTURE_FULL,
            CaptureMode::Headers => CAPTURE_HEADERS,
            CaptureMode::Counts => CAPTURE_COUNTS,
        };
        let word = self.changes.wrapping_mul(CAPTURE_MODE_MASK + 1) | bits;
        match &mut self.target {
            Target::Map(map) => map
                .set(0, word, 0)
                .map_err(|error| Error::Map { what: "setting CAPTURE", source: io::Error::other(error) }),
            Target::Socket(tallies) => {
                tallies.capture.store(word, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for CaptureSwitch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CaptureSwitch").field("changes", &self.changes).finish_non_exhaustive()
    }
}
