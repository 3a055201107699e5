//! Sleeps and wakes up without end, and tells how late: what a guest has to wait for others on its
//! CPU.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod wake_up {
    use guest_shim::arch::registers::counter_frequency;
    use guest_shim::arch::{gic, timer};
    use guest_shim::runtime::environment::Environment;

    /// How many times it wakes up between two lines.
    const WAKE_UPS: u64 = 10;
    /// It sleeps from one to this many milliseconds, by turns, so that it keeps no time with
    /// anybody.
    const LONGEST_MS: u64 = 7;

    guest_shim::payload!(run);

    fn run(_: &Environment) {
        loop {
            let latest = (0..WAKE_UPS).map(|n| lateness(1 + n % LONGEST_MS)).max();
            let microseconds = latest.unwrap_or_default() * 1_000_000 / counter_frequency();
            guest_shim::println!("@@late {microseconds} us");
        }
    }

    /// Sleeps for a number of milliseconds; how late it wakes up, in ticks.
    fn lateness(milliseconds: u64) -> u64 {
        let sleep = timer::milliseconds(milliseconds);
        let due = timer::now() + sleep;
        timer::set(sleep);
        while gic::acknowledge() != Some(timer::VIRTUAL_TIMER) {
            timer::wait_for_interrupt();
        }
        timer::now() - due
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "wake_up: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
