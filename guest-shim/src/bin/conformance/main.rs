//! Checks what a hypervisor owes its guests when they issue SMCs and HVCs (docs/testing.md, "The
//! conformance kit").

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod alike;
#[cfg(target_os = "none")]
mod architecture;
#[cfg(target_os = "none")]
mod clock;
#[cfg(target_os = "none")]
mod conduits;
#[cfg(target_os = "none")]
mod debug;
#[cfg(target_os = "none")]
mod features;
#[cfg(target_os = "none")]
mod forwarding;
#[cfg(target_os = "none")]
mod interrupt_state;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod isolation;
#[cfg(target_os = "none")]
mod other_vcpu;
#[cfg(target_os = "none")]
mod owners;
#[cfg(target_os = "none")]
mod psci;
#[cfg(target_os = "none")]
mod psci_optional;
#[cfg(target_os = "none")]
mod psci_power;
#[cfg(target_os = "none")]
mod residue;
#[cfg(target_os = "none")]
mod tee;
#[cfg(target_os = "none")]
mod tee_messages;
#[cfg(target_os = "none")]
mod timers;
#[cfg(target_os = "none")]
mod trng;
#[cfg(target_os = "none")]
mod undefined;
#[cfg(target_os = "none")]
mod vendor;
#[cfg(target_os = "none")]
mod writable;

#[cfg(target_os = "none")]
guest_shim::payload!(run);

#[cfg(target_os = "none")]
fn run(environment: &guest_shim::runtime::environment::Environment) {
    alike::print_answers(environment);
    guest_shim::kit::cases::run(environment);
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "conformance: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
