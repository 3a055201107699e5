//! Makes a module out of bytes that are none.

#![no_std]
#![deny(unsafe_code)]

use hypervisor::mm::boot_modules::BootModule;

/// The mistake.
pub fn module_of_bytes() -> BootModule {
    BootModule { bytes: &[] }
}
