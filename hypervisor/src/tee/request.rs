//! What a VM wants of its TEE.

use crate::description::vm::VmDescription;
use crate::mm::guest_memory::GuestRam;

/// A VM that is to get its partition of a TEE.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The VM's number, which names it to the TEE.
    pub vmid: u16,
    /// What the machine's description says of it.
    pub description: &'a VmDescription,
    /// Its memory.
    pub ram: &'static GuestRam,
    /// How many lives it had in which it had a partition.
    pub lives: u32,
    /// What they took from what the TEE has for all VMs ([`mediator::Teardown::Done`]).
    pub lost: u32,
    /// What no guest knows.
    pub secret: [u64; 2],
}
