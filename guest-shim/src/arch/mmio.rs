//! Registers of devices. A hypervisor can emulate plain loads and stores alone (DDI0487J.a,
//! D19.2.37, "ISV"), so the instructions are not left to the compiler, which likes to write
//! addresses back.

/// Reads the 32-bit register at `address`.
///
/// # Safety
///
/// A device of the guest has a register there that may be read.
pub unsafe fn read(address: u64) -> u32 {
    let value: u32;
    // SAFETY: the caller vouches for the address; a device's memory is none of Rust's.
    unsafe {
        core::arch::asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags));
    }
    value
}

/// Writes the 32-bit register at `address`.
///
/// # Safety
///
/// A device of the guest has a register there, and writing the value does not touch what Rust
/// relies on.
pub unsafe fn write(address: u64, value: u32) {
    // SAFETY: the caller vouches for address and value.
    unsafe {
        core::arch::asm!("str {:w}, [{}]", in(reg) value, in(reg) address, options(nostack, preserves_flags));
    }
}
