//! The frames of the interrupt controller, and its interrupts.

/// The first INTID of an SPI.
pub const FIRST_SPI: u32 = 32;
/// SPIs of a VM.
pub const SPIS: u32 = 64;

/// A register that the guest accesses, by its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// In the distributor.
    Distributor(u64),
    /// In the redistributor of a vCPU.
    Redistributor(usize, u64),
}
