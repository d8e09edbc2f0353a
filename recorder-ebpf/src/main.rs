//! The kernel programs of `kcap-record`: they see, count and hand over; they never change what the host does.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
// The macros that make programs of functions hand the context over by value.
#![allow(clippy::needless_pass_by_value)]

mod programs;

/// The kernel calls `bpf_probe_read_*` and ring helpers of GPL only programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Programs with a path to here have no end, so the verifier refuses them: nothing that is loaded can panic.
    loop {}
}
