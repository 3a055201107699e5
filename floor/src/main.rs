//! The floor: the least that any hypervisor can do for a guest that calls an OP-TEE built for
//! several.
//!
//! It announces one guest to OP-TEE, enters Linux at EL1 and from then on does one thing: an SMC
//! traps, gets the guest's client ID in a7, and goes on to the firmware. There is no stage 2, no
//! interrupt comes here, nothing is checked and nothing is copied, so one guest alone can run on
//! it, which must be trusted, on one CPU. What a call costs above the floor is what mediating it
//! costs.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod el2;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "floor: this program runs at EL2; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
