//! Measures what the way into the hypervisor and back costs, on a machine that counts instructions.
//!
//! There an instruction takes a nanosecond of the machine's time (QEMU, `-icount shift=0`), so that
//! the virtual counter counts instructions, some to a tick.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod cost {
    use guest_shim::arch::conduit::{repeat_call, repeat_nothing};
    use guest_shim::arch::registers::counter_frequency;
    use guest_shim::arch::{timer, uart};
    use guest_shim::case;
    use guest_shim::check;
    use guest_shim::runtime::check::Outcome;
    use guest_shim::runtime::environment::Environment;
    use guest_shim::runtime::psci;
    use smccc::{Conduit, fast32};

    /// What a call may take at most, from its instruction to the next one.
    const LIMIT: u64 = 185;

    const CALLS: u64 = 1000;

    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        guest_shim::kit::cases::run(environment);
    }

    fn ticks(action: impl FnOnce()) -> u64 {
        let before = timer::now();
        action();
        timer::now() - before
    }

    /// Instructions of a call, less those of the loop around it.
    fn measure(conduit: Conduit, id: u32) -> u64 {
        // The first round fills QEMU's caches, which cost no instructions, and shows that the
        // second is alike.
        let [_, calls] = [(); 2].map(|()| ticks(|| repeat_call(conduit, id, CALLS)));
        let nothing = ticks(|| repeat_nothing(CALLS));
        let nanoseconds = 1_000_000_000 / counter_frequency();
        calls.saturating_sub(nothing) * nanoseconds / CALLS
    }

    fn within_limit(name: &str, conduit: Conduit, id: u32) -> Outcome {
        let instructions = measure(conduit, id);
        guest_shim::println!("@@figure {name} {instructions} instructions");
        check!(
            (10..=LIMIT).contains(&instructions),
            "{instructions} instructions, not {LIMIT} at most"
        );
        Ok(())
    }

    /// What a character on the console may take at most: the look for room, the character, and its
    /// way out on the machine's UART. The guest's own few instructions are part of it, and two
    /// exits.
    const CHARACTER_LIMIT: u64 = 350;

    /// A line of 64 characters.
    const LINE: &[u8; 64] = b"All work and no play makes a guest that talks without end dull.\n";
    /// What fits into the guest's part of the console, so that nothing waits.
    const LINES: u64 = 24;

    case!(6, a_character_takes_350_instructions_at_most);
    fn a_character_takes_350_instructions_at_most(_: &Environment) -> Outcome {
        let measure = || {
            // What was said before is out by then.
            let quiet = timer::now() + timer::milliseconds(100);
            while timer::now() < quiet {}
            ticks(|| (0..LINES).for_each(|_| LINE.iter().for_each(|&byte| uart::send(byte))))
        };
        let [_, lines] = [(); 2].map(|()| measure());
        let nanoseconds = 1_000_000_000 / counter_frequency();
        let instructions = lines * nanoseconds / (LINES * LINE.len() as u64);
        guest_shim::println!("@@figure character {instructions} instructions");
        check!(
            (100..=CHARACTER_LIMIT).contains(&instructions),
            "{instructions} instructions, not {CHARACTER_LIMIT} at most"
        );
        Ok(())
    }

    case!(6, smccc_version_by_smc_takes_185_instructions_at_most);
    fn smccc_version_by_smc_takes_185_instructions_at_most(_: &Environment) -> Outcome {
        within_limit("smccc-version-by-smc", Conduit::Smc, 0x8000_0000)
    }

    case!(6, smccc_version_by_hvc_takes_185_instructions_at_most);
    fn smccc_version_by_hvc_takes_185_instructions_at_most(_: &Environment) -> Outcome {
        within_limit("smccc-version-by-hvc", Conduit::Hvc, 0x8000_0000)
    }

    case!(6, psci_version_takes_185_instructions_at_most);
    fn psci_version_takes_185_instructions_at_most(_: &Environment) -> Outcome {
        within_limit("psci-version", Conduit::Smc, psci::id::VERSION)
    }

    case!(6, the_hypervisor_s_uid_takes_185_instructions_at_most);
    fn the_hypervisor_s_uid_takes_185_instructions_at_most(_: &Environment) -> Outcome {
        within_limit("vendor-uid", Conduit::Smc, fast32(6, 0xff01))
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "dispatch_cost: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
