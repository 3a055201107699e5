//! System registers of the CPU that a thread is.

macro_rules! read {
    ($name:expr) => {
        $crate::arch::fake::register($name)
    };
}

macro_rules! write {
    ($name:expr, $value:expr) => {
        $crate::arch::access::set_register($name, $value)
    };
}

pub(crate) use {read, write};

/// Sets a system register.
///
/// # Safety
///
/// None here: on the machine there are conditions.
pub unsafe fn set_register(name: &str, value: u64) {
    crate::arch::fake::set_register(name, value);
}

/// Nothing waits for anything.
pub fn synchronize() {}

/// A CPU that has nothing to do.
///
/// # Panics
///
/// Always, so that a test ends.
pub fn wait_for_interrupt() {
    panic!("the CPU waits for an interrupt");
}
