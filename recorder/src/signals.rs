//! The signals that end a recording.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::process;
use std::ptr;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
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
            attend(self.0.forever(), &sender, |signal| {
                let _ = writeln!(
                    io::stderr(),
                    "kcap-record: given up at the second signal; the last segment has no seal"
                );
                process::exit(128 + signal);
            });
        })?;
        Ok(ends)
    }
}

/// Sends on the first signal, and gives up at each later one that asks for haste. SIGHUP doesn't: a terminal that closes
/// sends it twice, by the kernel and by the shell.
fn attend(signals: impl IntoIterator<Item = i32>, ends: &Sender<i32>, mut give_up: impl FnMut(i32)) {
    let mut signals = signals.into_iter();
    let Some(first) = signals.next() else { return };
    let _ = ends.send(first);
    signals.filter(|signal| *signal != SIGHUP).for_each(&mut give_up);
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only, and `action` has room for the answer.
    let failed = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0;
    // SAFETY: the kernel filled it, and all zeroes are valid, too.
    !failed && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_signal_of_haste_gives_up() {
        for (signals, expected) in [
            (&[SIGHUP, SIGHUP][..], &[][..]),
            (&[SIGTERM, SIGHUP], &[]),
            (&[SIGHUP, SIGHUP, SIGTERM], &[SIGTERM]),
            (&[SIGINT, SIGINT], &[SIGINT]),
        ] {
            let (sender, ends) = bounded(1);
            let mut given_up = Vec::new();
            attend(signals.iter().copied(), &sender, |signal| given_up.push(signal));
            assert_eq!((ends.try_recv(), &given_up[..]), (Ok(signals[0]), expected));
        }
    }
}
