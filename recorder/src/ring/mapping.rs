//! A `BPF_MAP_TYPE_RINGBUF`, mapped: the protocol of the kernel's `Documentation/bpf/ringbuf.rst`.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use aya::{Ebpf, maps::Map};

use super::RingGauge;
use crate::probe::Error;

/// Flags in a record's length word, and the bytes before its data.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const RECORD_HEADER_LEN: usize = 8;
/// The reader's position is published at least once in so many parts of the ring: each time, the writers' processors
/// have to fetch it anew.
const PUBLISH_FRACTION: usize = 64;

/// A mapped ring and the reader's place in it.
pub(super) struct Mapping {
    fd: OwnedFd,
    consumer: Pages,
    producer: Pages,
    data_offset: usize,
    data_len: usize,
    /// Where the next record begins, and what of that the kernel knows.
    position: usize,
    published: usize,
    /// Where the last record ended when that was last looked at.
    end: usize,
}

/// Where a record lies.
pub(super) struct Record {
    start: usize,
    len: usize,
}

impl Mapping {
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, Error> {
        let wrong = |what| Error::Map { what, source: io::Error::other(name) };
        let Some(Map::RingBuf(map)) = ebpf.take_map(name) else {
            return Err(wrong("the programs have no such ring"));
        };
        let data_len =
            map.info().map_err(|_| wrong("the ring doesn't tell its size"))?.max_entries() as usize;
        let fd = map
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| Error::Map { what: "keeping a ring", source })?;
        let page_len = page_len();
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let mapped = |source| Error::Map { what: "mapping a ring", source };
        let consumer = Pages::map(&fd, 0, page_len, writable).map_err(mapped)?;
        // The data follow twice, so that a record that wraps around still lies in one piece.
        let producer = Pages::map(&fd, page_len, page_len + 2 * data_len, libc::PROT_READ).map_err(mapped)?;
        let mut mapping = Self {
            fd,
            consumer,
            producer,
            data_offset: page_len,
            data_len,
            position: 0,
            published: 0,
            end: 0,
        };
        mapping.position = mapping.consumer.position().load(Ordering::Acquire);
        mapping.published = mapping.position;
        mapping.end = mapping.position;
        Ok(mapping)
    }

    /// Hands up to `max` records to `each`, in order. Returns how many.
    pub(super) fn drain(&mut self, max: u64, mut each: impl FnMut(&[u8])) -> u64 {
        let mut count = 0;
        while count < max {
            let Some(record) = self.peek() else { break };
            each(self.data(&record));
            self.consume(&record);
            count += 1;
        }
        self.publish();
        count
    }

    /// The next record that was handed over. `None` when there is none, or when it is still being written.
    pub(super) fn peek(&mut self) -> Option<Record> {
        loop {
            if self.position == self.end {
                self.end = self.producer.position().load(Ordering::Acquire);
                if self.position == self.end {
                    return None;
                }
            }
            let start = self.position & (self.data_len - 1);
            let header = self.word(start).load(Ordering::Acquire);
            if header & BUSY != 0 {
                return None;
            }
            let len = (header & !DISCARDED) as usize;
            let record = Record { start: start + RECORD_HEADER_LEN, len };
            if header & DISCARDED == 0 {
                return Some(record);
            }
            self.consume(&record);
        }
    }

    /// The bytes of a record, until it is consumed.
    pub(super) fn data(&self, record: &Record) -> &[u8] {
        // The kernel never makes a record longer than the ring; memory safety must not depend on it.
        let len = record.len.min(self.data_len - RECORD_HEADER_LEN);
        // SAFETY: start is below `data_len` + 8 and len at most `data_len` - 8: inside the doubled data. The kernel
        // doesn't touch them until the reader's position is published behind them, which takes `&mut self`.
        unsafe {
            slice::from_raw_parts(self.producer.start.add(self.data_offset + record.start).as_ptr(), len)
        }
    }

    /// Goes on behind a record that [`Self::peek`] gave.
    pub(super) fn consume(&mut self, record: &Record) {
        self.position = self.position.wrapping_add((record.len + RECORD_HEADER_LEN).next_multiple_of(8));
        if self.position.wrapping_sub(self.published) >= self.data_len / PUBLISH_FRACTION {
            self.publish();
        }
    }

    /// Bytes of the ring that are not read yet.
    pub(super) fn backlog_len(&self) -> usize {
        self.producer.position().load(Ordering::Acquire).wrapping_sub(self.position)
    }

    /// What tells others how full the ring is.
    pub(super) fn gauge(&self) -> io::Result<RingGauge> {
        RingGauge::of(&self.fd, page_len(), self.data_len)
    }

    /// Bytes of the ring.
    pub(super) fn len(&self) -> usize {
        self.data_len
    }

    /// Tells the kernel what was read.
    pub(super) fn publish(&mut self) {
        if self.published != self.position {
            self.published = self.position;
            self.consumer.position().store(self.position, Ordering::Release);
        }
    }

    fn word(&self, start: usize) -> &AtomicU32 {
        debug_assert!(start.is_multiple_of(8) && start < self.data_len);
        // SAFETY: inside the mapping, aligned, and written by the kernel as one word.
        unsafe { self.producer.start.add(self.data_offset + start).cast().as_ref() }
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mapping")
            .field("len", &self.data_len)
            .field("position", &self.position)
            .finish()
    }
}

fn page_len() -> usize {
    // SAFETY: a plain question.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Pages of the ring's memory.
pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: shared memory that is only read, but for the position, which is atomic.
unsafe impl Send for Pages {}

impl Pages {
    pub(super) fn map(fd: &OwnedFd, offset: usize, len: usize, protection: libc::c_int) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, len })
    }

    /// The byte at an offset.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len, "inside the mapping");
        // SAFETY: as was just checked.
        unsafe { self.start.add(offset) }
    }

    /// The position that these pages begin with (`consumer_pos` and `producer_pos` of `struct bpf_ringbuf`).
    pub(super) fn position(&self) -> &AtomicUsize {
        // SAFETY: the first page is always mapped, and begins with an `unsigned long`.
        unsafe { self.start.cast().as_ref() }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this mapping, as it was made; nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
