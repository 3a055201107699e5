//! Vouches for something where nobody may.

#![no_std]
#![deny(unsafe_code)]

use hypervisor::arch::smc;

/// The mistake.
pub fn unsafe_block() -> Result<(), i32> {
    // SAFETY: there is none.
    unsafe { smc::cpu_on(1, 0x4000_0000, 0) }
}
