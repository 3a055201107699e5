//! Arm architecture calls (SMCCC, DEN0028G, §7).

use guest_shim::arch::exchange::{NOT_SUPPORTED, SUCCESS};
use guest_shim::arch::registers;
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, smc};
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};
use smccc::Conduit;

const VERSION: u32 = 0x8000_0000;
const ARCH_FEATURES: u32 = 0x8000_0001;
const ARCH_SOC_ID: u32 = 0x8000_0002;
const ARCH_WORKAROUND_1: u32 = 0x8000_8000;
const ARCH_WORKAROUND_2: u32 = 0x8000_7fff;
const ARCH_WORKAROUND_3: u32 = 0x8000_3fff;

/// SMCCC_RET_NOT_REQUIRED (§7.1).
const NOT_REQUIRED: i64 = -2;
/// SMCCC_RET_INVALID_PARAMETER (§7.1).
const INVALID_PARAMETER: i64 = -3;

fn features(id: u32) -> i64 {
    smc(ARCH_FEATURES, &[u64::from(id)]).result()
}

case!(3, version_is_1_2_or_later);
fn version_is_1_2_or_later(_: &Environment) -> Outcome {
    let version = smc(VERSION, &[]).result();
    check!(version >= 0x1_0002, "SMCCC_VERSION is {version:#x}");
    check!(version < 0x2_0000, "SMCCC_VERSION is {version:#x}");
    Ok(())
}

case!(3, version_leaves_all_registers_but_x0);
fn version_leaves_all_registers_but_x0(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        call(conduit, VERSION, &[]).keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, features_know_version_and_features);
fn features_know_version_and_features(_: &Environment) -> Outcome {
    for id in [VERSION, ARCH_FEATURES] {
        check_eq!(features(id), SUCCESS, "ARCH_FEATURES({id:#x})");
    }
    Ok(())
}

case!(3, features_deny_what_is_not_there);
fn features_deny_what_is_not_there(_: &Environment) -> Outcome {
    for id in [
        0x8000_0fff,
        0x8000_7ffe,
        0xc000_0001,
        0x0000_0001,
        0x8000_ffff,
        0xffff_ffff,
    ] {
        check_eq!(features(id), NOT_SUPPORTED, "ARCH_FEATURES({id:#x})");
    }
    Ok(())
}

case!(3, features_look_at_32_bits_of_the_identifier);
fn features_look_at_32_bits_of_the_identifier(_: &Environment) -> Outcome {
    let argument = 0xdead_beef_0000_0000 | u64::from(ARCH_FEATURES);
    check_eq!(
        smc(ARCH_FEATURES, &[argument]).result(),
        SUCCESS,
        "ARCH_FEATURES({argument:#x})"
    );
    Ok(())
}

case!(3, features_leave_all_registers_but_x0);
fn features_leave_all_registers_but_x0(_: &Environment) -> Outcome {
    for id in [VERSION, ARCH_SOC_ID, ARCH_WORKAROUND_1, 0x8000_0fff] {
        smc(ARCH_FEATURES, &[u64::from(id)]).keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, soc_id_does_what_its_feature_says);
fn soc_id_does_what_its_feature_says(_: &Environment) -> Outcome {
    let soc_id = |kind: u64| smc(ARCH_SOC_ID, &[kind]).result();
    match features(ARCH_SOC_ID) {
        SUCCESS => {
            for kind in [0, 1] {
                let value = soc_id(kind);
                check!(value >= 0, "SOC_ID({kind}) is {value}");
            }
            for kind in [2, 0xffff_ffff] {
                check_eq!(soc_id(kind), INVALID_PARAMETER, "SOC_ID({kind:#x})");
            }
        }
        NOT_SUPPORTED => {
            for kind in [0, 1, 2, 0xffff_ffff] {
                check_eq!(soc_id(kind), NOT_SUPPORTED, "SOC_ID({kind:#x})");
            }
        }
        other => return Err(alloc::format!("ARCH_FEATURES(SOC_ID) is {other}")),
    }
    Ok(())
}

/// Asks for a workaround and calls it; it returns nothing. Where it is not required it must not be
/// invoked (§7.6), so what such a call does is open, but it may do no more than others.
fn workaround(id: u32, answers: &[i64]) -> Outcome {
    let feature = features(id);
    check!(
        answers.contains(&feature),
        "ARCH_FEATURES({id:#x}) is {feature}"
    );
    let exchange = smc(id, &[0]);
    if feature == NOT_SUPPORTED {
        check_eq!(exchange.result(), NOT_SUPPORTED, "call {id:#x}");
        exchange.keeps_all_but(1)
    } else {
        // W0 to W3 may be lost, no more (§7.5 to §7.7).
        exchange.keeps_all_but(4)
    }
}

case!(3, workaround_1_does_what_its_feature_says);
fn workaround_1_does_what_its_feature_says(_: &Environment) -> Outcome {
    workaround(ARCH_WORKAROUND_1, &[SUCCESS, 1, NOT_SUPPORTED])
}

case!(3, workaround_2_does_what_its_feature_says);
fn workaround_2_does_what_its_feature_says(_: &Environment) -> Outcome {
    workaround(
        ARCH_WORKAROUND_2,
        &[SUCCESS, 1, NOT_SUPPORTED, NOT_REQUIRED],
    )
}

case!(3, workaround_3_does_what_its_feature_says);
fn workaround_3_does_what_its_feature_says(_: &Environment) -> Outcome {
    workaround(ARCH_WORKAROUND_3, &[SUCCESS, 1, NOT_SUPPORTED])
}

case!(3, a_cpu_that_needs_workarounds_is_not_called_safe);
fn a_cpu_that_needs_workarounds_is_not_called_safe(_: &Environment) -> Outcome {
    /// MIDR_EL1's implementer and part number of Cortex-A57 and Cortex-A72.
    const AFFECTED: [u64; 2] = [0x41 << 24 | 0xd07 << 4, 0x41 << 24 | 0xd08 << 4];
    let midr = registers::midr();
    let csv2 = registers::id_aa64pfr0() >> 56 & 0xf;
    if csv2 != 0 || !AFFECTED.contains(&(midr & 0xff00_fff0)) {
        return Ok(());
    }
    for id in [ARCH_WORKAROUND_1, ARCH_WORKAROUND_3] {
        check!(
            features(id) != 1,
            "the CPU (MIDR {midr:#x}) is called safe without {id:#x}"
        );
    }
    Ok(())
}

case!(3, wide_and_yielding_forms_are_not_there);
fn wide_and_yielding_forms_are_not_there(_: &Environment) -> Outcome {
    for id in [VERSION, ARCH_FEATURES, ARCH_WORKAROUND_1] {
        for form in [id | 1 << 30, id & !(1 << 31), id & !(1 << 31) | 1 << 30] {
            let exchange = smc(form, &[u64::from(VERSION)]);
            check_eq!(exchange.result(), NOT_SUPPORTED, "call {form:#x}");
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(3, every_vcpu_gets_the_same_architecture_answers);
fn every_vcpu_gets_the_same_architecture_answers(environment: &Environment) -> Outcome {
    let answers = || {
        [
            smc(VERSION, &[]).result(),
            features(ARCH_SOC_ID),
            features(ARCH_WORKAROUND_1),
            features(ARCH_WORKAROUND_2),
            features(ARCH_WORKAROUND_3),
        ]
    };
    let others = crate::other_vcpu::on_other_vcpu(environment, move |_| answers())?;
    check_eq!(others, answers(), "what vCPU 1 is answered");
    Ok(())
}
