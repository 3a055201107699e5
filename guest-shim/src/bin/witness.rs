//! Proves that it goes on: on each of its vCPUs it takes one step after the other, awake and asleep
//! by turns, and tells the longest time between two of them.
//!
//! ```text
//! @@witness VCPU STEPS steps, at most MICROSECONDS us between two
//! ```
//!
//! By its counter, that is: whether the host held up the machine meanwhile does not show there.
//! Between two of its marks, QEMU's plugin counts what the CPU executed (`instruction-counter/`).

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod witness {
    use guest_shim::arch::registers::counter_frequency;
    use guest_shim::arch::wild::mark;
    use guest_shim::arch::{gic, timer};
    use guest_shim::runtime::environment::Environment;
    use guest_shim::runtime::vcpu;

    /// Steps awake between two marks, and what each consists of.
    const STEPS: u64 = 100;
    const SPINS: u64 = 100;
    /// How long it sleeps after that.
    const SLEEP_MS: u64 = 1;
    /// How often it does both between two lines.
    const ROUNDS: u64 = 50;

    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        for index in 1..environment.vcpus.len() {
            if let Err(reason) = vcpu::start(environment, index, move |_| watch(index)) {
                guest_shim::println!("@@failed vCPU {index}: {reason}");
                return;
            }
        }
        watch(0);
    }

    fn watch(index: usize) {
        let mut longest = 0;
        let mut steps = 0_u64;
        let mut last = timer::now();
        let mut step = || {
            let now = timer::now();
            longest = longest.max(now - last);
            last = now;
            steps += 1;
            (steps, longest)
        };
        mark::first();
        loop {
            for _ in 0..ROUNDS {
                for _ in 0..STEPS {
                    for _ in 0..SPINS {
                        core::hint::spin_loop();
                    }
                    step();
                }
                mark::next();
                timer::set(timer::milliseconds(SLEEP_MS));
                while gic::acknowledge() != Some(timer::VIRTUAL_TIMER) {
                    timer::wait_for_interrupt();
                }
                step();
            }
            let (steps, longest) = step();
            let microseconds = longest * 1_000_000 / counter_frequency();
            guest_shim::println!(
                "@@witness {index} {steps} steps, at most {microseconds} us between two"
            );
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "witness: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
