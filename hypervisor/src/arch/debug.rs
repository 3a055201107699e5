//! The CPU's debug registers, which hold those of the vCPU that is loaded as far as it uses them.

use crate::arch::access::{self, read, write};
use crate::arch::debug_registers::{DebugRegisters, Pair, PairCounts};

macro_rules! write_pair {
    ($value:literal, $control:literal, $number:expr, $pair:expr, $($n:literal)*) => {
        match $number {
            $($n => {
                write!(concat!($value, $n, "_el1"), $pair.value);
                write!(concat!($control, $n, "_el1"), $pair.control);
            })*
            _ => {}
        }
    };
}

fn set_breakpoint(number: usize, pair: Pair) {
    // SAFETY: debug exceptions are not taken at EL2: they go to EL1 (MDCR_EL2.TDE), which is lower.
    unsafe {
        write_pair!("dbgbvr", "dbgbcr", number, pair, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
}

fn set_watchpoint(number: usize, pair: Pair) {
    // SAFETY: as for `set_breakpoint`.
    unsafe {
        write_pair!("dbgwvr", "dbgwcr", number, pair, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
}

/// How many breakpoints and watchpoints this CPU has.
#[must_use]
pub fn pair_counts() -> PairCounts {
    PairCounts::of(read!("id_aa64dfr0_el1"))
}

/// Unlocks this CPU's debug registers, for those that guests set, and turns all off.
pub fn init_cpu() {
    // SAFETY: the locks concern debug registers alone, none of which EL2 uses.
    unsafe {
        write!("osdlr_el1", 0);
        write!("oslar_el1", 0);
        access::synchronize();
        write!("mdccint_el1", 0);
    }
    load_control(&DebugRegisters::start());
    clear_pairs();
}

/// Loads MDSCR_EL1.
#[inline]
pub fn load_control(registers: &DebugRegisters) {
    // SAFETY: as for `set_breakpoint`.
    unsafe { write!("mdscr_el1", registers.hardware_mdscr()) }
}

/// Loads all breakpoints and watchpoints.
pub fn load_pairs(registers: &DebugRegisters) {
    let counts = pair_counts();
    let breakpoints = registers.hardware_breakpoints().take(counts.breakpoints);
    breakpoints
        .enumerate()
        .for_each(|(n, pair)| set_breakpoint(n, pair));
    let watchpoints = registers.hardware_watchpoints().take(counts.watchpoints);
    watchpoints
        .enumerate()
        .for_each(|(n, pair)| set_watchpoint(n, pair));
}

/// Turns all breakpoints and watchpoints off and forgets their addresses.
pub fn clear_pairs() {
    load_pairs(&DebugRegisters::start());
}
