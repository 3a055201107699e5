//! Restarts its guest without end, and checks each time that nothing is left of the life before.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod restart {
    use alloc::string::String;
    use core::sync::atomic::{AtomicU64, Ordering};

    use guest_shim::arch::memory::SpareMemory;
    use guest_shim::arch::{gic, timer};
    use guest_shim::case;
    use guest_shim::runtime::check::Outcome;
    use guest_shim::runtime::conduit::smc;
    use guest_shim::runtime::environment::Environment;
    use guest_shim::runtime::payload::first_residue;
    use guest_shim::runtime::psci::{self, id, wide};
    use guest_shim::runtime::vcpu::{self, AFFINITY_OFF};
    use guest_shim::{check, check_eq};

    const PRISTINE: u64 = 0x7072_6973_7469_6e65;
    const USED: u64 = 0x7573_6564_2075_7021;

    /// In the image's data, of which each start must bring a new copy.
    static DATA: AtomicU64 = AtomicU64::new(PRISTINE);

    /// How long a life lasts.
    const LIFE_MS: u64 = 50;

    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        guest_shim::kit::cases::run(environment);
        leave_traces(environment);
        let result = psci::system_reset();
        guest_shim::println!("@@case 3 system_reset_does_not_return fail it returned {result}");
    }

    /// Changes memory, keeps the other vCPU busy and leaves an interrupt pending.
    fn leave_traces(environment: &Environment) {
        DATA.store(USED, Ordering::SeqCst);
        let spare = SpareMemory::of(environment.memory);
        let (start, end) = spare.bounds();
        for address in (start..end).step_by(64) {
            spare.write(address, USED);
        }
        let started = vcpu::start(environment, 1, |_| {
            loop {
                let _ = smc(0x8000_0000, &[]);
            }
        });
        if let Err(reason) = started {
            guest_shim::println!("@@case 3 a_busy_vcpu_is_reset fail {reason}");
        }
        timer::set(timer::milliseconds(LIFE_MS));
        timer::wait_for_interrupt();
        gic::send_sgi(9, environment.vcpus[0]);
    }

    case!(3, system_reset_brings_a_new_image);
    fn system_reset_brings_a_new_image(_: &Environment) -> Outcome {
        check_eq!(
            DATA.load(Ordering::SeqCst),
            PRISTINE,
            "the word in the image"
        );
        Ok(())
    }

    case!(3, system_reset_clears_memory);
    fn system_reset_clears_memory(environment: &Environment) -> Outcome {
        let spare = SpareMemory::of(environment.memory);
        let (start, end) = spare.bounds();
        for address in (start..end).step_by(64) {
            check_eq!(spare.read(address), 0, "the word at {address:#x}");
        }
        Ok(())
    }

    case!(3, system_reset_clears_registers);
    fn system_reset_clears_registers(_: &Environment) -> Outcome {
        let residue = first_residue().ok_or_else(|| String::from("nothing was recorded"))?;
        check!(
            residue.general == 0 && residue.thread_pointers == 0 && residue.tables == 0,
            "vCPU 0 started with {residue:#x?}"
        );
        Ok(())
    }

    case!(3, system_reset_turns_other_vcpus_off);
    fn system_reset_turns_other_vcpus_off(environment: &Environment) -> Outcome {
        let state = smc(wide(id::AFFINITY_INFO), &[environment.vcpus[1], 0]).result();
        check_eq!(state, AFFINITY_OFF, "AFFINITY_INFO of vCPU 1");
        Ok(())
    }

    case!(3, system_reset_forgets_interrupts);
    fn system_reset_forgets_interrupts(_: &Environment) -> Outcome {
        check_eq!(gic::acknowledge(), None, "the pending interrupt");
        Ok(())
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "restart: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
