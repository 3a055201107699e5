//! The other vCPUs: starting them with something to do, and what they leave behind.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use spin::Mutex;

use crate::arch::layout::MAX_VCPUS;
use crate::arch::residue::Residue;
use crate::arch::{gic, secondary, timer};
use crate::runtime::environment::Environment;
use crate::runtime::psci::{self, id, status, wide};

/// What a vCPU does; it turns itself off afterwards.
pub type Work = Box<dyn FnOnce(Residue) + Send>;

static WORK: [Mutex<Option<Work>>; MAX_VCPUS] = [const { Mutex::new(None) }; MAX_VCPUS];

/// How long vCPUs are waited for.
const LIMIT_MS: u64 = 20_000;

/// AFFINITY_INFO's answers (§5.1.6).
pub const AFFINITY_ON: i64 = 0;
/// See [`AFFINITY_ON`].
pub const AFFINITY_OFF: i64 = 1;

/// Starts vCPU `index` with something to do.
///
/// # Errors
///
/// Says what CPU_ON returned.
pub fn start(
    environment: &Environment,
    index: usize,
    work: impl FnOnce(Residue) + Send + 'static,
) -> Result<(), String> {
    let affinity = environment.vcpus.get(index);
    let (Some(&affinity), Some(context)) = (affinity, secondary::prepare_secondary(index)) else {
        return Err(format!("there is no vCPU {index}"));
    };
    *WORK[index].lock() = Some(Box::new(work));
    let result = psci::psci(
        wide(id::CPU_ON),
        &[affinity, secondary::secondary_entry(), context],
    );
    if result == status::SUCCESS {
        Ok(())
    } else {
        Err(format!("CPU_ON returned {result}"))
    }
}

/// Waits until vCPU `index` is off.
///
/// # Errors
///
/// It stays on for too long.
pub fn wait_until_off(environment: &Environment, index: usize) -> Result<(), String> {
    let affinity = environment.vcpus.get(index).copied().unwrap_or_default();
    wait_for(|| psci::psci(wide(id::AFFINITY_INFO), &[affinity, 0]) == AFFINITY_OFF)
        .then_some(())
        .ok_or_else(|| format!("vCPU {index} did not turn off"))
}

/// Starts vCPU `index` with something to do and waits until it has turned itself off again.
///
/// # Errors
///
/// It can't be started or does not turn off.
pub fn run(
    environment: &Environment,
    index: usize,
    work: impl FnOnce(Residue) + Send + 'static,
) -> Result<(), String> {
    start(environment, index, work)?;
    wait_until_off(environment, index)
}

/// Waits until `condition` holds, a few seconds at most; tells whether it does.
#[must_use]
pub fn wait_for(condition: impl Fn() -> bool) -> bool {
    let end = timer::now().saturating_add(timer::milliseconds(LIMIT_MS));
    while !condition() {
        if timer::now() > end {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// Where a vCPU that was started goes.
pub(crate) fn secondary(index: usize, residue: Residue) -> ! {
    gic::init_vcpu(index);
    let work = WORK.get(index).and_then(|work| work.lock().take());
    if let Some(work) = work {
        work(residue);
    }
    psci::cpu_off()
}
