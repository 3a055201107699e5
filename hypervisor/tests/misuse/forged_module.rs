//! Makes a module out of any memory.

#![no_std]
#![deny(unsafe_code)]

use addresses::Pa;
use hypervisor::mm::boot_modules::BootModule;

/// The mistake.
pub fn forged_module() -> &'static [u8] {
    BootModule::new(Pa(0x4000_0000), 4096).bytes()
}
