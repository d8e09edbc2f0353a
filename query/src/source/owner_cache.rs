//! Keeps what was read of owners, for the partitions of a query and for the next query.

use std::sync::{Arc, Mutex, PoisonError};

use super::owners::SegmentOwners;
use crate::error::Result;

/// A segment, by recording and position, and its owners.
type Entry = ((usize, usize), Arc<SegmentOwners>);

/// Owners of the segments that were asked for last, shared by all partitions of all queries.
#[derive(Debug, Default)]
pub(super) struct OwnerCache {
    /// The one used last at the end.
    entries: Mutex<Vec<Entry>>,
}

/// Memory that cached owners may take, save that the newest always stays.
const CACHE_BYTES_MAX: usize = 256 << 20;

impl OwnerCache {
    /// The owners of a segment, read if they are not there.
    pub(super) fn of(
        &self,
        key: (usize, usize),
        read: impl FnOnce() -> Result<SegmentOwners>,
    ) -> Result<Arc<SegmentOwners>> {
        // Held while reading: partitions of one segment would otherwise read the same events side by side.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match entries.iter().position(|(known, _)| *known == key) {
            Some(position) => entries.remove(position).1,
            None => Arc::new(read()?),
        };
        entries.push((key, Arc::clone(&found)));
        let mut bytes: usize = entries.iter().map(|(_, owners)| owners.memory_bytes()).sum();
        while bytes > CACHE_BYTES_MAX && entries.len() > 1 {
            bytes -= entries.remove(0).1.memory_bytes();
        }
        Ok(found)
    }
}
