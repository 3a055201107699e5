//! Attacks OP-TEE through the mediator: sessions that are not this guest's to name, memory that
//! would use up OP-TEE's translation tables, and a kernel that starts anew with its predecessor's
//! calls and buffers left. Each case says what an attacker must get.
//!
//! What the cases can't see, because it would happen to others, `tests/hostile.rs` looks at:
//! another guest's xtest, and that the secure world does not panic.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod disk;
#[cfg(target_os = "none")]
mod held;
#[cfg(target_os = "none")]
mod probe_again;
#[cfg(target_os = "none")]
mod sessions;
#[cfg(target_os = "none")]
mod trials;
#[cfg(target_os = "none")]
mod window;

#[cfg(target_os = "none")]
guest_shim::payload!(run);

#[cfg(target_os = "none")]
fn run(environment: &guest_shim::runtime::environment::Environment) {
    guest_shim::kit::trials::run(environment, &trials::trials(environment));
    guest_shim::kit::cases::run(environment);
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "hostile: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
