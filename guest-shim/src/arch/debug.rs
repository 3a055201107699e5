//! The debug registers (DDI0487J.a, D19.3), as a kernel uses them for its programs and for itself.

use super::exceptions::{Caught, catch};
use super::registers::{read, write};

/// MDSCR_EL1.
const SS: u64 = 1;
const KDE: u64 = 1 << 13;
const MDE: u64 = 1 << 15;

/// `DBGBCR<n>_EL1` and `DBGWCR<n>_EL1`: E, PMC or PAC = EL0, and BAS: a whole instruction, or four
/// bytes, for stores and loads.
pub const AT_EL0: Control = Control {
    breakpoint: 0b1111 << 5 | 0b10 << 1 | 1,
    watchpoint: 0b1111 << 5 | 0b11 << 3 | 0b10 << 1 | 1,
};

/// The same at EL1.
pub const AT_EL1: Control = Control {
    breakpoint: 0b1111 << 5 | 0b01 << 1 | 1,
    watchpoint: 0b1111 << 5 | 0b11 << 3 | 0b01 << 1 | 1,
};

/// Neither stops anything.
pub const OFF: Control = Control {
    breakpoint: 0,
    watchpoint: 0,
};

/// What a breakpoint or watchpoint stops.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    breakpoint: u64,
    watchpoint: u64,
}

macro_rules! write_pair {
    ($value:literal, $control:literal, $number:expr, $new_value:expr, $new_control:expr, $($n:literal)*) => {
        match $number {
            // SAFETY: the debug exceptions that follow are caught: those of EL0 end `user::run`,
            // those of EL1 are waited for.
            $($n => unsafe {
                write!(concat!($value, $n, "_el1"), $new_value);
                write!(concat!($control, $n, "_el1"), $new_control);
            },)*
            _ => {}
        }
    };
}

/// Sets breakpoint `number`, 0 to 15, of this vCPU.
pub fn set_breakpoint(number: u64, address: u64, control: Control) {
    write_pair!("dbgbvr", "dbgbcr", number, address, control.breakpoint, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Sets watchpoint `number`, 0 to 15, of this vCPU.
pub fn set_watchpoint(number: u64, address: u64, control: Control) {
    write_pair!("dbgwvr", "dbgwcr", number, address, control.watchpoint, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// OSLSR_EL1.
#[must_use]
pub fn os_lock_status() -> u64 {
    read!("oslsr_el1")
}

/// Locks or unlocks the OS lock.
pub fn set_os_lock(locked: bool) {
    // SAFETY: it holds debug exceptions back, and nothing else.
    unsafe { write!("oslar_el1", u64::from(locked)) }
}

/// Debug exceptions are on for as long as this lives; the OS lock is unlocked.
#[derive(Debug)]
pub struct Debugged(());

impl Debugged {
    /// Breakpoints and watchpoints, of EL0 and EL1.
    #[must_use]
    pub fn new() -> Self {
        Self::with(MDE | KDE)
    }

    /// Single steps.
    #[must_use]
    pub fn stepping() -> Self {
        Self::with(SS)
    }

    fn with(control: u64) -> Self {
        set_os_lock(false);
        // SAFETY: as for breakpoints.
        unsafe { write!("mdscr_el1", control) }
        Self(())
    }
}

impl Default for Debugged {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Debugged {
    fn drop(&mut self) {
        // SAFETY: no debug exceptions come any more.
        unsafe { write!("mdscr_el1", 0) }
    }
}

/// Executes an instruction at EL1 that breakpoint 0 is set at, and gives the exception. Debug
/// exceptions are on.
#[must_use]
pub fn caught_at_own_breakpoint() -> Option<Caught> {
    unsafe extern "C" {
        fn stopped_function();
    }
    set_breakpoint(0, stopped_function as *const () as u64, AT_EL1);
    // SAFETY: unmasks debug exceptions, executes an instruction that does nothing, and masks them
    // again.
    let caught = catch(|| unsafe {
        core::arch::asm!("msr daifclr, #8", "isb", "bl stopped_function", "msr daifset, #8", out("x30") _);
    });
    set_breakpoint(0, 0, OFF);
    caught
}

core::arch::global_asm!(
    ".pushsection .text.stopped_function, \"ax\"",
    ".global stopped_function",
    "stopped_function:",
    "nop",
    "ret",
    ".popsection",
);
