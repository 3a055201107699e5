//! What a case has vCPU 1 do.

use alloc::string::String;
use alloc::sync::Arc;

use guest_shim::arch::residue::Residue;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use spin::Mutex;

/// Runs `work` on vCPU 1, from its CPU_ON to its CPU_OFF, and gives what it returned.
pub fn on_other_vcpu<T: Send + 'static>(
    environment: &Environment,
    work: impl FnOnce(Residue) -> T + Send + 'static,
) -> Result<T, String> {
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    vcpu::run(environment, 1, move |residue| {
        *place.lock() = Some(work(residue));
    })?;
    let result = result.lock().take();
    result.ok_or_else(|| String::from("vCPU 1 turned off without a word"))
}
