//! Scheduling priority: whose turn it is when the host has no processor to spare.

use std::io;

use tracing::debug;

/// Makes the calling thread, and those that it makes later, give way to others, as nice(1) does. Higher values give
/// way more; 0 changes nothing.
///
/// Linux keeps the nice value for each thread (sched(7)), so that what must keep pace with the kernel goes on at the
/// host's normal priority. That it can't be set costs the host some speed and the recording nothing.
pub(crate) fn give_way(nice: u8) {
    // SAFETY: no pointers. 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.into()) } != 0 {
        debug!(error = %io::Error::last_os_error(), nice, "cannot lower the priority of a thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice_of_this_thread() -> i32 {
        // SAFETY: no pointers.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn only_the_calling_thread_gives_way() {
        let before = nice_of_this_thread();
        let there = std::thread::spawn(|| {
            give_way(19);
            nice_of_this_thread()
        });
        assert_eq!(there.join().unwrap(), 19);
        assert_eq!(nice_of_this_thread(), before);
    }
}
