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

/// `value`, of which the verifier knows nothing any more; `other` must be a number that it doesn't know either.
///
/// Where paths meet that found different constants, it would follow each of them through all that comes after: loading took
/// a second that way.
#[inline(always)]
pub(super) fn forgotten(value: u32, other: u32) -> u32 {
    let mut result = u64::from(value);
    // SAFETY: arithmetic on a register.
    unsafe {
        core::arch::asm!(
            "{value} ^= {other}",
            "{value} ^= {other}",
            value = inout(reg) result,
            other = in(reg) u64::from(other),
            options(pure, nomem, nostack),
        );
    }
    result as u32
}
