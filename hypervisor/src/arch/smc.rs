//! SMCs that EL2 issues.
//!
//! SMCCC (DEN0028G, §2.6 and §2.7) lets the callee change x0 to x17; the firmware keeps the rest.

use crate::arch::registers;
use core::arch::asm;
use smccc::{CallRegisters, FunctionId, Owner};

/// SMCCC_ARCH_FEATURES (§7.3).
const ARCH_FEATURES: u32 = 0x8000_0001;

/// Issues a call with x0 to x7 and gives back the same.
///
/// # Safety
///
/// What the firmware or a TEE does for this call, it does to memory that no Rust reference covers, and no CPU comes to execute
/// at EL2 what is not EL2's.
pub unsafe fn call(registers: [u64; 8]) -> [u64; 8] {
    let mut r = registers;
    // SAFETY: the firmware keeps x18 to x30 and SP; the caller vouches for what else it does. The default memory clobber keeps
    // accesses in order.
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

/// The function is one by which the firmware might change what EL2 relies on: it is EL2's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotForwardable;

/// Issues a guest's call, with all the registers that SMCCC knows (§3.1).
///
/// # Errors
///
/// The function is none of the firmware's own services: CPUs, power and trusted OSes are not a guest's to call. Nothing was
/// issued.
pub fn forward(registers: &mut CallRegisters) -> Result<(), NotForwardable> {
    let r = registers;
    let function = FunctionId(r[0] as u32);
    match function.owner() {
        Owner::Architecture | Owner::Cpu | Owner::Sip | Owner::Oem | Owner::TrustedApplication => {}
        Owner::StandardSecure if function.is_query() => {}
        _ => return Err(NotForwardable),
    }
    // SAFETY: the firmware keeps x18 to x30 and SP, and none of these functions concerns CPUs or memory of EL2: what a firmware's
    // own services do is the firmware's to keep from the normal world's hypervisor, as from a kernel that calls them natively.
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
    Ok(())
}

/// What the firmware says about a function of the architecture's (SMCCC_ARCH_FEATURES): negative where it is not there.
#[must_use]
pub fn arch_features(function: u32) -> i32 {
    // SAFETY: a question.
    let [result, ..] = unsafe {
        call([
            u64::from(ARCH_FEATURES),
            u64::from(function),
            0,
            0,
            0,
            0,
            0,
            0,
        ])
    };
    result as i32
}

fn psci(function: arm_psci::FunctionId) -> u64 {
    u64::from(u32::from(function))
}

/// Starts the CPU with affinity `mpidr` at the physical address `entry`, with `context` in x0 (PSCI CPU_ON, DEN0022F.b §5.1.4).
///
/// # Errors
///
/// PSCI's error code.
///
/// # Safety
///
/// At `entry` is code that makes a CPU that comes from the firmware one of EL2's, given `context`.
pub unsafe fn cpu_on(mpidr: u64, entry: u64, context: u64) -> Result<(), i32> {
    let function = psci(arm_psci::FunctionId::CpuOn64);
    // SAFETY: the caller vouches for what the CPU executes.
    let [result, ..] = unsafe { call([function, mpidr, entry, context, 0, 0, 0, 0]) };
    match result as i32 {
        0 => Ok(()),
        code => Err(code),
    }
}

/// Powers the machine off (PSCI SYSTEM_OFF, DEN0022F.b §5.1.9).
pub fn system_off() -> ! {
    let function = psci(arm_psci::FunctionId::SystemOff);
    // SAFETY: nothing runs after it.
    let [result, ..] = unsafe { call([function, 0, 0, 0, 0, 0, 0, 0]) };
    log::error!(
        "the firmware did not power the machine off: {}",
        result as i32
    );
    loop {
        registers::wait_for_interrupt();
    }
}
