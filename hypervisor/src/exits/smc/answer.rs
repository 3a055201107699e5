//! How calls are answered: results go where SMCCC has them; everything else stays as the guest had
//! it (DEN0028G, §3.1).

use crate::vm::vcpu::{Next, Vcpu};

/// Puts `result` into x0.
pub fn answer(vcpu: &mut Vcpu, result: u64) -> Next {
    vcpu.context.x[0] = result;
    Next::Resume
}

/// Puts results into the first registers.
pub fn answer_with<const N: usize>(vcpu: &mut Vcpu, results: [u64; N]) -> Next {
    vcpu.context.call_registers()[..N].copy_from_slice(&results);
    Next::Resume
}

/// A UUID in four registers, its first byte lowest in the first one (§6.2.2).
#[must_use]
pub fn uid_registers(uuid: [u8; 16]) -> [u64; 4] {
    let (words, _) = uuid.as_chunks::<4>();
    core::array::from_fn(|n| u64::from(u32::from_le_bytes(words[n])))
}
