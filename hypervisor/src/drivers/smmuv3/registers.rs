//! Registers of the SMMU (IHI0070F.b, chapter 6).

use addresses::Pa;

/// Where registers are, in bytes from the SMMU's base.
pub(super) mod offset {
    pub const IDR0: u64 = 0x00;
    pub const IDR1: u64 = 0x04;
    pub const IDR5: u64 = 0x14;
    pub const CR0: u64 = 0x20;
    pub const CR0ACK: u64 = 0x24;
    pub const CR1: u64 = 0x28;
    pub const CR2: u64 = 0x2c;
    pub const GBPA: u64 = 0x44;
    pub const IRQ_CTRL: u64 = 0x50;
    pub const GERROR: u64 = 0x60;
    pub const GERRORN: u64 = 0x64;
    pub const STRTAB_BASE: u64 = 0x80;
    pub const STRTAB_BASE_CFG: u64 = 0x88;
    pub const CMDQ_BASE: u64 = 0x90;
    pub const CMDQ_PROD: u64 = 0x98;
    pub const CMDQ_CONS: u64 = 0x9c;
    pub const EVENTQ_BASE: u64 = 0xa0;
    /// In the second page of 64 KiB.
    pub const EVENTQ_PROD: u64 = 0x1_00a8;
    pub const EVENTQ_CONS: u64 = 0x1_00ac;
}

/// Bytes of the registers that are used: two pages of 64 KiB.
pub const SIZE: u64 = 0x2_0000;

/// How registers are reached. What was written to memory before a write is visible to the SMMU.
pub trait Registers: Send + Sync {
    /// Reads 32 bits.
    fn read32(&self, offset: u64) -> u32;
    /// Writes 32 bits.
    fn write32(&self, offset: u64, value: u32);
    /// Writes 64 bits.
    fn write64(&self, offset: u64, value: u64);
}

/// The registers of an SMMU of the machine.
#[derive(Debug)]
pub struct MmioRegisters(Pa);

impl MmioRegisters {
    /// Those from `base` on.
    ///
    /// # Safety
    ///
    /// An SMMUv3 that EL2 maps as a device, [`SIZE`] bytes, lies there, and nobody else drives it.
    #[must_use]
    pub unsafe fn new(base: Pa) -> Self {
        Self(base)
    }

    fn at(&self, offset: u64) -> u64 {
        assert!(offset < SIZE, "registers lie in the SMMU's two pages");
        self.0.0 + offset
    }
}

impl Registers for MmioRegisters {
    fn read32(&self, offset: u64) -> u32 {
        // SAFETY: `new`'s caller vouches for the registers, in whose pages this is.
        unsafe { (self.at(offset) as *const u32).read_volatile() }
    }

    fn write32(&self, offset: u64, value: u32) {
        crate::arch::cache::order_stores();
        // SAFETY: as in `read32`; EL2 drives the SMMU, and what it is told to reach are tables and
        // queues of this driver.
        unsafe { (self.at(offset) as *mut u32).write_volatile(value) }
    }

    fn write64(&self, offset: u64, value: u64) {
        crate::arch::cache::order_stores();
        // SAFETY: as in `write32`.
        unsafe { (self.at(offset) as *mut u64).write_volatile(value) }
    }
}
