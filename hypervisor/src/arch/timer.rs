//! The counter, and EL2's own timer that ends time slices and wakes vCPUs that wait for theirs.

use super::registers::{read, write};

/// The EL2 physical timer's interrupt (PPI 10).
pub const HYPERVISOR_TIMER: u32 = 26;
/// The virtual timer's interrupt (PPI 11).
pub const VIRTUAL_TIMER: u32 = 27;

/// The physical counter, in ticks of [`frequency`].
#[must_use]
pub fn now() -> u64 {
    // SAFETY: the barrier keeps the read from being made early.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
    read!("cntpct_el0")
}

/// Ticks a second.
#[must_use]
pub fn frequency() -> u64 {
    read!("cntfrq_el0")
}

/// Sets EL2's timer to fire when the counter reaches `deadline`, or turns it off.
pub fn set_deadline(deadline: Option<u64>) {
    // SAFETY: EL2's timer; its interrupt is handled by the run loop.
    unsafe {
        if let Some(deadline) = deadline {
            write!("cnthp_cval_el2", deadline);
            write!("cnthp_ctl_el2", 1);
        } else {
            write!("cnthp_ctl_el2", 0);
        }
    }
}

/// Turns this CPU's virtual timer off, so that it does not fire for a vCPU that is not there.
pub fn disable_virtual() {
    // SAFETY: the vCPU whose timer this was has been saved.
    unsafe { write!("cntv_ctl_el0", 0) }
}
