//! Waiting for the rings.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Waits until the kernel calls for a reader, or a while has passed.
///
/// The kernel calls when a ring is filled so far that it should be emptied at once; what is less waits for the
/// timeout. A plain `poll` would return whenever there is one record, and records would be read one by one.
#[derive(Debug)]
pub struct Wakeups {
    epoll: OwnedFd,
}

impl Wakeups {
    /// Listens to the given rings.
    pub fn new(rings: &[&dyn AsFd]) -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        for ring in rings {
            // Edge-triggered: only calls count, not that there are data.
            let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
            let ring = ring.as_fd().as_raw_fd();
            // SAFETY: descriptors and the event are valid.
            if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, ring, &raw mut event) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { epoll })
    }

    /// Waits. Returns whether the kernel called; an interrupting signal counts as not.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let timeout_ms = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        // SAFETY: room for as many events as it is told.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as _, timeout_ms)
        };
        match count {
            0.. => Ok(count > 0),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
            }
        }
    }
}
