//! What comes next for a call.

use optee_abi::smc::RpcFunction;

/// What comes next for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Its translation goes on.
    Translate,
    /// OP-TEE is entered.
    Enter(Entry),
    /// The guest is asked for this, with these values of a1 and a2. What its return means is noted
    /// in the call.
    Ask(RpcFunction, [u64; 2]),
    /// It is over, with this in a0.
    Finished(u32),
}

/// What OP-TEE is entered with, in the guest's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) function: u32,
    pub(super) a1_a2: [u64; 2],
    pub(super) a3: u64,
}

impl Flow {
    /// The guest is to take interrupts and come back.
    pub(super) const ASK_TO_TAKE_INTERRUPTS: Self =
        Self::Ask(RpcFunction::ForeignInterrupt, [0, 0]);
}

/// A call of the guest that did not begin yet: the function, and the registers that say where its
/// message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) function: u32,
    pub(super) arguments: [u64; 3],
}
