//! Configuration space, by ECAM (PCI Express Base Specification 6.0, 7.2.2).

use addresses::Pa;
use pci_types::{ConfigRegionAccess, PciAddress};

/// Bytes of configuration space of a bus.
pub const BUS_SIZE: u64 = 1 << 20;

/// How configuration space is reached, 32 bits at an offset that is a multiple of 4. Where nothing
/// is, all bits read as one.
pub trait Configuration: Send + Sync {
    /// Reads.
    fn read(&self, function: PciAddress, offset: u16) -> u32;
    /// Writes.
    fn write(&self, function: PciAddress, offset: u16, value: u32);
}

/// The same for `pci_types`, which writes the status register back with the command register. What
/// is set there would be cleared.
pub(super) struct Access<'a>(pub(super) &'a dyn Configuration);

/// The command register, with the status register in the upper half of the word.
const COMMAND: u16 = 0x04;

impl ConfigRegionAccess for Access<'_> {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.0.read(address, offset)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let value = if offset == COMMAND {
            value & 0xffff
        } else {
            value
        };
        self.0.write(address, offset, value);
    }
}

/// Configuration space in memory.
#[derive(Debug)]
pub struct Ecam {
    base: Pa,
    buses: u64,
}

impl Ecam {
    /// That of buses from 0 on, [`BUS_SIZE`] bytes each.
    ///
    /// # Safety
    ///
    /// It lies there, EL2 maps it as a device, and nobody else uses it.
    #[must_use]
    pub unsafe fn new(base: Pa, buses: u64) -> Self {
        Self { base, buses }
    }

    fn at(&self, function: PciAddress, offset: u16) -> Option<u64> {
        let bus = u64::from(function.bus());
        let within = u64::from(function.device()) << 15 | u64::from(function.function()) << 12;
        let offset = u64::from(offset & 0xffc);
        (bus < self.buses).then_some(self.base.0 + bus * BUS_SIZE + within + offset)
    }
}

impl Configuration for Ecam {
    fn read(&self, function: PciAddress, offset: u16) -> u32 {
        let register = self.at(function, offset);
        // SAFETY: it lies in the buses that `new`'s caller vouches for; reading configuration
        // space changes nothing that EL2 relies on.
        register.map_or(u32::MAX, |at| unsafe { (at as *const u32).read_volatile() })
    }

    fn write(&self, function: PciAddress, offset: u16, value: u32) {
        if let Some(at) = self.at(function, offset) {
            // SAFETY: it lies in the buses that `new`'s caller vouches for. What functions then do
            // goes through the SMMU.
            unsafe { (at as *mut u32).write_volatile(value) }
        }
    }
}
