//! The signals that end a recording.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::process;
use std::ptr;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::run::spawn;

/// Signals that are caught, so that none ends the process without a seal.
pub(crate) struct Ends(Signals);

impl Ends {
    /// Catches SIGINT, SIGTERM and, unless it was ignored when the process was started (`nohup`), SIGHUP.
    pub(crate) fn new() -> Result<Self> {
        let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        let caught = [SIGINT, SIGTERM].into_iter().chain(hangup);
        Ok(Self(Signals::new(caught).context("cannot handle signals")?))
    }

    /// Hands out the first signal; a later SIGINT or SIGTERM ends the process at once.
    pub(crate) fn listen(mut self) -> Result<Receiver<i32>> {
        let (sender, ends) = bounded(1);
        spawn("signals", move || {
            let mut is_ending = false;
            for signal in self.0.forever() {
                if !is_ending {
                    let _ = sender.send(signal);
                    is_ending = true;
                } else if gives_up(signal) {
                    let _ = writeln!(
                        io::stderr(),
                        "kcap-record: given up at the second signal; the last segment has no seal"
                    );
                    process::exit(128 + signal);
                }
            }
        })?;
        Ok(ends)
    }
}

/// A terminal that closes sends SIGHUP twice, by the kernel and by the shell: nobody asked for haste.
fn gives_up(signal: i32) -> bool {
    signal != SIGHUP
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only, and `action` has room for the answer.
    let failed = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0;
    // SAFETY: the kernel filled it, and all zeroes are valid, too.
    !failed && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
