//! Bytes that come one after the other, kept in a temporary file so that they can be read again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use crate::bytes::read_file_at;

/// Bytes that are taken from the source at once.
const STEP_LEN: usize = 1 << 18;

/// A stream and the file that it goes to. Nothing is taken from the stream before somebody asks for it, and memory holds
/// one step of it.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Without a name: it goes when it is closed, however the process ends.
    file: File,
    filling: Mutex<Filling>,
}

struct Filling {
    /// `None` behind its end.
    source: Option<Box<dyn Read + Send>>,
    /// Bytes in the file.
    len: u64,
    /// Why the stream ended before its end, as decompressors find out; told once.
    failure: Option<io::Error>,
    /// Why the file doesn't take more: what was to follow is gone, so that nothing may.
    refusal: Option<(io::ErrorKind, String)>,
    step: Vec<u8>,
}

impl std::fmt::Debug for Filling {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Filling").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Spool {
    /// A spool of a stream.
    pub(crate) fn new(source: Box<dyn Read + Send>) -> io::Result<Self> {
        Ok(Self::over(tempfile::tempfile()?, source))
    }

    fn over(file: File, source: Box<dyn Read + Send>) -> Self {
        let filling =
            Filling { source: Some(source), len: 0, failure: None, refusal: None, step: vec![0; STEP_LEN] };
        Self { file, filling: Mutex::new(filling) }
    }

    /// Reads what is there at an offset, and waits for the stream to bring it. A stream that fails ends there: see
    /// [`Self::take_failure`].
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.fill(offset.saturating_add(buffer.len() as u64))?;
        let there = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = there.min(buffer.len());
        read_file_at(&self.file, &mut buffer[..wanted], offset)
    }

    /// Why the stream ended before its end, once.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    /// Takes from the stream until so many bytes are there or it ends; gives how many there are. When the file takes no more, that
    /// is an error for whoever asks for what would be behind.
    fn fill(&self, len: u64) -> io::Result<u64> {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let filling = &mut *filling;
        while filling.len < len {
            if let Some((kind, why)) = &filling.refusal {
                return Err(io::Error::new(*kind, why.clone()));
            }
            let Some(source) = &mut filling.source else { break };
            match source.read(&mut filling.step) {
                Ok(0) => filling.source = None,
                Ok(count) => {
                    // Only filling moves the file's own position.
                    match (&self.file).write_all(&filling.step[..count]) {
                        Ok(()) => filling.len += count as u64,
                        Err(error) => {
                            filling.refusal = Some((error.kind(), refusal(&error, filling.len)));
                            filling.source = None;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    filling.failure = Some(error);
                    filling.source = None;
                }
            }
        }
        Ok(filling.len)
    }
}

/// What a person can do about a temporary file that takes no more than so many bytes.
fn refusal(error: &io::Error, len: u64) -> String {
    format!(
        "what comes out of it is kept in {}, which took {len} bytes and no more: {error}; TMPDIR names another folder",
        std::env::temp_dir().display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of three, and then an error.
    struct Failing(Vec<u8>);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "torn"));
            }
            let count = self.0.len().min(buffer.len()).min(3);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn bytes_can_be_read_again_in_any_order() {
        let spool = Spool::new(Box::new(io::Cursor::new((0..100).collect::<Vec<u8>>()))).unwrap();
        let mut buffer = [0; 10];
        assert_eq!(spool.read_at(&mut buffer, 50).unwrap(), 10);
        assert_eq!(buffer[0], 50);
        assert_eq!(spool.read_at(&mut buffer, 0).unwrap(), 10);
        assert_eq!(buffer[9], 9);
        assert_eq!(spool.read_at(&mut buffer, 95).unwrap(), 5);
        assert_eq!(spool.read_at(&mut buffer, 1000).unwrap(), 0);
    }

    /// What could not be written was once left out, and what came next took its place.
    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_follows_what_has_no_room() {
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        let spool = Spool::over(full, Box::new(io::Cursor::new(vec![1; 2 * STEP_LEN])));
        for _ in 0..3 {
            let error = spool.read_at(&mut [0; 10], 0).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            let text = error.to_string();
            assert!(text.contains("No space left") && text.contains("TMPDIR"), "{text}");
        }
        assert!(spool.take_failure().is_none(), "the source is not to blame");
    }

    #[test]
    fn what_came_before_a_failure_stays() {
        let spool = Spool::new(Box::new(Failing(vec![1; 10]))).unwrap();
        let mut buffer = [0; 20];
        assert_eq!(spool.read_at(&mut buffer, 0).unwrap(), 10);
        assert_eq!(spool.take_failure().map(|error| error.to_string()).as_deref(), Some("torn"));
        assert!(spool.take_failure().is_none());
    }
}
