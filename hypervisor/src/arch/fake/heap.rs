//! The host's heap.

use core::alloc::Layout;

/// What the heap holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Allocations.
    pub allocations: usize,
    /// Bytes that were asked for in them.
    pub bytes: usize,
    /// Bytes left.
    pub free: usize,
}

/// Nothing is counted.
#[must_use]
pub fn holds() -> Holds {
    Holds {
        allocations: 0,
        bytes: 0,
        free: 0,
    }
}

/// An allocation whose content is left as it is, or `None` where the heap is full.
#[must_use]
pub fn allocate(bytes: usize, alignment: usize) -> Option<*mut u8> {
    let layout = Layout::from_size_align(bytes, alignment)
        .ok()
        .filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc::alloc::alloc(layout) };
    (!start.is_null()).then_some(start)
}

/// Gives back what [`allocate`] gave.
///
/// # Safety
///
/// `start` came from it with the same size and alignment, and nothing uses it any more.
pub unsafe fn free(start: *mut u8, bytes: usize, alignment: usize) {
    if let Ok(layout) = Layout::from_size_align(bytes, alignment) {
        // SAFETY: the caller vouches for pointer and layout.
        unsafe { alloc::alloc::dealloc(start, layout) }
    }
}
