//! What a leaving packet lacks and its arriving copy has: the payload tasks of the receiver, and the payload that they asked
//! for where nobody asked for that of the sender.

use kcap_format::{BlockEntry, BytesColumn, PacketBatch};

use super::PacketBlock;
use crate::error::Result;

/// A record that was found to be the copy of an earlier one, or of a part of it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ArrivedCopy {
    source: Source,
    row: usize,
    wire_len: u32,
    tcp_sequence: Option<u32>,
    header_len: usize,
    payload_len: u32,
    tasks: u32,
}

/// A block of the recording.
#[derive(Clone, Copy, Debug)]
struct Source {
    position: usize,
    entry: BlockEntry,
    payloads_are_whole: bool,
}

impl Source {
    fn is(&self, other: &Self) -> bool {
        (self.position, self.entry.sequence) == (other.position, other.entry.sequence)
    }
}

/// Payload that a row takes from another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    row: usize,
    /// Bytes of the row's payload that come before.
    offset: u32,
    source: Source,
    source_row: usize,
}

impl PacketBlock {
    /// A row, as the copy of another one.
    pub(in super::super) fn arrived_copy(&self, row: usize) -> ArrivedCopy {
        ArrivedCopy {
            source: self.source(),
            row,
            wire_len: self.batch.wire_len[row],
            tcp_sequence: self.decoded[row].tcp().map(|tcp| tcp.sequence),
            header_len: self.batch.header.get(row).unwrap_or_default().len(),
            payload_len: self.batch.payload_len.get(row).copied().unwrap_or(0),
            tasks: self.batch.tasks.get(row).copied().unwrap_or(0),
        }
    }

    /// Takes from a copy what the row lacks. Of several copies, which are pieces then, each goes on where the one before ended.
    pub(in super::super) fn complete(&mut self, row: usize, copy: &ArrivedCopy) {
        if let Some(tasks) = self.batch.tasks.get_mut(row) {
            *tasks |= copy.tasks;
        }
        let offset = match (self.decoded[row].tcp(), copy.tcp_sequence) {
            (Some(tcp), Some(sequence)) if copy.wire_len != self.batch.wire_len[row] => {
                sequence.wrapping_sub(tcp.sequence)
            }
            _ => 0,
        };
        let header_len = self.batch.header.get(row).unwrap_or_default().len();
        let Some(payload_len) = self.batch.payload_len.get_mut(row) else { return };
        let Some(end) = offset.checked_add(copy.payload_len) else { return };
        if copy.header_len == header_len && offset <= *payload_len && *payload_len < end {
            *payload_len = end;
            self.taken.push(Taken { row, offset, source: copy.source, source_row: copy.row });
        }
    }

    /// Brings in the payloads that [`Self::complete`] found. To be called when the block's own were read, or are not wanted: then
    /// they are read where those of a copy are damaged, so that what is missing is known.
    pub(in super::super) fn take_payloads(&mut self) -> Result<()> {
        if !self.payloads_are_read && self.taken.iter().any(|taken| !taken.source.payloads_are_whole) {
            return self.read_payload();
        }
        let mut taken = std::mem::take(&mut self.taken);
        if taken.is_empty() || self.batch.payload.len() != self.batch.len {
            return Ok(());
        }
        // Stable: the pieces of a row stay in their order.
        taken.sort_by_key(|taken| taken.row);
        let own = std::mem::take(&mut self.batch.payload);
        let mut others: Vec<(Source, Option<PacketBatch>)> = Vec::new();
        let mut payloads = BytesColumn::default();
        let mut taken = taken.into_iter().peekable();
        let mut joined = Vec::new();
        for row in 0..self.batch.len {
            let payload = own.get(row).unwrap_or_default();
            if taken.peek().is_none_or(|taken| taken.row != row) {
                payloads.push(payload);
                continue;
            }
            joined.clear();
            joined.extend_from_slice(payload);
            while let Some(Taken { offset, source, source_row, .. }) = taken.next_if(|taken| taken.row == row)
            {
                let bytes = if source.is(&self.source()) {
                    own.get(source_row)
                } else {
                    let place = match others.iter().position(|(other, _)| other.is(&source)) {
                        Some(place) => place,
                        None => {
                            others.push((source, self.payloads_of(&source)?));
                            others.len() - 1
                        }
                    };
                    others[place].1.as_ref().and_then(|batch| batch.payload.get(source_row))
                };
                // A damaged block has none; then what is there stays as it is.
                if let Some(bytes) = bytes
                    && joined.len() >= offset as usize
                {
                    joined.truncate(offset as usize);
                    joined.extend_from_slice(bytes);
                }
            }
            payloads.push(&joined);
        }
        self.batch.payload_len = payloads.lens().collect();
        self.batch.payload = payloads;
        Ok(())
    }

    fn source(&self) -> Source {
        Source { position: self.position, entry: self.entry, payloads_are_whole: self.payloads_are_whole }
    }

    fn payloads_of(&self, source: &Source) -> Result<Option<PacketBatch>> {
        self.library.recordings[self.recording].segments[source.position].block_payloads(&source.entry)
    }
}
