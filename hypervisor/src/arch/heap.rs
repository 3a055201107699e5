//! The hypervisor's heap: what the linker script leaves of the hypervisor's region.
//!
//! Used while VMs are made and unmade, never on the way of a guest's call.

use core::alloc::Layout;
use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Hands the heap its memory.
///
/// # Safety
///
/// To be called once, on the first CPU, before anything is allocated.
pub unsafe fn init() {
    let (start, end) = crate::arch::layout::image().heap;
    // SAFETY: the linker script sets this range aside, and the caller vouches that nobody has
    // claimed it yet.
    unsafe {
        HEAP.lock().claim(start as *mut u8, (end - start) as usize);
    }
}

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

/// What the heap holds now.
pub fn holds() -> Holds {
    let counters = *HEAP.lock().counters();
    Holds {
        allocations: counters.allocation_count,
        bytes: counters.allocated_bytes,
        free: counters.available_bytes,
    }
}

/// A zeroed allocation for the machine's own structures, or `None` where the heap is full.
#[must_use]
pub fn allocate_zeroed(bytes: usize, alignment: usize) -> Option<*mut u8> {
    let layout = Layout::from_size_align(bytes, alignment)
        .ok()
        .filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc::alloc::alloc_zeroed(layout) };
    (!start.is_null()).then_some(start)
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

/// Gives back what [`allocate`] or [`allocate_zeroed`] gave.
///
/// # Safety
///
/// `start` came from one of them with the same size and alignment, and nothing uses it any more.
pub unsafe fn free(start: *mut u8, bytes: usize, alignment: usize) {
    if let Ok(layout) = Layout::from_size_align(bytes, alignment) {
        // SAFETY: the caller vouches for pointer and layout.
        unsafe { alloc::alloc::dealloc(start, layout) }
    }
}
