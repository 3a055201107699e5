//! Fast calls: those of the guest, which are answered here, and those in its name.

use crate::sync::atomic::Ordering;

use optee_abi::capabilities::{self, Capabilities};
use optee_abi::smc::{self, notification, status};

use super::notifications::VALUES;
use super::partition::Partition;
use crate::ports::{Platform, SecureWorld};
use smccc::CallRegisters;

/// What the mediator passes on to guests, where OP-TEE has it. The others are for the hypervisor,
/// or not carried: reserved memory is not the guest's.
const OFFERED: Capabilities = Capabilities(
    Capabilities::UNREGISTERED_SHM.0
        | Capabilities::DYNAMIC_SHM.0
        | Capabilities::MEMREF_NULL.0
        | Capabilities::ASYNC_NOTIF.0
        | Capabilities::RPC_ARG.0
        | Capabilities::RPMB_PROBE.0,
);

/// How many functions a guest can call with effect, without and with notifications: what
/// [`smc::CALLS_COUNT`] says.
const GUEST_FUNCTIONS: u64 = 13;
const GUEST_FUNCTIONS_WITH_NOTIFICATIONS: u64 = GUEST_FUNCTIONS + 2;

impl<P: Platform> Partition<P> {
    /// Answers a fast call. OP-TEE would say the same as when it was probed, so it is not asked.
    pub(super) fn fast_call(&self, function: u32, registers: &mut CallRegisters) {
        self.counters.fast.add(1);
        let optee = &self.optee;
        let mut answer = |values: &[u64]| {
            for (register, value) in registers.iter_mut().zip(values) {
                *register = *value;
            }
        };
        match function {
            smc::CALLS_COUNT if self.notifies() => {
                answer(&[GUEST_FUNCTIONS_WITH_NOTIFICATIONS]);
            }
            smc::CALLS_COUNT => answer(&[GUEST_FUNCTIONS]),
            smc::CALLS_UID => answer(&smc::API_UID.map(u64::from)),
            smc::CALLS_REVISION => answer(&optee.protocol.map(u64::from)),
            smc::GET_OS_UUID => answer(&optee.os_uuid.map(u64::from)),
            smc::GET_OS_REVISION => {
                let revision = optee.revision;
                answer(&[revision.major, revision.minor, revision.build].map(u64::from));
            }
            smc::EXCHANGE_CAPABILITIES => self.exchange_capabilities(registers),
            smc::GET_THREAD_COUNT => answer(&[u64::from(status::OK), optee.threads as u64]),
            smc::ENABLE_SHM_CACHE => self.enable_shm_cache(registers),
            smc::DISABLE_SHM_CACHE => self.disable_shm_cache(registers),
            smc::ENABLE_ASYNC_NOTIF if self.notifies() => self.enable_notifications(registers),
            smc::GET_ASYNC_NOTIF_VALUE if self.notifies() => self.notification(registers),
            smc::GET_SHM_CONFIG | smc::ENABLE_ASYNC_NOTIF | smc::GET_ASYNC_NOTIF_VALUE => {
                self.refuse(registers, status::ENOTAVAIL);
            }
            _ => self.refuse(registers, status::UNKNOWN_FUNCTION),
        }
    }

    /// Refuses a call as a whole.
    pub(super) fn refuse(&self, registers: &mut CallRegisters, status: u32) {
        self.counters.refused.add(1);
        registers[0] = u64::from(status);
    }

    /// What the guest is offered.
    fn capabilities(&self) -> Capabilities {
        let offered = self.optee.capabilities & OFFERED;
        if self.optee.notification_max < VALUES {
            offered
        } else {
            offered.without(Capabilities::ASYNC_NOTIF)
        }
    }

    /// Whether the guest can be notified.
    fn notifies(&self) -> bool {
        self.capabilities().contains(Capabilities::ASYNC_NOTIF)
    }

    /// A driver begins with this. One that does so anew is another kernel's, which took the place
    /// of one that is gone.
    fn exchange_capabilities(&self, registers: &mut CallRegisters) {
        self.forget_driver();
        let offered = self.capabilities();
        if registers[1] as u32 & !capabilities::UNIPROCESSOR != 0 {
            self.refuse(registers, status::ENOTAVAIL);
            registers[1] = u64::from(offered.0);
            return;
        }
        registers[0] = u64::from(status::OK);
        registers[1] = u64::from(offered.0);
        registers[2] = if self.notifies() {
            u64::from(self.optee.notification_max)
        } else {
            0
        };
        registers[3] = self.optee.rpc_parameters as u64;
    }

    fn enable_shm_cache(&self, registers: &mut CallRegisters) {
        if !self.slots.idle() {
            registers[0] = u64::from(status::EBUSY);
            return;
        }
        self.shm_cache.store(true, Ordering::Relaxed);
        registers[0] = u64::from(status::OK);
    }

    /// Gives one RPC argument back at each call; when there is none left, the cache is off.
    fn disable_shm_cache(&self, registers: &mut CallRegisters) {
        if !self.slots.idle() {
            registers[0] = u64::from(status::EBUSY);
            return;
        }
        match self.slots.find_free(|call| call.cached.take()) {
            Some(argument) => {
                let [upper, lower] = smc::split(argument.cookie);
                registers[0] = u64::from(status::OK);
                registers[1] = upper;
                registers[2] = lower;
            }
            None => {
                self.shm_cache.store(false, Ordering::Relaxed);
                registers[0] = u64::from(status::ENOTAVAIL);
            }
        }
    }

    /// The guest wants to be notified from now on.
    fn enable_notifications(&self, registers: &mut CallRegisters) {
        let answer = self.fast_as_guest(smc::ENABLE_ASYNC_NOTIF);
        let a0 = answer.map_or(status::ENOTAVAIL, |[a0, ..]| a0 as u32);
        if a0 == status::OK {
            self.notifications.enable();
        }
        registers[0] = u64::from(a0);
    }

    /// The guest asks for a value.
    fn notification(&self, registers: &mut CallRegisters) {
        let value = self.notifications.take();
        let mut flags = 0;
        if value.is_some() {
            flags |= notification::VALID;
            // One that comes only now brings another interrupt.
            if self.notifications.any() {
                flags |= notification::PENDING;
            }
        }
        registers[0] = u64::from(status::OK);
        registers[1] = u64::from(value.unwrap_or(0));
        registers[2] = flags;
    }

    /// Fetches the values that OP-TEE has for the guest. `true` if there are any.
    pub(super) fn fetch_notifications(&self) -> bool {
        if !self.notifications.is_enabled() {
            return false;
        }
        let mut fetched = false;
        // An OP-TEE that has more values than there are has none that matter.
        for _ in 0..VALUES {
            let Some([a0, value, flags, ..]) = self.fast_as_guest(smc::GET_ASYNC_NOTIF_VALUE)
            else {
                break;
            };
            if a0 as u32 != status::OK || flags & notification::VALID == 0 {
                break;
            }
            if self.notifications.keep(value as u32) {
                self.counters.notifications.add(1);
                fetched = true;
            }
            if flags & notification::PENDING == 0 {
                break;
            }
        }
        fetched
    }

    /// A fast call in the guest's name, unless OP-TEE is about to forget the guest.
    fn fast_as_guest(&self, function: u32) -> Option<[u64; 8]> {
        let mut registers = [0; 8];
        registers[0] = u64::from(function);
        registers[7] = u64::from(self.client.get());
        self.notifications.ask(|| self.ports.world.smc(registers))
    }
}
