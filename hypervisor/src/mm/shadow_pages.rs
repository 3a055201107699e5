//! Pages that a VM's mediator shares with the secure world.

use crate::arch::{heap, memory};
use addresses::{PAGE_SIZE, Pa};

const PAGE: usize = PAGE_SIZE as usize;

/// Pages of the heap that the secure world may read and write.
#[derive(Debug)]
pub struct ShadowPages {
    start: *mut u8,
    pages: usize,
}

// SAFETY: the pages are only reached through the copies below, which any CPU may make.
unsafe impl Send for ShadowPages {}
// SAFETY: as above.
unsafe impl Sync for ShadowPages {}

impl ShadowPages {
    /// `pages` pages, or `None` where the heap is full. What is in them was the hypervisor's
    /// before: only the mediator and the secure world look at them, each at what the other wrote.
    #[must_use]
    pub fn allocate(pages: usize) -> Option<Self> {
        Some(Self {
            start: heap::allocate(pages.checked_mul(PAGE)?, PAGE)?,
            pages,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Where page `page` lies.
    #[must_use]
    #[inline]
    pub fn pa(&self, page: usize) -> Pa {
        self.at(page, 0, 0)
    }

    /// Copies out of page `page` from `offset` on.
    #[inline]
    pub fn read(&self, page: usize, offset: usize, into: &mut [u8]) {
        let from = self.at(page, offset, into.len());
        // SAFETY: the range lies in this allocation, to which there are no references.
        unsafe { memory::read(from, into) }
    }

    /// Copies into page `page` from `offset` on.
    #[inline]
    pub fn write(&self, page: usize, offset: usize, from: &[u8]) {
        let to = self.at(page, offset, from.len());
        // SAFETY: the range lies in this allocation, to which there are no references.
        unsafe { memory::write(to, from) }
    }

    fn at(&self, page: usize, offset: usize, len: usize) -> Pa {
        assert!(
            page < self.pages && offset <= PAGE && len <= PAGE - offset,
            "a shadow access stays in its page"
        );
        // In the allocation, so nothing wraps.
        Pa(self
            .start
            .wrapping_add(page.wrapping_mul(PAGE))
            .wrapping_add(offset) as u64)
    }
}

impl Drop for ShadowPages {
    fn drop(&mut self) {
        // SAFETY: allocated in `allocate` with this size; the secure world has forgotten them when
        // the VM's TEE is gone.
        unsafe { heap::free(self.start, self.pages * PAGE, PAGE) }
    }
}
