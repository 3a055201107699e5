//! Does at random what a guest can do, on all its vCPUs, until it dies of it or is stopped: then
//! somebody at the console restarts it.
//!
//! ```text
//! @@seed SEED
//! @@did smc=COUNT hvc=COUNT tee=COUNT …
//! ```
//!
//! The counts are of this life, and come again and again. The seed is drawn from the hypervisor,
//! unless `bulkhead.seed=SEED` on the command line says which it is: with one vCPU, the same seed
//! does the same.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod actions;
#[cfg(target_os = "none")]
mod tee;

#[cfg(target_os = "none")]
mod fuzz {
    use alloc::string::String;
    use core::fmt::Write as _;
    use core::sync::atomic::{AtomicU64, Ordering};

    use guest_shim::arch::memory::SpareMemory;
    use guest_shim::arch::{gic, uart};
    use guest_shim::kit::random::Random;
    use guest_shim::runtime::conduit::smc;
    use guest_shim::runtime::environment::Environment;
    use guest_shim::runtime::psci::{self, id, wide};
    use guest_shim::runtime::vcpu::{self, AFFINITY_OFF};

    use crate::actions::{self, Kind, Player};
    use crate::tee::Tee;

    guest_shim::payload!(run);

    /// TRNG_RND64 (DEN0098 1.0, §2.5).
    const RANDOM: u32 = 0xc400_0053;

    /// Actions of a vCPU between two reports.
    const REPORTED_EVERY: u64 = 2_000;

    /// How often each kind of action was done, on all vCPUs.
    static DONE: [AtomicU64; Kind::ALL.len()] = [const { AtomicU64::new(0) }; Kind::ALL.len()];

    fn run(environment: &Environment) {
        let [_, _, _, drawn]: [u64; 4] = smc(RANDOM, &[64]).results();
        let seed = environment.seed.unwrap_or(drawn);
        guest_shim::println!("@@seed {seed:#x}");
        let mut lives = 0;
        start_others(environment, seed, &mut lives);
        let mut player = player(environment, 0, seed);
        loop {
            play(&mut player);
            start_others(environment, seed, &mut lives);
        }
    }

    /// Starts the vCPUs that are off.
    fn start_others(environment: &Environment, seed: u64, lives: &mut u64) {
        for index in 1..environment.vcpus.len() {
            let state = psci::psci(wide(id::AFFINITY_INFO), &[environment.vcpus[index], 0]);
            if state == AFFINITY_OFF {
                *lives += 1;
                let mut player = player(environment, index, seed ^ *lives << 32);
                // It may be refused, as any call.
                let _ = vcpu::start(environment, index, move |_| {
                    loop {
                        play(&mut player);
                    }
                });
            }
        }
    }

    fn player(environment: &Environment, index: usize, seed: u64) -> Player {
        let memory = SpareMemory::of(environment.memory);
        Player {
            random: Random::new(seed.wrapping_add(index as u64)),
            vcpu: index,
            vcpus: environment.vcpus.len(),
            memory_end: environment.memory_end(),
            tee: environment
                .tee
                .map(|conduit| Tee::new(conduit, memory, index, environment.memory_end())),
        }
    }

    /// Some actions and a report.
    fn play(player: &mut Player) {
        for _ in 0..REPORTED_EVERY {
            let kind = player.act();
            DONE[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        // What was done to the devices may keep the report from getting out, and sleep from ending.
        uart::enable();
        gic::init();
        gic::init_vcpu(player.vcpu);
        let mut report = String::from("\n@@did");
        for (kind, done) in Kind::ALL.iter().zip(&DONE) {
            // A string takes whatever it is given.
            let _ = write!(
                report,
                " {}={}",
                actions::name(*kind),
                done.load(Ordering::Relaxed)
            );
        }
        guest_shim::println!("{report}");
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "fuzz: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
