//! Where things lie: the image, and the constant map that all vCPUs run on, a GiB of devices, two
//! of memory, and the first of these again for EL0.

pub use host_abi::binding::MAX_VCPUS;

/// How far above its address EL0 has the first GiB of memory.
pub const USER_OFFSET: u64 = 2 << 30;

#[repr(C, align(4096))]
pub(crate) struct Table([u64; 512]);

/// The level-1 translation table, for TTBR0_EL1.
pub(crate) static TRANSLATION_TABLE: Table = {
    // Block, AF, inner shareable; AttrIndx 1 (normal) or 0 with UXN and PXN (device); AP[1]: EL0
    // too.
    const NORMAL: u64 = 1 << 10 | 0b11 << 8 | 1 << 2 | 1;
    const DEVICE: u64 = 0b11 << 53 | 1 << 10 | 1;
    const USER: u64 = NORMAL | 1 << 6;
    const GIB: u64 = 1 << 30;
    let mut entries = [0; 512];
    entries[0] = DEVICE;
    entries[1] = GIB | NORMAL;
    entries[2] = (2 * GIB) | NORMAL;
    entries[1 + (USER_OFFSET / GIB) as usize] = GIB | USER;
    Table(entries)
};

/// Where the image ends, the memory that it needs beyond the file included.
#[must_use]
pub fn image_end() -> u64 {
    unsafe extern "C" {
        static image_end: u8;
    }
    (&raw const image_end) as u64
}
