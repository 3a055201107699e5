//! All domains are alike: what a guest sees does not depend on which one it is.

use guest_shim::arch::registers;
use guest_shim::arch::{gic, timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, smc};
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::psci::{id, wide};
use guest_shim::{check, check_eq};
use smccc::Conduit;

use crate::other_vcpu::on_other_vcpu;

/// A call: identifier and arguments.
pub type Call = (u32, &'static [u64]);

/// Calls that must have the same answer at any time, on any vCPU, by any conduit and in every
/// guest, whatever policy it has and whether or not it has a TEE.
pub const ALWAYS_THE_SAME: &[Call] = &[
    (0x8000_0000, &[]),
    (0x8000_0001, &[0x8000_0000]),
    (0x8000_0001, &[0x8000_0002]),
    (0x8000_0001, &[0x8000_8000]),
    (0x8000_0001, &[0x8000_7fff]),
    (0x8000_0001, &[0x8000_3fff]),
    (0x8000_0001, &[0x8000_0ffe]),
    (0x8000_0002, &[0]),
    (0x8000_0002, &[1]),
    (0x8000_0002, &[2]),
    (0x8100_0000, &[1, 2, 3]),
    (0x8200_ff01, &[]),
    (0xc300_0001, &[1, 2, 3]),
    (id::VERSION, &[]),
    (id::FEATURES, &[id::CPU_SUSPEND as u64]),
    (id::FEATURES, &[id::SYSTEM_RESET2 as u64]),
    (id::FEATURES, &[id::CPU_FREEZE as u64]),
    (id::FEATURES, &[id::MEM_PROTECT as u64]),
    (id::FEATURES, &[id::STAT_COUNT as u64]),
    (id::MIGRATE_INFO_TYPE, &[]),
    (wide(id::AFFINITY_INFO), &[0, 0]),
    (wide(id::AFFINITY_INFO), &[0x55, 0]),
    (wide(id::CPU_ON), &[0x55, 0x4000_0000, 0]),
    (wide(id::CPU_ON), &[0, 0x4000_0000, 0]),
    (0x8400_0050, &[]),
    (0x8400_0051, &[0xc400_0053]),
    (0x8400_0052, &[]),
    (0xc400_0053, &[0]),
    (0x8500_ff01, &[]),
    (0x8600_ff01, &[]),
    (0x8600_ff03, &[]),
    (0x8700_0000, &[]),
    (0xb000_0000, &[]),
];

/// FNV-1a, 64 bits, over all registers after each of the calls.
fn answers() -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &(id, arguments) in ALWAYS_THE_SAME {
        for register in smc(id, arguments).after {
            for byte in register.to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    hash
}

/// Prints a digest of what the guest is answered and a random number, which the host tool compares
/// with those of other guests.
pub fn print_answers(environment: &Environment) {
    guest_shim::println!("@@guest {}", environment.name);
    guest_shim::println!("@@answers {:016x}", answers());
    let [result, draw @ ..]: [u64; 4] = smc(0xc400_0053, &[192]).results();
    if result == 0 {
        guest_shim::println!("@@draw {draw:016x?}");
    }
}

case!(7, every_vcpu_is_answered_alike);
fn every_vcpu_is_answered_alike(environment: &Environment) -> Outcome {
    let others = on_other_vcpu(environment, |_| answers())?;
    check_eq!(others, answers(), "the digest of what vCPU 1 is answered");
    Ok(())
}

case!(7, the_same_call_has_the_same_answer_each_time);
fn the_same_call_has_the_same_answer_each_time(_: &Environment) -> Outcome {
    let first = answers();
    for _ in 0..20 {
        check_eq!(answers(), first, "the digest of the answers");
    }
    Ok(())
}

case!(7, no_answer_depends_on_what_unused_registers_hold);
fn no_answer_depends_on_what_unused_registers_hold(_: &Environment) -> Outcome {
    for &(id, arguments) in ALWAYS_THE_SAME {
        let usual = call(Conduit::Smc, id, arguments);
        let mut before = usual.before;
        for register in before.iter_mut().skip(arguments.len() + 1) {
            *register = !*register;
        }
        let unusual = guest_shim::arch::conduit::issue(Conduit::Smc, 0, &before);
        check_eq!(unusual.result(), usual.result(), "what {id:#x} returns");
    }
    Ok(())
}

case!(7, memory_and_vcpus_are_numbered_alike);
fn memory_and_vcpus_are_numbered_alike(environment: &Environment) -> Outcome {
    check_eq!(environment.memory.0, 0x4000_0000, "the start of memory");
    for (n, &affinity) in environment.vcpus.iter().enumerate() {
        check_eq!(affinity, n as u64, "the affinity of vCPU {n}");
        check_eq!(
            u64::from(gic::redistributor_affinity(n)),
            affinity,
            "the affinity of redistributor {n}"
        );
    }
    check_eq!(registers::affinity(), environment.vcpus[0], "MPIDR_EL1");
    let other = on_other_vcpu(environment, |_| registers::affinity())?;
    check_eq!(other, environment.vcpus[1], "MPIDR_EL1 of vCPU 1");
    Ok(())
}

case!(7, the_virtual_counter_is_the_guest_s_own);
fn the_virtual_counter_is_the_guest_s_own(environment: &Environment) -> Outcome {
    // It counts from the guest's start, which was moments ago.
    let now = timer::now();
    check!(
        now < timer::milliseconds(600_000),
        "the counter is at {now:#x} already"
    );
    let other = on_other_vcpu(environment, |_| timer::now())?;
    check!(
        other >= now && other - now < timer::milliseconds(10_000),
        "the counter is {now:#x} on vCPU 0 and then {other:#x} on vCPU 1"
    );
    Ok(())
}
