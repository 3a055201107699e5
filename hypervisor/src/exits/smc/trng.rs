//! The random number service (Arm TRNG Firmware Interface, DEN0098 1.0).

use crate::exits::smc::answer::{answer, answer_with, uid_registers};
use crate::vm::entropy;
use crate::vm::vcpu::{Next, Vcpu};
use smccc::{FunctionId, NOT_SUPPORTED};

const VERSION: u32 = 0x8400_0050;
const FEATURES: u32 = 0x8400_0051;
const GET_UUID: u32 = 0x8400_0052;
const RND_32: u32 = 0x8400_0053;
const RND_64: u32 = 0xc400_0053;

/// Version 1.0.
const VERSION_1_0: u64 = 0x1_0000;
/// TRNG_INVALID_PARAMETERS.
const INVALID_PARAMETERS: u64 = -2_i64 as u64;

/// 2d5c8b8c-0e3f-4f0b-9a3e-6f1c4f5b7a21, the back end that is behind this service.
const BACK_END: [u8; 16] = [
    0x2d, 0x5c, 0x8b, 0x8c, 0x0e, 0x3f, 0x4f, 0x0b, 0x9a, 0x3e, 0x6f, 0x1c, 0x4f, 0x5b, 0x7a, 0x21,
];

/// Whether a call of the standard service is one of these.
fn owns(function: FunctionId) -> bool {
    matches!(function.0, VERSION..=RND_32 | RND_64)
}

/// Serves a call to what PSCI leaves of the standard service's range; what is none of these there
/// is not supported, nor is any of them without randomness.
#[inline(never)]
pub fn call(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    if !entropy::is_there() {
        return answer(vcpu, NOT_SUPPORTED);
    }
    let argument = vcpu.context.x[1];
    match function.0 {
        VERSION => answer(vcpu, VERSION_1_0),
        FEATURES => answer(
            vcpu,
            if owns(FunctionId(argument as u32)) {
                0
            } else {
                NOT_SUPPORTED
            },
        ),
        GET_UUID => answer_with(vcpu, uid_registers(BACK_END)),
        RND_32 => random(vcpu, argument & 0xffff_ffff, 32),
        RND_64 => random(vcpu, argument, 64),
        _ => answer(vcpu, NOT_SUPPORTED),
    }
}

/// `bits` random bits in x3, x2 and x1, from the lowest on, in registers of `width` bits; zeros
/// above them.
fn random(vcpu: &mut Vcpu, bits: u64, width: u64) -> Next {
    if bits == 0 || bits > 3 * width {
        return answer(vcpu, INVALID_PARAMETERS);
    }
    let mut bytes = [0; 24];
    if !entropy::fill(&mut bytes) {
        return answer(vcpu, NOT_SUPPORTED);
    }
    let (words, _) = bytes.as_chunks::<8>();
    let word = |n: u64| {
        let wanted = bits.saturating_sub(n * width).min(width);
        let mask = if wanted == 0 {
            0
        } else {
            u64::MAX >> (64 - wanted)
        };
        u64::from_le_bytes(words[n as usize]) & mask
    };
    answer_with(vcpu, [0, word(2), word(1), word(0)])
}

#[cfg(test)]
mod tests;
