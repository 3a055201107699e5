//! Sets its timers to what is as far away as can be: sums of such values wrap. Afterwards the
//! machine has to go on.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod timer_extremes {
    use guest_shim::arch::timer::{self, ENABLE, MASK, Timer};
    use guest_shim::runtime::environment::Environment;

    /// How long each setting stands.
    const EACH_MS: u64 = 20;

    /// Values of the counter that are reached in decades, if at all.
    const COMPARE_VALUES: [u64; 7] = [
        u64::MAX,
        u64::MAX - 1,
        u64::MAX - (1 << 20),
        u64::MAX - (1 << 40),
        1 << 63,
        (1 << 63) - 1,
        1 << 62,
    ];
    /// Furthest behind and furthest ahead.
    const TIMER_VALUES: [i32; 2] = [i32::MIN, i32::MAX];

    guest_shim::payload!(run);

    fn run(_: &Environment) {
        for timer in Timer::ALL {
            for value in COMPARE_VALUES {
                timer.set_compare_value(value);
                stand(timer, format_args!("{timer:?} at {value:#x}"));
            }
            for value in TIMER_VALUES {
                timer.set_timer_value(value);
                stand(timer, format_args!("{timer:?} in {value}"));
            }
        }
        guest_shim::println!("@@stood");
    }

    fn stand(timer: Timer, what: core::fmt::Arguments<'_>) {
        guest_shim::println!("{what}");
        for control in [ENABLE, ENABLE | MASK] {
            timer.set_control(control);
            let end = timer::now() + timer::milliseconds(EACH_MS);
            while timer::now() < end {}
        }
        timer.stop();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "timer_extremes: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
