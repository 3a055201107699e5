//! The hypervisor's image. All of it lives in the library, which `entry` in `boot::entry` starts.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
use hypervisor as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "hypervisor: this program runs at EL2; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
