//! What interrupts mean to the run loop.

/// What a physical interrupt means to the run loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Another CPU says that something changed for a vCPU of this one.
    Kick,
    /// The list registers want attention.
    Maintenance,
    /// EL2's own timer.
    HypervisorTimer,
    /// A timer of the guest's, by its INTID: active until the guest deactivates it.
    GuestTimer(u32),
    /// The shared interrupt of a guest's device: active until the guest deactivates it.
    GuestDevice(u32),
    /// A shared interrupt of EL2's own.
    Shared(u32),
}
