//! A program at a cgroup that lets no other one be attached beside it, as other software may leave one.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

// linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_TYPE_CGROUP_SKB: u32 = 8;
const BPF_CGROUP_INET_EGRESS: u32 = 1;
/// `r0 = 1; exit`: every packet may pass.
const PASS: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; what follows may be left out.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

/// The same for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    /// Neither `BPF_F_ALLOW_OVERRIDE` nor `BPF_F_ALLOW_MULTI`.
    flags: u32,
}

/// The program, at the egress of a cgroup. Taken off when dropped.
#[derive(Debug)]
pub struct ExclusiveProgram {
    cgroup: File,
    program: OwnedFd,
}

impl ExclusiveProgram {
    /// Attaches it.
    #[track_caller]
    pub fn attach(cgroup: &Path) -> Self {
        let cgroup = File::open(cgroup).expect("the cgroup");
        let load = Load {
            program_type: BPF_PROG_TYPE_CGROUP_SKB,
            instruction_count: PASS.len() as u32,
            instructions: PASS.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
        };
        let descriptor = bpf(BPF_PROG_LOAD, &load).expect("a program that the kernel takes");
        // SAFETY: a new descriptor that nobody else has.
        let program = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
        let exclusive = Self { cgroup, program };
        exclusive.call(BPF_PROG_ATTACH).expect("nothing else there");
        exclusive
    }

    fn call(&self, command: libc::c_long) -> io::Result<libc::c_long> {
        let (target, program) = (self.cgroup.as_raw_fd() as u32, self.program.as_raw_fd() as u32);
        bpf(command, &Attach { target, program, attach_type: BPF_CGROUP_INET_EGRESS, flags: 0 })
    }
}

impl Drop for ExclusiveProgram {
    fn drop(&mut self) {
        let _ = self.call(BPF_PROG_DETACH);
    }
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes, and what they point to, live as long as the call; it reads as much of them as is told.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
