//! Reads and writes of system registers by name, for those that no crate serves, and the
//! instructions that go with them.

/// Reads a system register that has no side effect when read. The register's name is a string
/// literal.
macro_rules! read {
    ($name:expr) => {{
        let value: u64;
        // SAFETY: reading the registers named in this crate changes nothing that Rust code relies
        // on.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack, preserves_flags));
        }
        value
    }};
}

/// Writes a system register. The caller's `unsafe` vouches that the value keeps EL2's own execution
/// intact.
macro_rules! write {
    ($name:expr, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags));
    }};
}

pub(crate) use {read, write};

/// What follows sees what was written to system registers before.
#[inline]
pub fn synchronize() {
    // SAFETY: a barrier.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
}

/// Stops this CPU until an interrupt is pending; interrupts stay masked.
pub fn wait_for_interrupt() {
    // SAFETY: the barrier and WFI change no state; masked interrupts end the wait too.
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nostack, preserves_flags)) }
}
