//! What a recording has to do with the disk besides writing: syncs, seals, and room for more.

use tracing::{info, warn};

use super::{Recording, SyncPolicy};
use crate::folder::Store;
use crate::syncer::{Order, Reply};
use kcap_format::Storage;

impl<S: Store> Recording<S> {
    /// Hears what the disk said meanwhile.
    pub(super) fn hear_syncer(&mut self, now_ns: u64) {
        while let Some(reply) = self.syncer.reply() {
            self.hear(reply, now_ns);
        }
    }

    /// Waits until the disk has said everything.
    pub(super) fn settle(&mut self, now_ns: u64) {
        while let Some(reply) = self.syncer.wait_for_reply() {
            self.hear(reply, now_ns);
        }
    }

    fn hear(&mut self, reply: Reply, now_ns: u64) {
        match reply {
            Reply::Synced { segment_id, len, result } => {
                self.is_syncing = false;
                // The segment may have ended since; its SEAL then syncs it again. Its number may be that of the
                // open one, when it was discarded.
                let Some(open) = self.open.as_mut().filter(|open| open.writer.id() == segment_id) else {
                    return;
                };
                match result {
                    Ok(()) => open.writer.mark_synced(len),
                    Err(source) => {
                        let path = open.writer.storage().path().to_owned();
                        self.give_up_segment(&kcap_format::Error::Io { path, source }, now_ns);
                    }
                }
            }
            Reply::Sealed { path, len, reserved_len, result } => {
                self.sealing_len -= reserved_len;
                match result {
                    Ok(seal) => {
                        info!(path = %path.display(), bytes = seal.len, "segment sealed");
                        self.written.bytes += seal.len - len;
                        self.store.close(&path, seal.len);
                    }
                    Err(error) => {
                        warn!(%error, "a segment could not be sealed; what was synced before stays readable");
                        self.written.segments_broken += 1;
                        self.seal_failed = true;
                        self.store.close(&path, len);
                    }
                }
            }
        }
    }

    /// Removes the oldest segments until `len` more bytes may be written; false when nothing is left to
    /// remove.
    pub(super) fn make_room(&mut self, len: u64, now_ns: u64) -> bool {
        let Some(limit) = self.limits.disk_len_max else { return true };
        let open_len = self.open.as_ref().map_or(0, |open| open.writer.len());
        while self.store.closed_len() + self.sealing_len + open_len + len > limit {
            if self.store.remove_oldest() {
                continue;
            }
            // Segments that are being sealed can be removed afterwards.
            match self.syncer.wait_for_reply() {
                Some(reply) => self.hear(reply, now_ns),
                None => return false,
            }
        }
        true
    }

    /// Has the open segment synced by the other thread, if it is time.
    pub(crate) fn sync_if_due(&mut self, now_ns: u64) {
        self.hear_syncer(now_ns);
        let SyncPolicy::Interval(interval) = self.limits.sync else { return };
        let Some(open) = &mut self.open else { return };
        if u128::from(now_ns.saturating_sub(open.synced_ns)) < interval.as_nanos() {
            return;
        }
        if self.is_syncing {
            return;
        }
        open.synced_ns = now_ns;
        self.is_syncing = true;
        let sync = self.store.sync_later(open.writer.storage());
        let (segment_id, len) = (open.writer.id(), open.writer.len());
        self.syncer.order(Order::Sync { segment_id, len, sync });
    }

    /// Syncs the open segment now, if each block is to be. A failure ends the segment; what was written lies in it.
    pub(super) fn sync_block(&mut self, now_ns: u64) {
        let Some(open) = self.open.as_mut().filter(|_| self.limits.sync == SyncPolicy::Block) else { return };
        if let Err(error) = open.writer.sync() {
            self.give_up_segment(&error, now_ns);
        }
    }
}
