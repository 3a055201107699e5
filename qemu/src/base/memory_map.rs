//! Where what all machines have lies in physical memory (docs/device-tree.md, "Physical memory").

/// Memory is given out in blocks of 2 MiB: what one entry of a level-2 translation table covers
/// with a 4 KiB granule (DDI0487, D8.2.8).
pub const BLOCK: u64 = 2 << 20;
/// Where memory begins, with the device tree in the first block.
pub const MEMORY_BASE: u64 = 0x4000_0000;
/// What the device tree may have, in the file and after the firmware's edits.
pub const DEVICE_TREE_MAX: u64 = 1 << 20;
/// Where the hypervisor lies and is entered.
pub const HYPERVISOR_BASE: u64 = 0x6000_0000;
/// The hypervisor's image, tables and heap.
pub const HYPERVISOR_SIZE: u64 = 32 << 20;
/// Where the first module lies.
pub const MODULES_BASE: u64 = HYPERVISOR_BASE + HYPERVISOR_SIZE;
