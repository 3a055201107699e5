//! Deactivates an interrupt of a CPU that this may not run on.

#![no_std]
#![deny(unsafe_code)]

use hypervisor::drivers::gicv3;

/// The mistake.
pub fn other_cpus_interrupt() {
    gicv3::deactivate_ppis(1, 1 << 27);
}
