//! Records of executable memory.

use crate::{EventHead, FileFacts};

/// A process made memory executable. `file.path_len` bytes of path follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct MappingEvent {
    /// What all events have.
    pub head: EventHead,
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// `PROT_*` that were asked for.
    pub requested_protection: u64,
    /// `MAP_*` of mmap(2).
    pub mmap_flags: u64,
    /// `VM_*` of the memory after the call; 0 when the kernel doesn't tell.
    pub new_vm_flags: u64,
    /// `VM_*` before mprotect(2); 0 when the kernel doesn't tell, and for mmap(2).
    pub old_vm_flags: u64,
    /// The file that is mapped, if any.
    pub file: FileFacts,
    /// [`MAPPING_ACTION_MMAP`] or [`MAPPING_ACTION_MPROTECT`].
    pub action: u32,
    /// Zero.
    pub reserved: u32,
}

/// mmap(2).
pub const MAPPING_ACTION_MMAP: u32 = 1;
/// mprotect(2) or pkey_mprotect(2).
pub const MAPPING_ACTION_MPROTECT: u32 = 2;
