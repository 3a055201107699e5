//! Caches of data and instructions, and the translations that CPUs keep.

use crate::arch::access::read;
use addresses::Pa;
use core::arch::asm;

/// Cleans and invalidates the data cache for a range of addresses, to the point of coherency.
///
/// # Safety
///
/// EL2 maps the range.
pub unsafe fn clean_and_invalidate(start: Pa, bytes: u64) {
    // CTR_EL0.DminLine: log2 of the words in the smallest data cache line (DDI0487 D24.2.37).
    let step = 4_u64 << (read!("ctr_el0") >> 16 & 0xf);
    let end = start.0 + bytes;
    let mut line = start.0 & !(step - 1);
    while line < end {
        // SAFETY: cleaning changes no content, and the caller vouches that the address is mapped.
        unsafe { asm!("dc civac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
        line += step;
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// Makes all CPUs forget instructions they fetched.
pub fn invalidate_instruction_caches() {
    // SAFETY: changes no content.
    unsafe {
        asm!(
            "ic ialluis",
            "dsb ish",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// Makes this CPU forget translations, and instructions it fetched, of the VM that VTTBR_EL2 names.
pub fn invalidate_own_guest_translations() {
    // SAFETY: changes no content.
    unsafe {
        asm!(
            "dsb nshst",
            "tlbi vmalls12e1",
            "ic iallu",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// What is written after this is seen, by devices too, after what was written before.
pub fn order_stores() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}
