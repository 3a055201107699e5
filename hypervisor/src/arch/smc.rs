//! SMCs that EL2 issues (SMCCC, DEN0028G).

use crate::arch::{access, smc_instruction};
use smccc::{CallRegisters, FunctionId, Owner};

/// SMCCC_ARCH_FEATURES (§7.3).
const ARCH_FEATURES: u32 = 0x8000_0001;

/// Issues a call with x0 to x7 and gives back the same.
///
/// # Safety
///
/// What the firmware or a TEE does for this call, it does to memory that no Rust reference covers,
/// and no CPU comes to execute at EL2 what is not EL2's.
#[inline]
pub unsafe fn call(registers: [u64; 8]) -> [u64; 8] {
    // SAFETY: the caller vouches for what is done.
    unsafe { smc_instruction::smc(registers) }
}

/// The function is one by which the firmware might change what EL2 relies on: it is EL2's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotForwardable;

/// Issues a guest's call, with all the registers that SMCCC knows (§3.1).
///
/// # Errors
///
/// The function is none of the firmware's own services: CPUs, power and trusted OSes are not a
/// guest's to call. Nothing was issued.
pub fn forward(registers: &mut CallRegisters) -> Result<(), NotForwardable> {
    let function = FunctionId(registers[0] as u32);
    match function.owner() {
        Owner::Architecture | Owner::Cpu | Owner::Sip | Owner::Oem | Owner::TrustedApplication => {}
        Owner::StandardSecure if function.is_query() => {}
        _ => return Err(NotForwardable),
    }
    // SAFETY: none of these functions concerns CPUs or memory of EL2: what a firmware's own
    // services do is the firmware's to keep from the normal world's hypervisor, as from a kernel
    // that calls them natively.
    unsafe { smc_instruction::smc_with_all(registers) }
    Ok(())
}

/// What the firmware says about a function of the architecture's (SMCCC_ARCH_FEATURES): negative
/// where it is not there.
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

/// Starts the CPU with affinity `mpidr` at the physical address `entry`, with `context` in x0 (PSCI
/// CPU_ON, DEN0022F.b §5.1.4).
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
        access::wait_for_interrupt();
    }
}
