//! Goes through OP-TEE's ABI with the real OP-TEE: each way to call, each command, each kind of
//! parameter, RPCs and notifications, and what is refused (docs/smc-calls.md).

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod buffers;
#[cfg(target_os = "none")]
mod cache;
#[cfg(target_os = "none")]
mod commands;
#[cfg(target_os = "none")]
mod flavours;
#[cfg(target_os = "none")]
mod lifetimes;
#[cfg(target_os = "none")]
mod notifications;
#[cfg(target_os = "none")]
mod parameters;
#[cfg(target_os = "none")]
mod places;
#[cfg(target_os = "none")]
mod references;
#[cfg(target_os = "none")]
mod rpcs;
#[cfg(target_os = "none")]
mod test_ta;
#[cfg(target_os = "none")]
mod threads;

#[cfg(target_os = "none")]
guest_shim::payload!(run);

#[cfg(target_os = "none")]
fn run(environment: &guest_shim::runtime::environment::Environment) {
    guest_shim::kit::cases::run(environment);
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "tee_abi: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
