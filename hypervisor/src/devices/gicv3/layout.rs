//! The frames of the interrupt controller, and its interrupts.

/// Bytes of the distributor's frame.
pub const DISTRIBUTOR_SIZE: u64 = 0x1_0000;
/// Bytes of a vCPU's redistributor: the RD frame, then the SGI frame.
pub const REDISTRIBUTOR_STRIDE: u64 = 0x2_0000;

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
