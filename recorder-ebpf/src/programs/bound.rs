//! Bounds that the verifier can follow.

/// `value & mask`, kept from the optimiser, which may know that it changes nothing; the verifier doesn't.
#[inline(always)]
pub(super) fn masked(value: u32, mask: u32) -> u32 {
    let mut result = u64::from(value);
    // SAFETY: arithmetic on a register.
    unsafe {
        core::arch::asm!(
            "{value} &= {mask}",
            value = inout(reg) result,
            mask = in(reg) u64::from(mask),
            options(pure, nomem, nostack),
        );
    }
    result as u32
}
