//! The virtual timer and the EL1 physical timer (DDI0487J.a, D11.2).

use super::registers::{read, write};

/// The INTID of the virtual timer's interrupt.
pub const VIRTUAL_TIMER: u32 = 27;
/// The INTID of the EL1 physical timer's interrupt.
pub const PHYSICAL_TIMER: u32 = 30;

/// CNTV_CTL_EL0 and CNTP_CTL_EL0: ENABLE.
pub const ENABLE: u64 = 1;
/// IMASK: the condition raises no interrupt.
pub const MASK: u64 = 1 << 1;
/// ISTATUS: the condition is met.
pub const STATUS: u64 = 1 << 2;

/// A timer of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The virtual timer.
    Virtual,
    /// The EL1 physical timer.
    Physical,
}

impl Timer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Virtual, Self::Physical];

    /// The INTID of its interrupt, a PPI.
    #[must_use]
    pub const fn interrupt(self) -> u32 {
        match self {
            Self::Virtual => VIRTUAL_TIMER,
            Self::Physical => PHYSICAL_TIMER,
        }
    }

    /// What it counts by.
    #[must_use]
    pub fn now(self) -> u64 {
        // SAFETY: a barrier, so that the counter is not read ahead of what comes before.
        unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
        match self {
            Self::Virtual => read!("cntvct_el0"),
            Self::Physical => read!("cntpct_el0"),
        }
    }

    /// Its control register.
    #[must_use]
    pub fn control(self) -> u64 {
        match self {
            Self::Virtual => read!("cntv_ctl_el0"),
            Self::Physical => read!("cntp_ctl_el0"),
        }
    }

    /// Sets its control register.
    pub fn set_control(self, value: u64) {
        // SAFETY: the timer is the guest's.
        unsafe {
            match self {
                Self::Virtual => write!("cntv_ctl_el0", value),
                Self::Physical => write!("cntp_ctl_el0", value),
            }
        }
    }

    /// Sets the value of the counter from which on its condition is met.
    pub fn set_compare_value(self, value: u64) {
        // SAFETY: the timer is the guest's.
        unsafe {
            match self {
                Self::Virtual => write!("cntv_cval_el0", value),
                Self::Physical => write!("cntp_cval_el0", value),
            }
        }
    }

    /// Sets how many ticks from now on its condition is met: 32 bits with a sign.
    pub fn set_timer_value(self, ticks: i32) {
        // SAFETY: the timer is the guest's.
        unsafe {
            match self {
                Self::Virtual => write!("cntv_tval_el0", u64::from(ticks as u32)),
                Self::Physical => write!("cntp_tval_el0", u64::from(ticks as u32)),
            }
        }
    }

    /// The interrupt comes `ticks` from now.
    pub fn set(self, ticks: u64) {
        self.set_compare_value(self.now().saturating_add(ticks));
        self.set_control(ENABLE);
    }

    /// No interrupt comes any more.
    pub fn stop(self) {
        self.set_control(0);
    }
}

/// The virtual counter.
#[must_use]
pub fn now() -> u64 {
    Timer::Virtual.now()
}

/// The virtual timer's interrupt comes `ticks` from now.
pub fn set(ticks: u64) {
    Timer::Virtual.set(ticks);
}

/// The virtual timer's interrupt comes no more.
pub fn stop() {
    Timer::Virtual.stop();
}

/// Milliseconds in ticks.
#[must_use]
pub fn milliseconds(count: u64) -> u64 {
    super::registers::counter_frequency() / 1000 * count
}

/// Stops the vCPU until an interrupt is pending; interrupts stay masked.
pub fn wait_for_interrupt() {
    // SAFETY: the barrier and WFI change no state; masked interrupts end the wait too.
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nostack, preserves_flags)) }
}
