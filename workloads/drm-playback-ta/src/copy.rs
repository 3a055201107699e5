//! Copies between memory that overlaps or that someone else writes to at the same time, where
//! references can't be.
//!
//! The functions of the kit's C library take six instructions a byte unless both sides lie at the
//! same distance from a multiple of eight, which slices of video hardly ever do. This takes less
//! than one.

use core::ptr;

/// What is copied at once: registers enough hold it.
type Piece = [u64; 8];
/// What is copied at once of the rest.
type Block = [u64; 2];

/// Copies from the first byte to the last. Where the memory overlaps, what comes out is known only
/// if both starts are the same.
///
/// # Safety
///
/// All of `from` can be read and all of `into` written. Nothing but this function refers to either.
pub unsafe fn copy(from: *const u8, into: *mut u8, length: usize) {
    // SAFETY: the caller's claim; each call starts where the one before it stopped.
    unsafe {
        let pieces = copy_as::<Piece>(from, into, 0, length);
        let blocks = copy_as::<Block>(from, into, pieces, length);
        copy_as::<u8>(from, into, blocks, length);
    }
}

/// Copies as many whole values as there are left; returns where it stopped.
///
/// # Safety
///
/// As for [`copy`].
unsafe fn copy_as<T>(from: *const u8, into: *mut u8, mut next: usize, length: usize) -> usize {
    while length - next >= size_of::<T>() {
        // SAFETY: the value lies within the length, and needs no alignment.
        unsafe {
            let value = ptr::read_unaligned(from.add(next).cast::<T>());
            ptr::write_unaligned(into.add(next).cast::<T>(), value);
        }
        next += size_of::<T>();
    }
    next
}
