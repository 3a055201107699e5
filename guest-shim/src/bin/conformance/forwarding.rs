//! Calls that a guest's policy forwards to the firmware, and calls that it denies.

use guest_shim::arch::exchange::{Exchange, NOT_SUPPORTED};
use guest_shim::case;
use guest_shim::check_eq;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::call;
use guest_shim::runtime::environment::Environment;
use smccc::{Conduit, FAST, WIDE, fast32};

use crate::other_vcpu::on_other_vcpu;

const CALL_COUNT: u32 = fast32(4, 0xff00);
const UID: u32 = fast32(4, 0xff01);
const REVISION: u32 = fast32(4, 0xff03);

/// The UID and revision of TF-A's standard service (services/std_svc/std_svc_setup.c, 2.12).
const FIRMWARE_UID: [u64; 4] = [0x108d_905b, 0x47e8_f863, 0xfbc0_2dae, 0xe2f6_4156];
const FIRMWARE_REVISION: [u64; 2] = [0, 1];

fn refused(exchange: &Exchange) -> Outcome {
    check_eq!(
        exchange.result(),
        NOT_SUPPORTED,
        "call {:#x}",
        exchange.before[0]
    );
    exchange.keeps_all_but(1)
}

case!(2, the_firmware_s_uid_comes_only_where_it_is_listed);
fn the_firmware_s_uid_comes_only_where_it_is_listed(environment: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        let exchange = call(conduit, UID, &[]);
        if environment.forwarded.contains(&UID) {
            check_eq!(
                exchange.results::<4>(),
                FIRMWARE_UID,
                "the firmware's UID by {conduit:?}"
            );
        } else {
            refused(&exchange)?;
        }
    }
    Ok(())
}

case!(2, the_firmware_s_revision_comes_only_where_it_is_listed);
fn the_firmware_s_revision_comes_only_where_it_is_listed(environment: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        let exchange = call(conduit, REVISION, &[]);
        if environment.forwarded.contains(&REVISION) {
            check_eq!(
                exchange.results::<2>(),
                FIRMWARE_REVISION,
                "the firmware's revision by {conduit:?}"
            );
        } else {
            refused(&exchange)?;
        }
    }
    Ok(())
}

case!(2, neighbours_of_what_is_listed_are_refused);
fn neighbours_of_what_is_listed_are_refused(environment: &Environment) -> Outcome {
    for id in [
        CALL_COUNT,
        fast32(4, 0xff02),
        fast32(4, 0xff04),
        fast32(4, 0xfeff),
    ] {
        if !environment.forwarded.contains(&id) {
            refused(&call(Conduit::Smc, id, &[]))?;
        }
    }
    Ok(())
}

case!(2, other_forms_of_what_is_listed_are_refused);
fn other_forms_of_what_is_listed_are_refused(_: &Environment) -> Outcome {
    for id in [UID, REVISION] {
        for form in [id | WIDE, id & !FAST, id & !FAST | WIDE] {
            refused(&call(Conduit::Smc, form, &[]))?;
        }
    }
    Ok(())
}

case!(2, other_vcpus_are_forwarded_alike);
fn other_vcpus_are_forwarded_alike(environment: &Environment) -> Outcome {
    let answers = || [UID, REVISION].map(|id| call(Conduit::Smc, id, &[]).results::<4>());
    let others = on_other_vcpu(environment, move |_| answers())?;
    check_eq!(others, answers(), "what vCPU 1 gets from the firmware");
    Ok(())
}

case!(9, a_forwarded_call_keeps_what_smccc_says);
fn a_forwarded_call_keeps_what_smccc_says(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        for id in [UID, REVISION] {
            call(conduit, id, &[]).keeps_all_but(4)?;
        }
    }
    Ok(())
}

case!(9, a_forwarded_call_brings_back_no_address);
fn a_forwarded_call_brings_back_no_address(_: &Environment) -> Outcome {
    let exchange = call(Conduit::Smc, UID, &[]);
    for (n, (before, after)) in exchange.before.iter().zip(&exchange.after).enumerate() {
        let from_firmware = FIRMWARE_UID.contains(after) || *after as i64 == NOT_SUPPORTED;
        check_eq!(
            before == after || from_firmware,
            true,
            "that x{n} is known, {after:#x},"
        );
    }
    Ok(())
}

case!(8, denied_calls_are_refused_and_others_are_not);
fn denied_calls_are_refused_and_others_are_not(environment: &Environment) -> Outcome {
    /// Calls that every guest may make unless they are denied.
    const ALLOWED: [u32; 3] = [fast32(6, 0xff00), fast32(6, 0xff01), fast32(6, 0xff03)];
    for conduit in Conduit::ALL {
        for id in ALLOWED {
            let exchange = call(conduit, id, &[]);
            if environment.denied.contains(&id) {
                refused(&exchange)?;
            } else {
                check_eq!(
                    exchange.result() == NOT_SUPPORTED,
                    false,
                    "that {id:#x} is refused"
                );
            }
        }
    }
    for &id in &environment.denied {
        refused(&call(Conduit::Smc, id, &[]))?;
    }
    Ok(())
}

case!(8, what_is_not_listed_is_refused_however_often_it_is_tried);
fn what_is_not_listed_is_refused_however_often_it_is_tried(_: &Environment) -> Outcome {
    for n in 0..5000 {
        for id in [fast32(2, n), fast32(3, n) | WIDE] {
            refused(&call(Conduit::Smc, id, &[u64::MAX, u64::MAX]))?;
        }
    }
    Ok(())
}

case!(8, other_standard_services_are_refused);
fn other_standard_services_are_refused(_: &Environment) -> Outcome {
    // SDEI (DEN0054), management mode (DEN0060), firmware update (DEN0118), errata (DEN0100), PCI
    // configuration (DEN0115) and live activation, as the firmware might have them.
    for number in [
        0x20, 0x2a, 0x40, 0x41, 0xf0, 0xf4, 0x130, 0x131, 0x170, 0x1b0, 0x300,
    ] {
        for form in [FAST, FAST | WIDE] {
            refused(&call(Conduit::Smc, 4 << 24 | form | number, &[]))?;
        }
    }
    Ok(())
}

case!(5, a_tee_that_no_mediator_serves_is_not_there);
fn a_tee_that_no_mediator_serves_is_not_there(_: &Environment) -> Outcome {
    // FF-A (DEN0077A): from FFA_ERROR to what 1.2 defines, in both forms.
    for number in 0x60..=0x9f {
        for form in [FAST, FAST | WIDE] {
            for conduit in Conduit::ALL {
                refused(&call(conduit, 4 << 24 | form | number, &[0x1_0001]))?;
            }
        }
    }
    Ok(())
}
