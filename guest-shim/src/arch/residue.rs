//! What the registers of a vCPU hold when it starts.

/// What registers held when a vCPU started, for those that a started vCPU finds undefined or zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residue {
    /// All of x1 to x30, ORed.
    pub general: u64,
    /// SP_EL0.
    pub sp_el0: u64,
    /// TPIDR_EL0, TPIDRRO_EL0 and TPIDR_EL1, ORed.
    pub thread_pointers: u64,
    /// ELR_EL1, FAR_EL1 and PAR_EL1, ORed.
    pub addresses: u64,
    /// TTBR0_EL1, TTBR1_EL1 and VBAR_EL1, ORed.
    pub tables: u64,
    /// CONTEXTIDR_EL1.
    pub context_id: u64,
}
