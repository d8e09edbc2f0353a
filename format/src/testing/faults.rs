//! Storage that fails when it was told to.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::Storage;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the operating system says: [`io::ErrorKind::StorageFull`], or any other.
    pub kind: io::ErrorKind,
    /// False when only one operation fails, true when all that follow fail as well.
    pub lasts: bool,
}

impl Failure {
    /// One operation fails.
    #[must_use]
    pub fn once(kind: io::ErrorKind) -> Self {
        Self { kind, lasts: false }
    }

    /// An operation fails, and all that follow.
    #[must_use]
    pub fn lasting(kind: io::ErrorKind) -> Self {
        Self { kind, lasts: true }
    }
}

/// Decides which operations of a disk fail. Clones share the decision: keep one, and hand others to the storage.
///
/// ```
/// use std::io::ErrorKind;
/// use kcap_format::testing::{CrashStorage, Failure, Faults, FaultyStorage};
/// use kcap_format::{SegmentWriter, proto};
///
/// let faults = Faults::default();
/// faults.fail_at(1, Failure::lasting(ErrorKind::StorageFull));
/// let storage = FaultyStorage::new(CrashStorage::default(), &faults);
/// assert!(SegmentWriter::create(storage, &proto::FileInfo::default()).is_err());
/// assert_eq!(faults.operations(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    operations: u64,
    next: Option<(u64, Failure)>,
    broken: Option<io::ErrorKind>,
    free_len: Option<u64>,
}

impl Faults {
    /// Fails the operation with this number, counted from 0 over all storages that share this.
    pub fn fail_at(&self, operation: u64, failure: Failure) {
        self.plan().next = Some((operation, failure));
    }

    /// Fails every operation from now on.
    pub fn break_now(&self, kind: io::ErrorKind) {
        self.plan().broken = Some(kind);
    }

    /// Nothing fails from now on, unless there is no room.
    pub fn heal(&self) {
        let mut plan = self.plan();
        (plan.next, plan.broken) = (None, None);
    }

    /// Room for so many more bytes; `None` for as many as come. Writes beyond fill it, and fail.
    pub fn set_free_len(&self, free_len: Option<u64>) {
        self.plan().free_len = free_len;
    }

    /// Gives room back, as removing a file does.
    pub fn give_back(&self, len: u64) {
        if let Some(free_len) = &mut self.plan().free_len {
            *free_len += len;
        }
    }

    /// Operations so far, those that failed included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.plan().operations
    }

    /// Counts an operation other than a write: making a file, a sync.
    ///
    /// # Errors
    /// When this one is to fail.
    pub fn operate(&self) -> io::Result<()> {
        match self.plan().begin() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    /// Counts a write. Returns how many of the bytes are to be written, and what is said then.
    fn write(&self, len: usize) -> (usize, io::Result<()>) {
        let mut plan = self.plan();
        if let Some(kind) = plan.begin() {
            return (len / 2, Err(kind.into()));
        }
        let Some(free_len) = &mut plan.free_len else { return (len, Ok(())) };
        let written = usize::try_from(*free_len).unwrap_or(usize::MAX).min(len);
        *free_len -= written as u64;
        (written, if written < len { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn begin(&mut self) -> Option<io::ErrorKind> {
        let operation = self.operations;
        self.operations += 1;
        if let Some((at, failure)) = self.next
            && at == operation
        {
            self.next = None;
            self.broken = failure.lasts.then_some(failure.kind);
            return Some(failure.kind);
        }
        self.broken
    }
}

/// A storage over another one, which fails as [`Faults`] says. A write that fails leaves half of its bytes, one that
/// has no room leaves what fits, and a sync that fails leaves open what it kept.
#[derive(Debug)]
pub struct FaultyStorage<S> {
    storage: S,
    faults: Faults,
}

impl<S: Storage> FaultyStorage<S> {
    /// Writes to `storage`.
    #[must_use]
    pub fn new(storage: S, faults: &Faults) -> Self {
        Self { storage, faults: faults.clone() }
    }

    /// The storage below.
    #[must_use]
    pub fn storage(&self) -> &S {
        &self.storage
    }
}

impl<S: Storage> Storage for FaultyStorage<S> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (written, result) = self.faults.write(bytes.len());
        if written > 0 {
            self.storage.append(&bytes[..written])?;
        }
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.operate()?;
        self.storage.sync()
    }

    fn path(&self) -> &Path {
        self.storage.path()
    }
}
