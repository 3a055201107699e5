//! What the other vCPUs start with: stacks, and where PSCI is to start them.

use super::layout::MAX_VCPUS;
use super::memory;

/// Bytes of stack a vCPU has.
pub(crate) const STACK_SIZE: usize = 64 * 1024;

/// What a vCPU that PSCI starts needs before it has an MMU.
#[repr(C, align(64))]
pub(crate) struct SecondaryStart {
    /// Where its stack starts, which grows down.
    pub(crate) stack_top: u64,
    /// Its number.
    pub(crate) index: u64,
}

/// The address at which PSCI is to start a vCPU.
#[must_use]
pub fn secondary_entry() -> u64 {
    unsafe extern "C" {
        fn secondary_entry();
    }
    secondary_entry as *const () as u64
}

#[repr(C, align(16))]
pub(crate) struct Stacks([[u8; STACK_SIZE]; MAX_VCPUS]);

/// The stacks of all vCPUs, the first one's first.
pub(crate) static mut STACKS: Stacks = Stacks([[0; STACK_SIZE]; MAX_VCPUS]);

static mut STARTS: [SecondaryStart; MAX_VCPUS] = [const {
    SecondaryStart {
        stack_top: 0,
        index: 0,
    }
}; MAX_VCPUS];

/// Prepares the stack of vCPU `index`, which must be off, and gives the context for its CPU_ON.
/// `None` for a vCPU that the payload has no stack for.
#[must_use]
pub fn prepare_secondary(index: usize) -> Option<u64> {
    if index == 0 || index >= MAX_VCPUS {
        return None;
    }
    let start = (&raw mut STARTS).cast::<SecondaryStart>();
    let stacks = (&raw mut STACKS).cast::<[u8; STACK_SIZE]>();
    // SAFETY: the index is within both arrays; the vCPU is off, so nobody else uses its entries.
    let start = unsafe {
        let start = start.add(index);
        (*start).stack_top = stacks.add(index + 1) as u64;
        (*start).index = index as u64;
        start as u64
    };
    // The vCPU reads it with its caches off.
    memory::clean(start, size_of::<SecondaryStart>());
    Some(start)
}
