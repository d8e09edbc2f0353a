//! Blocks that are read while those before are used.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::block::PacketBlock;
use super::pipeline::Pipeline;
use crate::error::{Error, Result};

/// Blocks that may wait for whoever uses them: with those that are being read, this bounds the memory.
const BLOCKS_WAITING_MAX: usize = 2;
/// Most blocks that are read side by side.
const GROUP_BLOCKS_MAX: usize = 8;

/// The blocks of a [`Pipeline`], read on other threads. They come in the same order, whatever the number of processors.
#[derive(Debug)]
pub(super) struct Ahead {
    /// `None` only while it is dropped.
    blocks: Option<Receiver<Result<PacketBlock>>>,
    reader: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to read.
    pub(super) fn new(pipeline: Pipeline) -> Result<Self> {
        let (sender, blocks) = sync_channel(BLOCKS_WAITING_MAX);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut pipeline = pipeline.reading_side_by_side(processors.min(GROUP_BLOCKS_MAX));
        let read = move || {
            while let Some(block) = pipeline.next_block().transpose() {
                let is_last = block.is_err();
                // Nobody wants more blocks when the other end is gone.
                if sender.send(block).is_err() || is_last {
                    break;
                }
            }
        };
        let reader = std::thread::Builder::new().name("kcap-blocks".to_owned()).spawn(read);
        let reader = reader.map_err(Error::Thread)?;
        Ok(Self { blocks: Some(blocks), reader: Some(reader) })
    }

    /// The next block; `None` behind the last.
    pub(super) fn next_block(&mut self) -> Result<Option<PacketBlock>> {
        if let Some(Ok(block)) = self.blocks.as_ref().map(Receiver::recv) {
            return block.map(Some);
        }
        // The reader ended, which is the end of the blocks unless it panicked.
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => Ok(None),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        drop(self.blocks.take());
        if let Some(reader) = self.reader.take() {
            // A panic there was told when it happened.
            let _ = reader.join();
        }
    }
}
