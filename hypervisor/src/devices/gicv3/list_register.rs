//! List registers: how interrupts get to a vCPU (IHI0069H, `ICH_LR<n>_EL2`).

/// Bits 31..0: the INTID that the guest sees.
pub const VINTID_MASK: u64 = 0xffff_ffff;
/// Bit 41, with `HW` clear: a maintenance interrupt when the guest deactivates the interrupt.
pub const EOI: u64 = 1 << 41;
/// Where the physical INTID stands when `HW` is set.
pub const PINTID_SHIFT: u32 = 32;
/// Where the priority stands.
pub const PRIORITY_SHIFT: u32 = 48;
/// Bit 60: Group 1.
pub const GROUP_1: u64 = 1 << 60;
/// Bit 61: the guest's deactivation deactivates the physical interrupt.
pub const HW: u64 = 1 << 61;
/// Bit 62 of the state: pending.
pub const PENDING: u64 = 1 << 62;
/// Bit 63 of the state: active.
pub const ACTIVE: u64 = 1 << 63;

/// The most list registers that the architecture allows.
pub const MAX_LIST_REGISTERS: usize = 16;

/// When the maintenance interrupt asks for more (IHI0069H §12.4.5, ICH_HCR_EL2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refill {
    /// Never.
    #[default]
    Never,
    /// UIE: at most one list register is still in use.
    Underflow,
    /// NPIE: no list register is pending.
    NonePending,
}

/// The list registers of this CPU, with what belongs to them.
///
/// They are empty when a vCPU comes to the CPU.
pub trait ListRegisters {
    /// `ICH_LR<n>_EL2`.
    fn read(&self, n: usize) -> u64;

    /// Sets `ICH_LR<n>_EL2`.
    fn write(&mut self, n: usize, value: u64);

    /// Sets when the maintenance interrupt asks for more interrupts in the list registers.
    fn set_refill(&mut self, when: Refill);

    /// ICH_VMCR_EL2.VEOIM: the guest's end of an interrupt drops its priority and leaves it active
    /// (EOImode 1).
    fn drops_priority_only(&self) -> bool;

    /// Reads ICH_HCR_EL2.EOIcount and sets it to zero: how many interrupts the guest deactivated
    /// that were in no list register.
    fn take_eoi_count(&mut self) -> u32;

    /// Whether the device behind the physical PPI `intid` of this CPU, which is level-sensitive,
    /// holds its input up.
    fn physical_asserted(&self, intid: u32) -> bool;

    /// Makes the physical interrupt `intid`, an SPI or a PPI of this CPU, inactive: the guest gave
    /// it up in another way than by its list register.
    fn deactivate_physical(&mut self, intid: u32);
}
