//! Memory outside of what Rust manages: the rest of the guest's RAM, and caches.

/// The granule of cache maintenance: no CPU has smaller lines.
const LINE: usize = 16;

/// Writes what caches hold of `len` bytes at `start` to memory.
pub fn clean(start: u64, len: usize) {
    for line in (0..len).step_by(LINE) {
        // SAFETY: cleaning a line changes no content.
        unsafe {
            core::arch::asm!("dc cvac, {}", in(reg) start + line as u64, options(nostack, preserves_flags));
        }
    }
    // SAFETY: a barrier.
    unsafe { core::arch::asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// Makes instructions of `len` bytes that were written at `start` those that this vCPU executes, at
/// whatever address.
pub fn publish_instructions(start: u64, len: usize) {
    clean(start, len);
    // SAFETY: the vCPU fetches its instructions anew.
    unsafe {
        core::arch::asm!(
            "ic ialluis",
            "dsb sy",
            "isb",
            options(nostack, preserves_flags)
        );
    }
}

/// Memory of the guest between the image and the end of RAM, less the device tree, by 64-bit words.
/// Addresses are checked against what the environment says.
#[derive(Clone, Copy, Debug)]
pub struct SpareMemory {
    start: u64,
    end: u64,
}

impl SpareMemory {
    /// The upper half of `memory` (start and length in bytes), where neither image nor tree are.
    #[must_use]
    pub fn of((start, len): (u64, u64)) -> Self {
        Self {
            start: (start + len / 2).max(super::layout::image_end()) & !7,
            end: (start + len) & !7,
        }
    }

    /// Its first address and the first behind it.
    #[must_use]
    pub fn bounds(&self) -> (u64, u64) {
        (self.start, self.end)
    }

    fn pointer(&self, address: u64) -> *mut u64 {
        assert!(
            (self.start..self.end).contains(&address) && address.is_multiple_of(8),
            "{address:#x} is no spare memory"
        );
        address as *mut u64
    }

    /// The word at `address`.
    #[must_use]
    pub fn read(&self, address: u64) -> u64 {
        // SAFETY: RAM of the guest that nothing else uses, mapped, and aligned: `pointer` checked
        // it.
        unsafe { self.pointer(address).read_volatile() }
    }

    /// Stores a word at `address`.
    pub fn write(&self, address: u64, value: u64) {
        // SAFETY: as for `read`.
        unsafe { self.pointer(address).write_volatile(value) }
    }
}

/// The flattened device tree at `address`.
#[must_use]
pub fn device_tree(address: u64) -> Option<&'static [u8]> {
    const MAGIC: u32 = 0xd00d_feed;
    const SIZE_MAX: u32 = 2 << 20;
    if address == 0 || !address.is_multiple_of(8) {
        return None;
    }
    let header = address as *const u32;
    // SAFETY: the boot protocol says that a device tree lies there; it is mapped, aligned and never
    // written.
    let [magic, size] = unsafe { [header.read(), header.add(1).read()] }.map(u32::from_be);
    if magic != MAGIC || size > SIZE_MAX {
        return None;
    }
    // SAFETY: the tree says how long it is, and that is within what the boot protocol allows.
    Some(unsafe { core::slice::from_raw_parts(header.cast(), size as usize) })
}

/// Reads a word of any IPA, which ends the guest where the hypervisor lets it have nothing there.
#[must_use]
pub fn trespass(address: u64) -> u64 {
    // SAFETY: a volatile load of mapped memory has no effect on what Rust relies on.
    unsafe { (address as *const u64).read_volatile() }
}
