//! Calls of a firmware that is a function.

use crate::arch::fake;
use smccc::CallRegisters;

/// Issues a call with x0 to x7 and gives back the same.
///
/// # Safety
///
/// None here: on the machine there are conditions.
pub unsafe fn smc(registers: [u64; 8]) -> [u64; 8] {
    let mut all: CallRegisters = [0; 18];
    all[..8].copy_from_slice(&registers);
    fake::call_firmware(&mut all);
    core::array::from_fn(|n| all[n])
}

/// Issues a call with all registers.
///
/// # Safety
///
/// None here: on the machine there are conditions.
pub unsafe fn smc_with_all(registers: &mut CallRegisters) {
    fake::call_firmware(registers);
}
