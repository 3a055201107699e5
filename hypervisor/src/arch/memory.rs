//! Physical memory as EL2 sees it (identity-mapped): copies, caches, stage-2 tables and shadow pages.
//!
//! Memory that a guest or the secure world can write is only touched by assembly, which the compiler does not look into,
//! and never through a Rust reference.

use crate::arch::heap;
use crate::mm::stage2::TableMemory;
use addresses::{PAGE_SIZE, Pa};
use core::arch::{asm, global_asm};
use mediator::ports::ShadowMemory;

const PAGE: usize = PAGE_SIZE as usize;

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

/// Copies `bytes` from one range of physical memory to another, and cleans the target to memory, where a CPU without
/// caches or an instruction fetch sees it.
///
/// # Safety
///
/// Both ranges are memory that EL2 maps, they do not overlap, and no Rust reference covers the target.
pub unsafe fn copy(to: Pa, from: Pa, bytes: u64) {
    // SAFETY: the caller vouches for both ranges.
    unsafe { copy_memory(to.0, from.0, bytes) }
    clean_and_invalidate(to.0, bytes);
}

/// Fills physical memory with zeros and cleans it to memory.
///
/// # Safety
///
/// The range is memory that EL2 maps, starts and ends on a page, and no Rust reference covers it.
pub unsafe fn zero(start: Pa, bytes: u64) {
    // DCZID_EL0.BS: log2 of the words that DC ZVA clears (DDI0487 D24.2.41); DZP is clear at EL2.
    let step = 4_u64 << (crate::arch::registers::read!("dczid_el0") & 0xf);
    let end = start.0 + bytes;
    let mut line = start.0;
    while line < end {
        // SAFETY: the line lies in the range that the caller vouches for, as a page is a multiple of the block.
        unsafe {
            asm!("dc zva, {line}", "dc civac, {line}", line = in(reg) line, options(nostack, preserves_flags));
        }
        line += step;
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// Cleans and invalidates the data cache for a range of addresses, to the point of coherency.
pub fn clean_and_invalidate(start: u64, bytes: u64) {
    // CTR_EL0.DminLine: log2 of the words in the smallest data cache line (DDI0487 D24.2.37).
    let step = 4_u64 << (crate::arch::registers::read!("ctr_el0") >> 16 & 0xf);
    let end = start + bytes;
    let mut line = start & !(step - 1);
    while line < end {
        // SAFETY: cleaning changes no content; every caller names memory that EL2 maps.
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

/// The device tree at `address`: as many bytes as its header says, or none where it is no tree or has more than `limit`.
///
/// # Safety
///
/// `limit` bytes from `address` on are memory that EL2 maps and nobody writes any more.
#[must_use]
pub unsafe fn device_tree(address: Pa, limit: u64) -> &'static [u8] {
    /// Magic and total size, both big-endian (Devicetree Specification 0.4, §5.2).
    const MAGIC: u32 = 0xd00d_feed;
    if address.0 == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for the range.
    let all = unsafe { core::slice::from_raw_parts(address.0 as *const u8, limit as usize) };
    let word = |n: usize| {
        all.get(4 * n..4 * n + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_be_bytes)
    };
    if word(0) == MAGIC {
        all.get(..word(1) as usize).unwrap_or_default()
    } else {
        &[]
    }
}

/// The bytes of a boot module.
///
/// A module lies in memory that the description of the machine sets aside and nobody writes after boot, which
/// [`crate::description`] checks and [`crate::mm::frames`] keeps.
#[must_use]
pub fn module(module: crate::description::Module) -> &'static [u8] {
    // SAFETY: the range was checked to lie in memory, is mapped, and is nobody's to write.
    unsafe { core::slice::from_raw_parts(module.pa.0 as *const u8, module.len as usize) }
}

/// Stage-2 tables in pages of the heap.
#[derive(Clone, Copy, Debug)]
pub struct HeapTables;

impl TableMemory for HeapTables {
    fn allocate_table(&mut self) -> Option<Pa> {
        heap::allocate_zeroed(PAGE, PAGE).map(|page| Pa(page as u64))
    }

    fn free_table(&mut self, table: Pa) {
        // SAFETY: `Stage2` gives back only what it allocated here, after the last VM that used it is gone.
        unsafe { heap::free(table.0 as *mut u8, PAGE, PAGE) }
    }

    fn read(&self, table: Pa, index: usize) -> u64 {
        assert!(index < PAGE / 8, "a table has 512 descriptors");
        // SAFETY: `table` came from `allocate_table`, and the index lies in the page.
        unsafe { (table.0 as *const u64).add(index).read_volatile() }
    }

    fn write(&mut self, table: Pa, index: usize, descriptor: u64) {
        assert!(index < PAGE / 8, "a table has 512 descriptors");
        // SAFETY: `table` came from `allocate_table`, and the index lies in the page. The table walker sees a whole
        // descriptor, since the store is one of 64 bits.
        unsafe { (table.0 as *mut u64).add(index).write_volatile(descriptor) }
    }
}

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
    /// `pages` pages, or `None` where the heap is full. What is in them was the hypervisor's before: only the mediator and
    /// the secure world look at them, each at what the other wrote.
    #[must_use]
    pub fn allocate(pages: usize) -> Option<Self> {
        Some(Self {
            start: heap::allocate(pages.checked_mul(PAGE)?, PAGE)?,
            pages,
        })
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
        // SAFETY: allocated in `allocate` with this size; the secure world has forgotten them when the VM's TEE is gone.
        unsafe { heap::free(self.start, self.pages * PAGE, PAGE) }
    }
}

impl ShadowMemory for ShadowPages {
    fn pages(&self) -> usize {
        self.pages
    }

    fn pa(&self, page: usize) -> Pa {
        self.at(page, 0, 0)
    }

    fn read(&self, page: usize, offset: usize, into: &mut [u8]) {
        let from = self.at(page, offset, into.len());
        // SAFETY: the range lies in this allocation, to which there are no references.
        unsafe { read(from, into) }
    }

    fn write(&self, page: usize, offset: usize, from: &[u8]) {
        let to = self.at(page, offset, from.len());
        // SAFETY: the range lies in this allocation, to which there are no references.
        unsafe { write(to, from) }
    }
}
