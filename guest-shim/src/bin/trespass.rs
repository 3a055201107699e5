//! Touches memory that its guest has not, at the address after `bulkhead.trespass=` on the command
//! line. The hypervisor has to stop the guest for it, and no other.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod trespass {
    use guest_shim::arch::memory::trespass;
    use guest_shim::runtime::environment::Environment;

    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        let address = environment.trespass.unwrap_or(environment.memory_end());
        guest_shim::println!("@@trespass {address:#x}");
        let value = trespass(address);
        guest_shim::println!("@@survived {address:#x}, which holds {value:#x}");
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "trespass: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
