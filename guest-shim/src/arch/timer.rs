//! The virtual timer (DDI0487J.a, D11.2).

use super::registers::{read, write};

/// CNTV_CTL_EL0: ENABLE.
const ENABLE: u64 = 1;

/// The virtual counter.
#[must_use]
pub fn now() -> u64 {
    // SAFETY: a barrier, so that the counter is not read ahead of what comes before.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
    read!("cntvct_el0")
}

/// The interrupt comes `ticks` from now.
pub fn set(ticks: u64) {
    // SAFETY: the timer is the guest's.
    unsafe {
        write!("cntv_cval_el0", now().saturating_add(ticks));
        write!("cntv_ctl_el0", ENABLE);
    }
}

/// No interrupt comes any more.
pub fn stop() {
    // SAFETY: the timer is the guest's.
    unsafe { write!("cntv_ctl_el0", 0) }
}

/// Ticks of so many milliseconds.
#[must_use]
pub fn milliseconds(count: u64) -> u64 {
    super::registers::counter_frequency() / 1000 * count
}

/// Stops the vCPU until an interrupt is pending; interrupts stay masked.
pub fn wait_for_interrupt() {
    // SAFETY: the barrier and WFI change no state; masked interrupts end the wait too.
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nostack, preserves_flags)) }
}
