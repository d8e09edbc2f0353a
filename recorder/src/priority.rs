//! Scheduling priority: whose turn it is when the host has no processor to spare.

use std::io;

use tracing::debug;

/// What goes before all others at normal priority (sched(7)).
const NICE_MIN: libc::c_int = -20;

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

/// Puts the calling thread before all others that aren't urgent, too: for what is waited for, and done in a moment.
pub(crate) fn urgent() {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter lives as long as the call. 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } == 0 {
        return;
    }
    debug!(error = %io::Error::last_os_error(), "no real-time priority");
    // SAFETY: no pointers.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE_MIN) } != 0 {
        debug!(error = %io::Error::last_os_error(), "cannot raise the priority of a thread");
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
