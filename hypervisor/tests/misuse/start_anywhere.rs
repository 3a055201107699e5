//! Has a CPU execute at EL2 what lies at any address.

#![no_std]
#![deny(unsafe_code)]

use hypervisor::arch::smc;

/// The mistake.
pub fn start_anywhere() -> Result<(), i32> {
    smc::cpu_on(1, 0x4000_0000, 0)
}
