//! Calls, from the simplest to those with every register in view.

use crate::arch::conduit;
use crate::arch::exchange::{Exchange, GeneralRegisters};
use smccc::Conduit;

/// What a register that is no argument holds: a pattern with its number that no address looks like,
/// and whose halves differ.
#[must_use]
pub const fn pattern(register: usize) -> u64 {
    0xa5c3_0000_5a3c_0000 | (register as u64) << 32 | register as u64
}

/// The registers of a call: x0 is the identifier, then come the arguments, then [`pattern`]s.
#[must_use]
pub fn registers(id: u32, arguments: &[u64]) -> GeneralRegisters {
    core::array::from_fn(|n| match n.checked_sub(1) {
        None => u64::from(id),
        Some(n) => arguments.get(n).copied().unwrap_or(pattern(n + 1)),
    })
}

/// Calls `id` with these arguments.
#[must_use]
pub fn call(conduit: Conduit, id: u32, arguments: &[u64]) -> Exchange {
    conduit::issue(conduit, 0, &registers(id, arguments))
}

/// Calls `id` by SMC.
#[must_use]
pub fn smc(id: u32, arguments: &[u64]) -> Exchange {
    call(Conduit::Smc, id, arguments)
}
