//! Gives VMs their TEE: the mediators that were compiled in, and the ports through which they reach the machine.

use crate::description::{TeeChoice, VmDescription};
use crate::mm::guest_memory::GuestRam;
use alloc::string::String;
use alloc::sync::Arc;
use mediator::Tee;

/// Asks the secure world, once at boot, what is there. `interrupt` is the one by which the TEE says that it has
/// notifications, if the machine has one; so many `guests` are to have a TEE.
pub fn probe(interrupt: Option<u32>, guests: usize) {
    #[cfg(feature = "optee")]
    optee::probe(interrupt, guests);
    #[cfg(not(feature = "optee"))]
    let _ = (interrupt, guests);
}

/// What a VM had of its TEE in earlier lives.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// How many lives that were.
    pub lives: u32,
    /// What they took from what the TEE has for all VMs ([`mediator::WindUp::Done`]).
    pub lost: u32,
}

/// Makes a VM's partition of the TEE that its description names. There is none where it has used up its share of what the
/// TEE has for all VMs.
///
/// # Errors
///
/// A line that says why there is none.
pub fn create(
    vmid: u16,
    description: &VmDescription,
    ram: &'static GuestRam,
    past: Past,
) -> Result<Option<Arc<dyn Tee>>, String> {
    match description.tee {
        TeeChoice::None => Ok(None),
        #[cfg(feature = "optee")]
        TeeChoice::Optee => optee::create(vmid, description, ram, past),
        #[cfg(not(feature = "optee"))]
        TeeChoice::Optee => {
            let _ = (vmid, ram, past);
            Err(String::from(
                "this hypervisor was built without a mediator for OP-TEE",
            ))
        }
    }
}

#[cfg(feature = "optee")]
mod optee {
    use super::{Arc, GuestRam, Past, String, Tee, VmDescription};
    use crate::arch::memory::ShadowPages;
    use crate::arch::smc::SecureMonitor;
    use crate::arch::{registers, timer};
    use crate::drivers::gicv3::InterruptsHeldBack;
    use crate::vm::entropy;
    use alloc::format;
    use core::num::NonZeroU32;
    use mediator::optee::{
        ClientId, CreateError, Guest, HashSecret, IDENTIFIERS, LIVES, Limits, Optee,
    };
    use mediator::ports::{Cpu, Ports};
    use spin::Once;

    /// The CPU that asks.
    #[derive(Clone, Copy, Debug)]
    struct ThisCpu;

    impl Cpu for ThisCpu {
        fn interrupt_pending(&self) -> bool {
            registers::interrupt_pending()
        }

        fn now(&self) -> u64 {
            timer::now()
        }

        fn ticks_per_second(&self) -> u64 {
            timer::frequency()
        }
    }

    /// OP-TEE, where the secure world has one that serves several guests.
    static OPTEE: Once<Optee> = Once::new();

    /// Major and minor number of the first OP-TEE that survives all errors of secure storage (OP-TEE's commit ea3a3b9e0).
    const SURVIVES_STORAGE_ERRORS: (u32, u32) = (4, 10);

    pub(super) fn probe(interrupt: Option<u32>, guests: usize) {
        match Optee::probe(&SecureMonitor) {
            Ok(mut optee) => {
                if interrupt.is_none() {
                    optee = optee.without_notifications();
                }
                let revision = optee.revision();
                log::info!("OP-TEE {revision} serves the guests");
                if guests > 1 && (revision.major, revision.minor) < SURVIVES_STORAGE_ERRORS {
                    let (major, minor) = SURVIVES_STORAGE_ERRORS;
                    log::warn!(
                        "OP-TEE {revision} halts for all guests when secure storage fails in one of them, which OP-TEE \
                         {major}.{minor} survives: see docs/optee-versions.md"
                    );
                }
                OPTEE.call_once(|| optee);
            }
            Err(error) => log::warn!("no OP-TEE for guests: {error}"),
        }
    }

    /// What no guest knows; without any randomness, the time at which the guest starts.
    fn secret() -> HashSecret {
        let mut words = [[0; 8]; 2];
        if !entropy::fill(words.as_flattened_mut()) {
            words[0] = timer::now().to_le_bytes();
        }
        HashSecret(words.map(u64::from_le_bytes))
    }

    pub(super) fn create(
        vmid: u16,
        description: &VmDescription,
        ram: &'static GuestRam,
        past: Past,
    ) -> Result<Option<Arc<dyn Tee>>, String> {
        let optee = OPTEE
            .get()
            .ok_or_else(|| String::from("there is no OP-TEE"))?;
        let client = ClientId::new(vmid).ok_or_else(|| format!("{vmid} is no client ID"))?;
        let share = description
            .ta_instances_max
            .map_or(IDENTIFIERS, NonZeroU32::get);
        let limits = Limits {
            buffer_bytes_max: description.shm_limits.buffer_bytes_max,
            buffers_max: description.shm_limits.buffers_max,
            total_bytes_max: description.shm_limits.total_bytes_max,
            calls_per_second: description.tee_calls_per_second,
            // A call that opens a session may take one for a moment before it is seen to be too many.
            instances_max: share.saturating_sub(optee.threads() as u32).max(1),
            // The same part of the lives as of the identifiers.
            lives_max: (share * LIVES / IDENTIFIERS).max(1),
        };
        let guest = Guest {
            client,
            limits,
            access: description.ta_access.clone(),
            lives: past.lives,
            identifiers_lost: past.lost,
            secret: secret(),
        };
        let pages = optee.shadow_pages(&limits);
        let shadow = ShadowPages::allocate(pages)
            .ok_or_else(|| format!("no memory for {pages} shadow pages"))?;
        let ports = Ports {
            world: SecureMonitor,
            memory: ram,
            shadow,
            cpu: ThisCpu,
        };
        // Nobody could take an interrupt now: the VM's vCPUs do not run yet.
        let _held_back = InterruptsHeldBack::begin();
        match optee.create_partition(guest, ports) {
            Ok(partition) => Ok(Some(Arc::new(partition))),
            // It is the VM's own doing, which may go on without.
            Err(
                error @ (CreateError::IdentifiersLost { .. } | CreateError::LivesUsedUp { .. }),
            ) => {
                log::error!("{}: no OP-TEE in this life: {error}", description.name);
                Ok(None)
            }
            Err(error) => Err(format!("{error}")),
        }
    }
}
