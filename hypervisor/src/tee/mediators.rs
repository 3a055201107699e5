//! The mediators that were compiled in.

#[cfg(feature = "optee")]
use crate::tee::optee;
use crate::tee::request::Request;
use alloc::string::String;
use alloc::sync::Arc;
use host_abi::binding::TeeChoice;
use mediator::Tee;

/// Asks the secure world, once at boot, what is there. `interrupt` is the one by which the TEE says
/// that it has notifications, if the machine has one; `guests` is how many are to have a TEE.
pub fn probe(interrupt: Option<u32>, guests: usize) {
    #[cfg(feature = "optee")]
    optee::probe(interrupt, guests);
    #[cfg(not(feature = "optee"))]
    let _ = (interrupt, guests);
}

/// Makes a VM's partition of the TEE that its description names. There is none where it has used up
/// its share of what the TEE has for all VMs.
///
/// # Errors
///
/// A line that says why there is none.
pub fn create(request: Request<'_>) -> Result<Option<Arc<dyn Tee>>, String> {
    match request.description.tee {
        TeeChoice::None => Ok(None),
        #[cfg(feature = "optee")]
        TeeChoice::Optee => optee::create(request),
        #[cfg(not(feature = "optee"))]
        TeeChoice::Optee => Err(String::from(
            "this hypervisor was built without a mediator for OP-TEE",
        )),
    }
}
