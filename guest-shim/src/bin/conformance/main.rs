//! Checks what a hypervisor owes its guests when they issue SMCs and HVCs (docs/testing.md, "The conformance kit").

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod architecture;
#[cfg(target_os = "none")]
mod psci;

#[cfg(target_os = "none")]
guest_shim::payload!(run);

#[cfg(target_os = "none")]
fn run(environment: &guest_shim::environment::Environment) {
    guest_shim::cases::run(environment);
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "conformance: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
