//! What is decided about a TEE call of a guest.
//!
//! This crate knows no register, page table or device: it reaches them through its [`ports`], so that all of it runs on
//! the host under test.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod optee;
pub mod ports;

/// x0 to x17 of a call: the registers that may carry arguments and results (SMCCC, DEN0028, §3).
pub type CallRegisters = [u64; 18];

/// One VM's side of a TEE. Nothing here is particular to OP-TEE.
pub trait Tee: Send + Sync {
    /// Serves one call of the guest and leaves in `registers` what the guest gets to see.
    ///
    /// May be called on several CPUs at once.
    fn call(&self, registers: &mut CallRegisters);

    /// Makes the TEE forget this VM. No call of the VM is under way or will come; what the guest left in the middle of
    /// an RPC is dropped. Afterwards no page of the VM is pinned.
    fn destroy(&self);
}
