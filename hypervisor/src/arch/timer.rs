//! The counter, and EL2's own timer that ends time slices and wakes vCPUs that wait for theirs.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::arch::access::{self, read, write};

/// The EL2 physical timer's interrupt (PPI 10).
pub const HYPERVISOR_TIMER: u32 = 26;
/// The virtual timer's interrupt (PPI 11).
pub const VIRTUAL_TIMER: u32 = 27;
/// The EL1 physical timer's interrupt (PPI 14).
pub const PHYSICAL_TIMER: u32 = 30;

/// CNTV_CTL_EL0 and CNTP_CTL_EL0 (DDI0487J.a, D19.12): ENABLE, IMASK and ISTATUS.
const ENABLE: u64 = 1;
const MASK: u64 = 1 << 1;
const STATUS: u64 = 1 << 2;

/// Whether a timer with this control register will interrupt when its time comes.
#[must_use]
pub fn is_armed(control: u64) -> bool {
    control & (ENABLE | MASK) == ENABLE
}

/// Whether the guest's timer behind PPI `intid` holds its interrupt up on this CPU; `true` where it
/// is no timer's.
#[must_use]
pub fn is_asserted(intid: u32) -> bool {
    let control = match intid {
        VIRTUAL_TIMER => read!("cntv_ctl_el0"),
        PHYSICAL_TIMER => read!("cntp_ctl_el0"),
        _ => return true,
    };
    control & (ENABLE | MASK | STATUS) == ENABLE | STATUS
}

/// Where the counter stood when the first CPU arrived at EL2.
static ENTERED: AtomicU64 = AtomicU64::new(0);

/// Keeps where the counter stood when the first CPU arrived.
pub fn set_entered(count: u64) {
    ENTERED.store(count, Ordering::Relaxed);
}

/// How long ago the first CPU arrived at EL2.
#[must_use]
pub fn since_entered() -> Duration {
    let ticks = now().saturating_sub(ENTERED.load(Ordering::Relaxed));
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(frequency().max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// The physical counter, in ticks of [`frequency`].
#[must_use]
pub fn now() -> u64 {
    // The read is not to be made early.
    access::synchronize();
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

/// Turns this CPU's timers of guests off, so that they do not fire for a vCPU that is not there.
pub fn disable_guest_timers() {
    // SAFETY: the vCPU whose timers these were has been saved.
    unsafe {
        write!("cntv_ctl_el0", 0);
        write!("cntp_ctl_el0", 0);
    }
}
