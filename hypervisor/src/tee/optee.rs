//! Guests' partitions of OP-TEE.

use crate::console::terminal;
use crate::drivers::gicv3::InterruptsHeldBack;
use crate::mm::shadow_pages::ShadowPages;
use crate::tee::ports::{CallingCpu, SecureMonitor, ThisMachine};
use crate::tee::request::Request;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::num::NonZeroU32;
use host_abi::console::Event;
use mediator::Tee;
use mediator::optee::{
    ClientId, CreateError, Guest, HashSecret, IDENTIFIERS, LIVES, Limits, Optee,
};
use mediator::ports::Ports;
use spin::Once;

/// OP-TEE, where the secure world has one that serves several guests.
static OPTEE: Once<Optee> = Once::new();

/// Major and minor number of the first OP-TEE that survives all errors of secure storage (OP-TEE's
/// commit ea3a3b9e0).
const SURVIVES_STORAGE_ERRORS: (u32, u32) = (4, 10);

/// Asks the secure world, once at boot, for OP-TEE.
pub(super) fn probe(interrupt: Option<u32>, guests: usize) {
    match Optee::probe(&SecureMonitor) {
        Ok(mut optee) => {
            if interrupt.is_none() {
                optee = optee.without_notifications();
            }
            let revision = optee.revision();
            terminal::tell(&Event::TeeServes { revision });
            if guests > 1 && (revision.major, revision.minor) < SURVIVES_STORAGE_ERRORS {
                let (major, minor) = SURVIVES_STORAGE_ERRORS;
                terminal::tell(&Event::TeeIsHaltedByStorage {
                    revision: format_args!("{revision}"),
                    survivor: format_args!("{major}.{minor}"),
                });
            }
            OPTEE.call_once(|| optee);
        }
        Err(error) => log::warn!("no OP-TEE for guests: {error}"),
    }
}

/// Makes a VM's partition of OP-TEE.
///
/// # Errors
///
/// A line that says why there is none.
pub(super) fn create(request: Request<'_>) -> Result<Option<Arc<dyn Tee>>, String> {
    let Request {
        vmid,
        description,
        ram,
        lives,
        lost,
        secret,
    } = request;
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
        lives,
        identifiers_lost: lost,
        secret: HashSecret(secret),
    };
    let pages = optee.shadow_pages(&limits);
    let shadow = ShadowPages::allocate(pages)
        .ok_or_else(|| format!("no memory for {pages} shadow pages"))?;
    let ports = Ports::<ThisMachine> {
        world: SecureMonitor,
        memory: ram,
        shadow,
        cpu: CallingCpu,
    };
    // Nobody could take an interrupt now: the VM's vCPUs do not run yet.
    let _held_back = InterruptsHeldBack::begin();
    match optee.create_partition(guest, ports) {
        Ok(partition) => Ok(Some(Arc::new(partition))),
        // It is the VM's own doing, which may go on without.
        Err(error @ (CreateError::IdentifiersLost { .. } | CreateError::LivesUsedUp { .. })) => {
            let name = description.name.as_str();
            terminal::tell(&Event::NoTee {
                name,
                reason: error,
            });
            Ok(None)
        }
        Err(error) => Err(format!("{error}")),
    }
}
