//! Numbers of system calls, and where their arguments are while the kernel runs them.

use kcap_recorder_ebpf::Syscalls;

use super::{Btf, Error};

/// Fields of `pt_regs` and `task_struct` on this architecture.
#[cfg(target_arch = "x86_64")]
mod architecture {
    pub(super) const NUMBER: &str = "pt_regs.orig_ax";
    /// As the calling convention of system calls has them; the kernel leaves them as they were.
    pub(super) const ARGUMENTS: [(&str, u32); 4] =
        [("pt_regs.di", 0), ("pt_regs.si", 0), ("pt_regs.dx", 0), ("pt_regs.r10", 0)];
    pub(super) const COMPAT: &str = "task_struct.thread_info.status";
    /// `TS_COMPAT`
    pub(super) const COMPAT_BITS: u32 = 2;
}

#[cfg(target_arch = "aarch64")]
mod architecture {
    pub(super) const NUMBER: &str = "pt_regs.syscallno";
    /// The first register holds the result afterwards.
    pub(super) const ARGUMENTS: [(&str, u32); 4] =
        [("pt_regs.orig_x0", 0), ("pt_regs.regs", 8), ("pt_regs.regs", 16), ("pt_regs.regs", 24)];
    pub(super) const COMPAT: &str = "task_struct.thread_info.flags";
    /// `TIF_32BIT`
    pub(super) const COMPAT_BITS: u32 = 1 << 22;
}

/// Finds what the programs on system calls need.
pub(super) fn find(btf: &Btf) -> Result<Syscalls, Error> {
    use architecture::{ARGUMENTS, COMPAT, COMPAT_BITS, NUMBER};
    let argument = |index: usize| btf.offset(ARGUMENTS[index].0).map(|offset| offset + ARGUMENTS[index].1);
    Ok(Syscalls {
        mmap: libc::SYS_mmap as u32,
        mprotect: libc::SYS_mprotect as u32,
        pkey_mprotect: libc::SYS_pkey_mprotect as u32,
        number: btf.offset(NUMBER)?,
        argument_1: argument(0)?,
        argument_2: argument(1)?,
        argument_3: argument(2)?,
        argument_4: argument(3)?,
        task_compat: btf.offset(COMPAT)?,
        compat_bits: COMPAT_BITS,
    })
}
