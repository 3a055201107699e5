//! Copies from and to physical memory, which EL2 maps one to one.
//!
//! Memory that a guest or the secure world can write is only touched by assembly, which the
//! compiler does not look into, and never through a Rust reference.

use crate::arch::access::read;
use crate::arch::cache::clean_and_invalidate;
use addresses::Pa;
use core::arch::{asm, global_asm};

global_asm!(
    // x0 = to, x1 = from, x2 = bytes. The ranges do not overlap.
    "copy_memory:",
    "subs x2, x2, #64",
    "b.lo 2f",
    "1: ldp x5, x6, [x1, #16]",
    "ldp x7, x8, [x1, #32]",
    "ldp x9, x10, [x1, #48]",
    "ldp x3, x4, [x1], #64",
    "stp x5, x6, [x0, #16]",
    "stp x7, x8, [x0, #32]",
    "stp x9, x10, [x0, #48]",
    "stp x3, x4, [x0], #64",
    "subs x2, x2, #64",
    "b.hs 1b",
    // x2 is 64 too small, but its lowest six bits say what is left.
    "2: tbz x2, #5, 3f",
    "ldp x5, x6, [x1, #16]",
    "ldp x3, x4, [x1], #32",
    "stp x5, x6, [x0, #16]",
    "stp x3, x4, [x0], #32",
    "3: tst x2, #31", // messages end here
    "b.eq 7f",
    "tbz x2, #4, 4f",
    "ldp x3, x4, [x1], #16",
    "stp x3, x4, [x0], #16",
    "4: tbz x2, #3, 5f",
    "ldr x3, [x1], #8",
    "str x3, [x0], #8",
    "5: ands x2, x2, #7",
    "b.eq 7f",
    "6: ldrb w3, [x1], #1",
    "strb w3, [x0], #1",
    "subs x2, x2, #1",
    "b.ne 6b",
    "7: ret",
);

unsafe extern "C" {
    fn copy_memory(to: u64, from: u64, bytes: u64);
}

/// Copies from physical memory.
///
/// # Safety
///
/// The range is memory that EL2 maps, and no Rust reference covers it.
pub unsafe fn read(from: Pa, into: &mut [u8]) {
    // SAFETY: the caller vouches for the source; the target is the slice.
    unsafe { copy_memory(into.as_mut_ptr() as u64, from.0, into.len() as u64) }
}

/// Copies to physical memory.
///
/// # Safety
///
/// The range is memory that EL2 maps, and no Rust reference covers it.
pub unsafe fn write(to: Pa, from: &[u8]) {
    // SAFETY: the caller vouches for the target; the source is the slice.
    unsafe { copy_memory(to.0, from.as_ptr() as u64, from.len() as u64) }
}

/// Copies `bytes` from one range of physical memory to another, and cleans the target to memory,
/// where a CPU without caches or an instruction fetch sees it.
///
/// # Safety
///
/// Both ranges are memory that EL2 maps, they do not overlap, and no Rust reference covers the
/// target.
pub unsafe fn copy(to: Pa, from: Pa, bytes: u64) {
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        copy_memory(to.0, from.0, bytes);
        clean_and_invalidate(to, bytes);
    }
}

/// Fills physical memory with zeros and cleans it to memory.
///
/// # Safety
///
/// The range is memory that EL2 maps, starts and ends on a page, and no Rust reference covers it.
pub unsafe fn zero(start: Pa, bytes: u64) {
    // DCZID_EL0.BS: log2 of the words that DC ZVA clears (DDI0487 D24.2.41); DZP is clear at EL2.
    let step = 4_u64 << (read!("dczid_el0") & 0xf);
    let end = start.0 + bytes;
    let mut line = start.0;
    while line < end {
        // SAFETY: the line lies in the range that the caller vouches for, as a page is a multiple
        // of the block.
        unsafe {
            asm!("dc zva, {line}", "dc civac, {line}", line = in(reg) line, options(nostack, preserves_flags));
        }
        line += step;
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}
