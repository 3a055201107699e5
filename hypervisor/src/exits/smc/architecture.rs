//! Arm architecture calls (SMCCC, DEN0028G, §7).
//!
//! What the CPU needs against its errata is known to the firmware alone, so questions about
//! workarounds and the workarounds themselves go there; a vCPU stays on its CPU, so the answer is
//! that of the CPU that it runs on. Those that kernels issue all the time do not come here as SMCs
//! unless the policy denies one of them
//! ([`Context::workarounds_pass`](crate::arch::context::Context::workarounds_pass)).

use crate::arch::smc;
use crate::exits::smc::answer::answer;
use crate::exits::smc::firmware;
use crate::vm::vcpu::{Next, Vcpu};
use smccc::{ARCH_WORKAROUND_1, ARCH_WORKAROUND_3, FunctionId, NOT_SUPPORTED};

const VERSION: u32 = 0x8000_0000;
const ARCH_FEATURES: u32 = 0x8000_0001;
const ARCH_SOC_ID: u32 = 0x8000_0002;
const ARCH_WORKAROUND_2: u32 = 0x8000_7fff;

/// SMCCC 1.2 (§7.2).
const VERSION_1_2: u64 = 0x1_0002;

/// Serves a call of this owner.
pub fn call(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    match function.0 {
        VERSION => answer(vcpu, VERSION_1_2),
        ARCH_FEATURES => {
            let result = features(vcpu.context.x[1] as u32);
            answer(vcpu, result)
        }
        // The firmware may check arguments before it says that it does not know the function.
        ARCH_SOC_ID if features(ARCH_SOC_ID) == NOT_SUPPORTED => answer(vcpu, NOT_SUPPORTED),
        ARCH_SOC_ID | ARCH_WORKAROUND_1 | ARCH_WORKAROUND_2 | ARCH_WORKAROUND_3 => {
            firmware::forward(vcpu, function)
        }
        _ => answer(vcpu, NOT_SUPPORTED),
    }
}

/// Whether a function of this owner is there (§7.3).
#[inline(never)]
fn features(function: u32) -> u64 {
    match function {
        VERSION | ARCH_FEATURES => 0,
        ARCH_SOC_ID | ARCH_WORKAROUND_1 | ARCH_WORKAROUND_2 | ARCH_WORKAROUND_3 => {
            // Negative results say no.
            i64::from(smc::arch_features(function)) as u64
        }
        _ => NOT_SUPPORTED,
    }
}
