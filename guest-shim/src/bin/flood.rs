//! Writes numbered lines to its console without end, as fast as it is let, each with characters
//! that a terminal obeys.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod flood {
    use guest_shim::runtime::environment::Environment;

    guest_shim::payload!(run);

    fn run(_: &Environment) {
        for number in 0u64.. {
            guest_shim::println!("\x1b[2J@@flood {number}\x07\x7f\u{9b}1m\rvm2| @@late 0 us");
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "flood: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
