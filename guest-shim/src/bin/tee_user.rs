//! Uses the TEE without end and without tidying up: to be restarted at any moment.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod tee_user {
    use alloc::string::String;

    use guest_shim::check_eq;
    use guest_shim::environment::Environment;
    use guest_shim::optee::{Page, close_session, open_session, register};
    use optee_abi::result;

    /// Buffers that stay registered.
    const BUFFERS: u64 = 8;
    /// The first page of spare memory that is a buffer.
    const FIRST_BUFFER: u64 = 8;

    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        if let Err(reason) = occupy(environment) {
            guest_shim::println!("@@failed {reason}");
            return;
        }
        guest_shim::println!("@@occupied");
        loop {
            if let Err(reason) = call(environment) {
                guest_shim::println!("@@failed {reason}");
                return;
            }
        }
    }

    /// Leaves buffers and a session.
    fn occupy(environment: &Environment) -> Result<(), String> {
        for n in 0..BUFFERS {
            let buffer = Page::of(environment, FIRST_BUFFER + n);
            let registered = register(environment, buffer.address, buffer.address)?;
            check_eq!(registered, result::SUCCESS, "the result of REGISTER_SHM");
        }
        open_session(environment)?;
        Ok(())
    }

    /// Two calls, in which a restart may come at any point.
    fn call(environment: &Environment) -> Result<(), String> {
        let session = open_session(environment)?;
        let closed = close_session(environment, session)?;
        check_eq!(closed, result::SUCCESS, "the result of CLOSE_SESSION");
        Ok(())
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "tee_user: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
