//! How much a CPU did in EL2: its performance monitor counts instructions and cycles of EL2 alone.
//!
//! Guests have no performance monitor, so all of it is EL2's (DDI0487J.a, D11).

use crate::arch::access::{self, read, write};

/// What was counted since some moment. Both counters go on; differences count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions, modulo 2³²; always 0 on a CPU that can't count them.
    pub instructions: u32,
    /// Cycles.
    pub cycles: u64,
}

/// PMCR_EL0: E (on), LC (cycles in 64 bits), with all counters reset by P and C.
const CONTROL: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 6;
/// PMEVTYPER0_EL0 and PMCCFILTR_EL0: neither EL1 (P) nor EL0 (U), but EL2 (NSH). EL3, for M differs
/// from P, does not count.
const EL2_ALONE: u64 = 1 << 31 | 1 << 30 | 1 << 27;
/// INST_RETIRED, and its bit in PMCEID0_EL0.
const INSTRUCTIONS: u64 = 0x08;
/// PMCNTENSET_EL0: the cycle counter and event counter 0.
const COUNTERS: u64 = 1 << 31 | 1;

/// Starts this CPU's counters, where it has them.
pub fn init_cpu() {
    if !is_present() {
        return;
    }
    // SAFETY: counting changes nothing but the counters.
    unsafe {
        write!("pmcr_el0", CONTROL);
        write!("pmccfiltr_el0", EL2_ALONE);
        if has_instructions() {
            write!("pmevtyper0_el0", EL2_ALONE | INSTRUCTIONS);
        }
        write!("pmcntenset_el0", COUNTERS);
        access::synchronize();
    }
}

/// Whether CPUs have a performance monitor (ID_AA64DFR0_EL1.PMUVer: 0 is none, 15 is one of another
/// kind).
#[must_use]
pub fn is_present() -> bool {
    !matches!(read!("id_aa64dfr0_el1") >> 8 & 0xf, 0 | 0xf)
}

/// Whether the performance monitor, which is present, counts instructions: QEMU's does only where
/// it runs by instructions.
#[must_use]
pub fn has_instructions() -> bool {
    let counters = read!("pmcr_el0") >> 11 & 0x1f;
    counters > 0 && read!("pmceid0_el0") >> INSTRUCTIONS & 1 == 1
}

/// What this CPU counted so far. The performance monitor is present.
#[must_use]
#[inline]
pub fn counts() -> Counts {
    Counts {
        instructions: read!("pmevcntr0_el0") as u32,
        cycles: read!("pmccntr_el0"),
    }
}
