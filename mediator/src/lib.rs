//! What is decided about a TEE call of a guest.
//!
//! This crate knows no register, page table or device: it reaches them through its [`ports`], so
//! that all of it runs on the host under test.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "fakes"))]
extern crate std;

pub mod optee;
pub mod ports;
mod sync;
pub mod ta_access;

use host_abi::console::TeeStats;
use smccc::CallRegisters;

/// How far the end of a VM has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teardown {
    /// An interrupt waits; there is more to do.
    Interrupted,
    /// The VM left nothing: what it had of the TEE is as new, and serves its next life.
    Renewed,
    /// There is no more to do.
    Done {
        /// Calls and sessions that could not be ended in time.
        left: u64,
        /// How much of what the TEE has for all VMs it does not get back: the VM's next life has so
        /// much less.
        lost: u32,
    },
}

/// One VM's side of a TEE. Nothing here is particular to OP-TEE.
pub trait Tee: Send + Sync {
    /// Whether calls of this function are the TEE's. The answer is always the same.
    fn owns(&self, function: u32) -> bool;

    /// Serves one call of the guest and leaves in `registers` what the guest gets to see. Says
    /// whether the VM has to get its virtual interrupt, by which the TEE notifies it.
    ///
    /// May be called on several CPUs at once.
    fn call(&self, registers: &mut CallRegisters) -> bool;

    /// Goes on with ending what the VM left in the TEE: calls in the middle of an RPC, sessions. No
    /// call of the VM is under way or will come. Comes back for an interrupt, and is then to be
    /// called again. With `again` another life follows, for which the TEE need not forget
    /// the VM.
    fn tear_down(&self, again: bool) -> Teardown;

    /// Makes the TEE forget this VM. No call of the VM is under way or will come; what could not be
    /// torn down is dropped. Afterwards no page of the VM is pinned.
    fn destroy(&self);

    /// Takes over what the TEE wants to notify the VM of, after an interrupt by which it does. Says
    /// whether the VM has to get its virtual interrupt.
    fn poll_notifications(&self) -> bool;

    /// What the VM did with the TEE, and what it holds there.
    fn stats(&self) -> TeeStats;
}
