//! What this kernel offers, and the programs loaded and attached to it.
//!
//! [`Kernel::load`] checks what the programs need, loads those that the kernel takes, and returns a [`Loaded`] that
//! attaches and detaches them. [`doctor`] tells the same to people.

mod btf;
mod doctor;
mod error;
mod hooks;
mod interface;
mod leftover;
mod load;
mod object;
mod offsets;
mod program;
mod syscalls;
mod system;

pub use btf::Btf;
pub use doctor::{HookState, Report, doctor};
pub use error::Error;
pub use interface::InterfaceHook;
pub use leftover::{LeftFilter, left_filters};
pub use load::{Kernel, LoadOptions, Loaded};
pub use system::{KERNEL_MIN, cgroup2_mount, kernel_version, missing_capabilities};
