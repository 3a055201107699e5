//! The machine's CPUs, by number.

use crate::drivers::gicv3;
use alloc::vec::Vec;
use spin::Once;

static AFFINITIES: Once<Vec<u64>> = Once::new();

/// Sets the affinity of each CPU.
pub fn set(affinities: Vec<u64>) {
    AFFINITIES.call_once(|| affinities);
}

/// The affinity of each CPU.
#[must_use]
pub fn affinities() -> &'static [u64] {
    AFFINITIES.get().map_or(&[], Vec::as_slice)
}

/// Tells CPU number `cpu` to look at its vCPUs.
pub fn kick(cpu: usize) {
    if let Some(&affinity) = affinities().get(cpu) {
        gicv3::kick(affinity);
    }
}
