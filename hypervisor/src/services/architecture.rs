//! Arm architecture calls (SMCCC, DEN0028G, §7).

use super::answer;
use crate::cpu::Next;
use crate::smccc::{FunctionId, NOT_SUPPORTED};
use crate::vcpu::Vcpu;

const SMCCC_VERSION: u32 = 0x8000_0000;
const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;

/// SMCCC 1.1 (§7.2).
pub const VERSION_1_1: u64 = 0x1_0001;

/// Serves a call of this owner.
pub fn call(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    let result = match function.0 {
        SMCCC_VERSION => VERSION_1_1,
        SMCCC_ARCH_FEATURES => features(vcpu.context.x[1] as u32),
        _ => NOT_SUPPORTED,
    };
    answer(vcpu, result)
}

/// Whether a function of this owner is there (§7.3).
fn features(function: u32) -> u64 {
    match function {
        SMCCC_VERSION | SMCCC_ARCH_FEATURES => 0,
        _ => NOT_SUPPORTED,
    }
}
