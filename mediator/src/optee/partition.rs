//! One guest's OP-TEE: all that is kept of it.

use crate::sync::atomic::{AtomicBool, AtomicU32};

use crate::sync::Mutex;
use optee_abi::smc;

use super::core_window::CoreWindow;
use super::limits::ClientId;
use super::notifications::Notifications;
use super::probe::Optee;
use super::sessions::Sessions;
use super::shm::buffers::Buffers;
use super::shm::page_pool::PagePool;
use super::slots::Slots;
use super::stats::Counters;
use super::throttle::Throttle;
use crate::ports::{Platform, Ports, SecureWorld};
use crate::ta_access::TaAccess;

/// One guest's OP-TEE.
#[derive(Debug)]
pub struct Partition<P: Platform> {
    pub(super) optee: Optee,
    pub(super) client: ClientId,
    pub(super) ports: Ports<P>,
    pub(super) buffers: Buffers,
    pub(super) pool: PagePool,
    pub(super) slots: Slots,
    pub(super) sessions: Sessions,
    pub(super) window: CoreWindow,
    pub(super) counters: Counters,
    pub(super) notifications: Notifications,
    /// The turns of its calls, where their number is limited.
    pub(super) throttle: Option<Throttle>,
    /// What it may open.
    pub(super) access: TaAccess,
    /// Whether the guest lets the mediator keep RPC arguments between calls.
    pub(super) shm_cache: AtomicBool,
    /// How often a slot's memory was registered anew.
    pub(super) renewals: AtomicU32,
    /// How far its end has come.
    pub(super) teardown: Mutex<TeardownProgress>,
    pub(super) destroyed: AtomicBool,
}

impl<P: Platform> Partition<P> {
    /// A fast call in the hypervisor's own name, about this guest.
    pub(super) fn hypervisor_call(&self, function: u32) -> u32 {
        let mut registers = [0; 8];
        registers[0] = u64::from(function);
        registers[1] = u64::from(self.client.get());
        registers[7] = u64::from(smc::HYPERVISOR_CLIENT);
        self.ports.world.smc(registers)[0] as u32
    }

    /// The registers of a yielding call in the guest's name.
    pub(super) fn yielding(&self, function: u32, [a1, a2]: [u64; 2], a3: u64) -> [u64; 8] {
        [
            u64::from(function),
            a1,
            a2,
            a3,
            0,
            0,
            0,
            u64::from(self.client.get()),
        ]
    }
}

/// How far the end of a guest has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TeardownProgress {
    /// When to give up.
    pub(super) until: Option<u64>,
    /// Sessions before this place are closed, or can't be.
    pub(super) place: usize,
    /// Buffers before this place are taken back, or can't be.
    pub(super) buffer: usize,
    /// Something is left that only the end of the partition ends.
    pub(super) for_good: bool,
    /// How often all calls had their turns.
    pub(super) rounds: u32,
    /// The slot whose call has its turn next: one that never ends is not to keep others from
    /// theirs.
    pub(super) turn: usize,
}
