//! Copies from and to memory of the test: its addresses are physical ones.

use addresses::Pa;

/// Copies from memory.
///
/// # Safety
///
/// The range is memory of the test, and no reference covers it.
pub unsafe fn read(from: Pa, into: &mut [u8]) {
    // SAFETY: the caller vouches for the source.
    unsafe {
        core::ptr::copy_nonoverlapping(from.0 as *const u8, into.as_mut_ptr(), into.len());
    }
}

/// Copies to memory.
///
/// # Safety
///
/// The range is memory of the test, and no reference covers it.
pub unsafe fn write(to: Pa, from: &[u8]) {
    // SAFETY: the caller vouches for the target.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.0 as *mut u8, from.len()) }
}

/// Copies `bytes` from one range of memory to another.
///
/// # Safety
///
/// Both ranges are memory of the test and do not overlap, and no reference covers the target.
pub unsafe fn copy(to: Pa, from: Pa, bytes: u64) {
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        core::ptr::copy_nonoverlapping(from.0 as *const u8, to.0 as *mut u8, bytes as usize);
    }
}

/// Fills memory with zeros.
///
/// # Safety
///
/// The range is memory of the test, and no reference covers it.
pub unsafe fn zero(start: Pa, bytes: u64) {
    // SAFETY: the caller vouches for the range.
    unsafe { core::ptr::write_bytes(start.0 as *mut u8, 0, bytes as usize) }
}
