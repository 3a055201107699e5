//! What is stage 2's own: the attributes of its leaves, and the register that says how it is
//! walked.
//!
//! Source: DDI0487J.a, chapter D8: "Stage 2 memory region type and Cacheability attributes" for
//! MemAttr, and chapter D19 for VTCR_EL2.

use crate::mm::tables::{Attributes, IPA_BITS};

/// MemAttr 0b1111: normal memory, inner and outer write-back cacheable.
const MEMORY_WRITE_BACK: u64 = 0b1111 << 2;
/// S2AP 0b11: read and write.
const READ_WRITE: u64 = 0b11 << 6;
/// MemAttr 0b0001: Device-nGnRE, as Linux maps registers.
const DEVICE_REGISTERS: u64 = 0b0001 << 2;
/// XN, bits 54 and 53: 0b10.
const NOT_EXECUTABLE: u64 = 0b10 << 53;

/// A guest's own memory: normal, write-back, inner shareable, which it reads, writes and executes.
pub const MEMORY: Attributes = Attributes::new(MEMORY_WRITE_BACK | READ_WRITE);

/// The registers of a device that is the guest's own.
pub const REGISTERS: Attributes = Attributes::new(DEVICE_REGISTERS | READ_WRITE | NOT_EXECUTABLE);

/// VTCR_EL2.T0SZ: the size of the IPA space is 2^(64 − T0SZ).
pub const VTCR_T0SZ: u64 = 64 - IPA_BITS as u64;
/// VTCR_EL2.SL0 = 1: with the 4 KiB granule, walks start at level 1.
pub const VTCR_SL0_LEVEL_1: u64 = 1 << 6;
/// VTCR_EL2.IRGN0: walks are inner write-back, write-allocate cacheable.
pub const VTCR_IRGN0_WRITE_BACK: u64 = 1 << 8;
/// VTCR_EL2.ORGN0: the same for outer caches.
pub const VTCR_ORGN0_WRITE_BACK: u64 = 1 << 10;
/// VTCR_EL2.SH0: walks are inner shareable.
pub const VTCR_SH0_INNER: u64 = 3 << 12;
/// VTCR_EL2.TG0 = 0: 4 KiB granule.
pub const VTCR_TG0_4K: u64 = 0 << 14;
/// Where VTCR_EL2.PS, the size of physical addresses, stands.
pub const VTCR_PS_SHIFT: u32 = 16;
/// VTCR_EL2 bit 31 is RES1.
pub const VTCR_RES1: u64 = 1 << 31;

/// 48 bits, the most that descriptors of the 4 KiB granule can say without FEAT_LPA2.
const PS_48_BITS: u64 = 0b101;

/// The value of VTCR_EL2 (DDI0487J.a, chapter D19) for these tables; `pa_range` is
/// ID_AA64MMFR0_EL1.PARange. VMIDs have 8 bits (VS = 0).
#[must_use]
pub const fn vtcr(pa_range: u64) -> u64 {
    let pa_range = pa_range & 0xf;
    let ps = if pa_range > PS_48_BITS {
        PS_48_BITS
    } else {
        pa_range
    };
    VTCR_RES1
        | ps << VTCR_PS_SHIFT
        | VTCR_TG0_4K
        | VTCR_SH0_INNER
        | VTCR_ORGN0_WRITE_BACK
        | VTCR_IRGN0_WRITE_BACK
        | VTCR_SL0_LEVEL_1
        | VTCR_T0SZ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_register_says_what_the_tables_are() {
        // Cortex-A57: 44 bits of PA. T0SZ 25, SL0 1, write-back inner shareable walks.
        assert_eq!(vtcr(4), 0x8004_3559);
        assert_eq!(vtcr(6), 0x8005_3559, "52 bits are not offered");
    }
}
