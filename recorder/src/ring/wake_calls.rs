//! Calls of the programs for those that aren't attached.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use kcap_recorder_ebpf::WakeCall;

use super::mapping::Mapping;
use crate::probe::Error;

/// The ring of the calls.
#[derive(Debug)]
pub(crate) struct WakeCalls(Mapping);

impl WakeCalls {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Mapping::take(ebpf, "WAKE").map(Self)
    }

    /// The next call, if there is one.
    pub(crate) fn next(&mut self) -> Option<WakeCall> {
        let mut call = None;
        self.0.drain(1, |record| call = bytemuck::try_pod_read_unaligned(record).ok());
        call
    }
}

impl AsFd for WakeCalls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
