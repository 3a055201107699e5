//! SMC and HVC are two ways to the same front door (SMCCC, DEN0028G, §2).

use guest_shim::arch::conduit::{IMMEDIATES, issue};
use guest_shim::arch::exchange::{CALL_REGISTERS, NOT_SUPPORTED};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, registers};
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::psci::{self, id, status, wide};
use guest_shim::runtime::vcpu::AFFINITY_OFF;
use guest_shim::{arch, check, check_eq};
use smccc::{Conduit, FAST, WIDE, fast32};

use crate::alike::ALWAYS_THE_SAME;

const VERSION: u32 = 0x8000_0000;

case!(0, both_conduits_give_the_same_answers);
fn both_conduits_give_the_same_answers(_: &Environment) -> Outcome {
    for &(id, arguments) in ALWAYS_THE_SAME {
        let [smc, hvc] = Conduit::ALL.map(|conduit| call(conduit, id, arguments).after);
        check_eq!(hvc, smc, "what HVC {id:#x} leaves in the registers");
    }
    Ok(())
}

case!(0, both_conduits_refuse_the_same_calls);
fn both_conduits_refuse_the_same_calls(_: &Environment) -> Outcome {
    for owner in 0..64 {
        for form in [0, WIDE, FAST, FAST | WIDE] {
            let id = owner << 24 | form | 0x7ffd;
            let [smc, hvc] = Conduit::ALL.map(|conduit| call(conduit, id, &[]).after);
            check_eq!(hvc, smc, "what HVC {id:#x} leaves in the registers");
        }
    }
    Ok(())
}

/// An immediate other than 0 is reserved (§2.9).
fn immediates_are_refused(conduit: Conduit) -> Outcome {
    for &immediate in IMMEDIATES.iter().filter(|&&immediate| immediate != 0) {
        for id in [VERSION, id::VERSION, fast32(6, 0xff01), fast32(63, 0xff01)] {
            let exchange = issue(conduit, immediate, &registers(id, &[]));
            let result = exchange.after[0] as i64;
            check_eq!(result, NOT_SUPPORTED, "{conduit:?} #{immediate} of {id:#x}");
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(0, smc_immediates_other_than_0_are_refused);
fn smc_immediates_other_than_0_are_refused(_: &Environment) -> Outcome {
    immediates_are_refused(Conduit::Smc)
}

case!(0, hvc_immediates_other_than_0_are_refused);
fn hvc_immediates_other_than_0_are_refused(_: &Environment) -> Outcome {
    immediates_are_refused(Conduit::Hvc)
}

case!(0, a_call_with_an_immediate_has_no_effect);
fn a_call_with_an_immediate_has_no_effect(environment: &Environment) -> Outcome {
    let arguments = [environment.vcpus[1], arch::secondary::secondary_entry(), 0];
    for conduit in Conduit::ALL {
        let exchange = issue(conduit, 1, &registers(wide(id::CPU_ON), &arguments));
        check_eq!(exchange.result(), NOT_SUPPORTED, "CPU_ON by {conduit:?} #1");
    }
    let state = psci::psci(wide(id::AFFINITY_INFO), &[environment.vcpus[1], 0]);
    check_eq!(state, AFFINITY_OFF, "AFFINITY_INFO of vCPU 1");
    Ok(())
}

case!(0, the_upper_half_of_x0_means_nothing);
fn the_upper_half_of_x0_means_nothing(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        for id in [VERSION, id::VERSION, fast32(6, 0xff03)] {
            let plain = call(conduit, id, &[]).results::<2>();
            let mut before = registers(id, &[]);
            before[0] |= 0xdead_beef_0000_0000;
            let exchange = issue(conduit, 0, &before);
            check_eq!(
                exchange.results::<2>(),
                plain,
                "what {conduit:?} {:#x} returns",
                before[0]
            );
        }
    }
    Ok(())
}

case!(0, the_conduit_of_the_device_tree_serves_psci);
fn the_conduit_of_the_device_tree_serves_psci(environment: &Environment) -> Outcome {
    check_eq!(
        psci::conduit() as u32,
        environment.conduit as u32,
        "the conduit in use"
    );
    let version = call(environment.conduit, id::VERSION, &[]).result();
    check!(version >= 0x1_0001, "PSCI_VERSION is {version:#x}");
    if let Some(tee) = environment.tee {
        check_eq!(tee as u32, environment.conduit as u32, "the TEE's conduit");
    }
    Ok(())
}

case!(0, fast_and_yielding_calls_are_told_apart);
fn fast_and_yielding_calls_are_told_apart(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        for id in [id::VERSION, id::FEATURES, fast32(6, 0xff01)] {
            let exchange = call(conduit, id & !FAST, &[]);
            check_eq!(
                exchange.result(),
                NOT_SUPPORTED,
                "yielding call {:#x}",
                id & !FAST
            );
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(0, smc32_and_smc64_are_told_apart);
fn smc32_and_smc64_are_told_apart(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        for id in [
            id::VERSION,
            id::FEATURES,
            id::MIGRATE_INFO_TYPE,
            fast32(6, 0xff01),
        ] {
            let exchange = call(conduit, id | WIDE, &[]);
            check_eq!(
                exchange.result(),
                NOT_SUPPORTED,
                "SMC64 call {:#x}",
                id | WIDE
            );
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(0, every_register_is_kept_over_many_calls);
fn every_register_is_kept_over_many_calls(_: &Environment) -> Outcome {
    for round in 0..1000u64 {
        for conduit in Conduit::ALL {
            let mut before = registers(fast32(7, 1), &[]);
            for register in &mut before[1..] {
                *register = register.rotate_left(round as u32 & 63);
            }
            issue(conduit, 0, &before).keeps_all_but(1)?;
        }
    }
    check_eq!(CALL_REGISTERS, 18, "the number of call registers");
    check_eq!(
        psci::psci(id::FEATURES, &[u64::from(id::CPU_ON)]),
        status::SUCCESS,
        "PSCI_FEATURES"
    );
    Ok(())
}
