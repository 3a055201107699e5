//! PSCI 1.1: what asks and changes nothing, and what is refused (DEN0022F.b, §5.1).

use guest_shim::arch::secondary::secondary_entry;
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, smc};
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::psci::{id, status, wide};
use guest_shim::runtime::vcpu::{self, AFFINITY_OFF, AFFINITY_ON};
use guest_shim::{check, check_eq};
use smccc::Conduit;

/// Affinities that no vCPU has: unused numbers at each level, and bits that are reserved (§5.1.4).
const NOBODY: [u64; 7] = [0x55, 0x100, 0x1_0000, 1 << 32, 1 << 31, 1 << 40, u64::MAX];

fn features(id: u32) -> i64 {
    smc(id::FEATURES, &[u64::from(id)]).result()
}

case!(3, psci_version_is_1_1);
fn psci_version_is_1_1(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        let exchange = call(conduit, id::VERSION, &[]);
        check_eq!(exchange.result(), 0x1_0001, "PSCI_VERSION");
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, psci_features_name_what_is_mandatory);
fn psci_features_name_what_is_mandatory(_: &Environment) -> Outcome {
    for id in [
        id::VERSION,
        id::CPU_OFF,
        id::CPU_ON,
        id::AFFINITY_INFO,
        id::SYSTEM_OFF,
        id::SYSTEM_RESET,
        id::FEATURES,
        wide(id::CPU_ON),
        wide(id::AFFINITY_INFO),
    ] {
        check_eq!(features(id), status::SUCCESS, "PSCI_FEATURES({id:#x})");
    }
    Ok(())
}

case!(3, psci_features_of_cpu_suspend_have_no_reserved_flags);
fn psci_features_of_cpu_suspend_have_no_reserved_flags(_: &Environment) -> Outcome {
    for id in [id::CPU_SUSPEND, wide(id::CPU_SUSPEND)] {
        let flags = features(id);
        check!(
            (0..=3).contains(&flags),
            "PSCI_FEATURES({id:#x}) is {flags}"
        );
    }
    Ok(())
}

case!(3, psci_features_know_smccc_version);
fn psci_features_know_smccc_version(_: &Environment) -> Outcome {
    check_eq!(
        features(0x8000_0000),
        status::SUCCESS,
        "PSCI_FEATURES(SMCCC_VERSION)"
    );
    Ok(())
}

case!(3, psci_features_deny_what_is_no_psci_function);
fn psci_features_deny_what_is_no_psci_function(_: &Environment) -> Outcome {
    for id in [
        0,
        0x8000_0001,
        0x8400_0015,
        0x8400_001f,
        0x8400_0053,
        0x0400_0003,
        0x8400_ff01,
        wide(id::VERSION),
        wide(id::CPU_OFF),
        wide(id::SYSTEM_OFF),
        0xffff_ffff,
    ] {
        check_eq!(
            features(id),
            status::NOT_SUPPORTED,
            "PSCI_FEATURES({id:#x})"
        );
    }
    Ok(())
}

case!(3, psci_functions_without_a_wide_form_have_none);
fn psci_functions_without_a_wide_form_have_none(_: &Environment) -> Outcome {
    for id in [
        id::VERSION,
        id::CPU_OFF,
        id::MIGRATE_INFO_TYPE,
        id::SYSTEM_OFF,
        id::SYSTEM_RESET,
        id::FEATURES,
        id::CPU_FREEZE,
        id::SET_SUSPEND_MODE,
        id::MEM_PROTECT,
    ] {
        let exchange = smc(wide(id), &[]);
        check_eq!(
            exchange.result(),
            status::NOT_SUPPORTED,
            "call {:#x}",
            wide(id)
        );
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, psci_numbers_above_those_of_1_1_are_refused);
fn psci_numbers_above_those_of_1_1_are_refused(_: &Environment) -> Outcome {
    for id in 0x8400_0015..=0x8400_001f {
        for form in [id, wide(id)] {
            let exchange = smc(form, &[0, 0, 0]);
            check_eq!(exchange.result(), status::NOT_SUPPORTED, "call {form:#x}");
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(3, affinity_info_says_who_is_on);
fn affinity_info_says_who_is_on(environment: &Environment) -> Outcome {
    for form in [id::AFFINITY_INFO, wide(id::AFFINITY_INFO)] {
        for (n, &affinity) in environment.vcpus.iter().enumerate() {
            let expected = if n == 0 { AFFINITY_ON } else { AFFINITY_OFF };
            let exchange = smc(form, &[affinity, 0]);
            check_eq!(exchange.result(), expected, "AFFINITY_INFO of vCPU {n}");
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(3, affinity_info_refuses_who_is_not_there);
fn affinity_info_refuses_who_is_not_there(_: &Environment) -> Outcome {
    for affinity in NOBODY {
        let result = smc(wide(id::AFFINITY_INFO), &[affinity, 0]).result();
        check_eq!(
            result,
            status::INVALID_PARAMETERS,
            "AFFINITY_INFO of {affinity:#x}"
        );
    }
    let result = smc(id::AFFINITY_INFO, &[0x55, 0]).result();
    check_eq!(result, status::INVALID_PARAMETERS, "AFFINITY_INFO of 0x55");
    Ok(())
}

case!(3, affinity_info_refuses_levels_that_are_not_there);
fn affinity_info_refuses_levels_that_are_not_there(_: &Environment) -> Outcome {
    for level in [4, 5, 0xffff_ffff] {
        let result = smc(id::AFFINITY_INFO, &[0, level]).result();
        check_eq!(
            result,
            status::INVALID_PARAMETERS,
            "AFFINITY_INFO at level {level}"
        );
    }
    // Levels 1 to 3 need not be supported (§5.1.6); where they are, vCPU 0, which is on, is among
    // them.
    for level in 1..=3 {
        let result = smc(id::AFFINITY_INFO, &[0, level]).result();
        check!(
            [status::INVALID_PARAMETERS, AFFINITY_ON].contains(&result),
            "AFFINITY_INFO at level {level} is {result}"
        );
    }
    Ok(())
}

case!(3, affinity_info_32_looks_at_32_bits);
fn affinity_info_32_looks_at_32_bits(_: &Environment) -> Outcome {
    let garbage = 0xdead_beef_0000_0000;
    let result = smc(id::AFFINITY_INFO, &[garbage, garbage]).result();
    check_eq!(result, AFFINITY_ON, "AFFINITY_INFO of vCPU 0");
    Ok(())
}

case!(3, cpu_on_refuses_who_is_not_there);
fn cpu_on_refuses_who_is_not_there(_: &Environment) -> Outcome {
    for affinity in NOBODY {
        let exchange = smc(wide(id::CPU_ON), &[affinity, secondary_entry(), 0]);
        check_eq!(
            exchange.result(),
            status::INVALID_PARAMETERS,
            "CPU_ON of {affinity:#x}"
        );
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, cpu_on_refuses_who_is_on);
fn cpu_on_refuses_who_is_on(environment: &Environment) -> Outcome {
    for form in [id::CPU_ON, wide(id::CPU_ON)] {
        let exchange = smc(form, &[environment.vcpus[0], secondary_entry(), 0]);
        check_eq!(exchange.result(), status::ALREADY_ON, "CPU_ON of vCPU 0");
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, cpu_on_refuses_entries_outside_of_memory);
fn cpu_on_refuses_entries_outside_of_memory(environment: &Environment) -> Outcome {
    let outside = [
        0,
        0x0800_0000,
        0x0900_0000,
        environment.memory.0 - 4,
        environment.memory_end(),
        1 << 40,
        1 << 48,
        u64::MAX - 3,
    ];
    for entry in outside {
        let exchange = smc(wide(id::CPU_ON), &[environment.vcpus[1], entry, 0]);
        check_eq!(
            exchange.result(),
            status::INVALID_ADDRESS,
            "CPU_ON at {entry:#x}"
        );
        exchange.keeps_all_but(1)?;
    }
    let result = smc(id::CPU_ON, &[environment.vcpus[1], 0x900_0000, 0]).result();
    check_eq!(result, status::INVALID_ADDRESS, "CPU_ON at 0x9000000");
    Ok(())
}

case!(3, cpu_on_refuses_entries_that_are_no_instruction_s);
fn cpu_on_refuses_entries_that_are_no_instruction_s(environment: &Environment) -> Outcome {
    for offset in 1..4 {
        let entry = secondary_entry() + offset;
        let result = smc(wide(id::CPU_ON), &[environment.vcpus[1], entry, 0]).result();
        check_eq!(result, status::INVALID_ADDRESS, "CPU_ON at {entry:#x}");
    }
    Ok(())
}

case!(3, a_refused_cpu_on_leaves_the_vcpu_off);
fn a_refused_cpu_on_leaves_the_vcpu_off(environment: &Environment) -> Outcome {
    let affinity = environment.vcpus[1];
    let refused = smc(wide(id::CPU_ON), &[affinity, environment.memory_end(), 0]).result();
    check_eq!(refused, status::INVALID_ADDRESS, "CPU_ON behind memory");
    let state = smc(wide(id::AFFINITY_INFO), &[affinity, 0]).result();
    check_eq!(state, AFFINITY_OFF, "AFFINITY_INFO");
    vcpu::run(environment, 1, |_| ())
}

case!(3, cpu_suspend_refuses_reserved_bits);
fn cpu_suspend_refuses_reserved_bits(_: &Environment) -> Outcome {
    // Original format (§5.4.2.1); with the extended one other bits are reserved.
    let reserved: &[u64] = if features(id::CPU_SUSPEND) & 2 == 0 {
        &[1 << 17, 1 << 23, 1 << 26, 1 << 31]
    } else {
        &[1 << 28, 1 << 29, 1 << 31]
    };
    for form in [id::CPU_SUSPEND, wide(id::CPU_SUSPEND)] {
        for &power_state in reserved {
            let exchange = smc(form, &[power_state, secondary_entry(), 0]);
            check_eq!(
                exchange.result(),
                status::INVALID_PARAMETERS,
                "CPU_SUSPEND of {power_state:#x}"
            );
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(3, migrate_info_type_is_that_of_a_tee_that_is_everywhere);
fn migrate_info_type_is_that_of_a_tee_that_is_everywhere(_: &Environment) -> Outcome {
    // 2: not there, or needs no migration; a hypervisor without the function says the same
    // (§5.1.8).
    let result = smc(id::MIGRATE_INFO_TYPE, &[]).result();
    let expected = match features(id::MIGRATE_INFO_TYPE) {
        status::SUCCESS => 2,
        _ => status::NOT_SUPPORTED,
    };
    check_eq!(result, expected, "MIGRATE_INFO_TYPE");
    Ok(())
}
