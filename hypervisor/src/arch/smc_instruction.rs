//! The instruction.
//!
//! SMCCC (DEN0028G, §2.6 and §2.7) lets the callee change x0 to x17; the firmware keeps the rest.

use core::arch::asm;
use smccc::CallRegisters;

/// Issues a call with x0 to x7 and gives back the same.
///
/// # Safety
///
/// As for [`call`](crate::arch::smc::call).
#[inline]
pub unsafe fn smc(registers: [u64; 8]) -> [u64; 8] {
    let mut r = registers;
    // SAFETY: the firmware keeps x18 to x30 and SP; the caller vouches for what else it does. The
    // default memory clobber keeps accesses in order.
    unsafe {
        asm!(
            "smc #0",
            inout("x0") r[0], inout("x1") r[1], inout("x2") r[2], inout("x3") r[3],
            inout("x4") r[4], inout("x5") r[5], inout("x6") r[6], inout("x7") r[7],
            out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _,
            out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _,
            options(nostack),
        );
    }
    r
}

/// Issues a call with all the registers that SMCCC knows (§3.1).
///
/// # Safety
///
/// As for [`call`](crate::arch::smc::call).
#[inline]
pub unsafe fn smc_with_all(registers: &mut CallRegisters) {
    let r = registers;
    // SAFETY: as in `smc`.
    unsafe {
        asm!(
            "smc #0",
            inout("x0") r[0], inout("x1") r[1], inout("x2") r[2], inout("x3") r[3],
            inout("x4") r[4], inout("x5") r[5], inout("x6") r[6], inout("x7") r[7],
            inout("x8") r[8], inout("x9") r[9], inout("x10") r[10], inout("x11") r[11],
            inout("x12") r[12], inout("x13") r[13], inout("x14") r[14], inout("x15") r[15],
            inout("x16") r[16], inout("x17") r[17],
            options(nostack),
        );
    }
}
