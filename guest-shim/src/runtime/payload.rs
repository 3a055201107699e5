//! The first vCPU's way into a payload, and out of it.

use spin::Once;

use crate::arch::residue::Residue;
use crate::arch::{gic, memory};
use crate::runtime::environment::Environment;
use crate::runtime::psci;

static RESIDUE: Once<Residue> = Once::new();

/// What the registers of the first vCPU held when it started.
#[must_use]
pub fn first_residue() -> Option<Residue> {
    RESIDUE.get().copied()
}

/// Names the function that a payload runs; when it returns, the guest powers off.
#[macro_export]
macro_rules! payload {
    ($function:path) => {
        #[expect(unsafe_code, reason = "the runtime declares it with this signature")]
        #[unsafe(no_mangle)]
        extern "Rust" fn payload_main(environment: &$crate::runtime::environment::Environment) {
            $function(environment)
        }
    };
}

#[expect(unsafe_code, reason = "`payload!` defines it with this signature")]
unsafe extern "Rust" {
    /// What [`payload!`](crate::payload!) defines, with this signature.
    safe fn payload_main(environment: &Environment);
}

/// Runs the payload on the first vCPU.
pub(crate) fn primary(tree: u64, residue: Residue) -> ! {
    RESIDUE.call_once(|| residue);
    gic::init();
    gic::init_vcpu(0);
    let tree =
        memory::device_tree(tree).unwrap_or_else(|| panic!("there is no device tree at {tree:#x}"));
    let environment =
        Environment::read(tree).unwrap_or_else(|missing| panic!("{missing} is missing"));
    psci::use_conduit(environment.conduit);
    payload_main(&environment);
    psci::system_off()
}
