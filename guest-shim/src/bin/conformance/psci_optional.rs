//! PSCI 1.1: what a hypervisor may leave out. PSCI_FEATURES and the call itself must then say the
//! same.

use alloc::format;

use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, smc};
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::psci::{id, status, wide};
use guest_shim::{check, check_eq};
use smccc::Conduit;

fn features(id: u32) -> i64 {
    smc(id::FEATURES, &[u64::from(id)]).result()
}

/// A function that must not be there in this form, since this kit could not judge what it does.
fn left_out(form: u32, arguments: &[u64]) -> Outcome {
    match features(form) {
        status::NOT_SUPPORTED => {}
        offered => {
            return Err(format!(
                "PSCI_FEATURES({form:#x}) is {offered}; the kit has no check for it"
            ));
        }
    }
    for conduit in Conduit::ALL {
        let exchange = call(conduit, form, arguments);
        check_eq!(exchange.result(), status::NOT_SUPPORTED, "call {form:#x}");
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, migrate_is_left_out);
fn migrate_is_left_out(_: &Environment) -> Outcome {
    left_out(id::MIGRATE, &[0])?;
    left_out(wide(id::MIGRATE), &[1])
}

case!(3, migrate_info_up_cpu_is_left_out);
fn migrate_info_up_cpu_is_left_out(_: &Environment) -> Outcome {
    left_out(id::MIGRATE_INFO_UP_CPU, &[])?;
    left_out(wide(id::MIGRATE_INFO_UP_CPU), &[])
}

case!(3, cpu_freeze_is_left_out);
fn cpu_freeze_is_left_out(_: &Environment) -> Outcome {
    left_out(id::CPU_FREEZE, &[])
}

case!(3, cpu_default_suspend_is_left_out);
fn cpu_default_suspend_is_left_out(_: &Environment) -> Outcome {
    left_out(id::CPU_DEFAULT_SUSPEND, &[0, 0])?;
    left_out(wide(id::CPU_DEFAULT_SUSPEND), &[0, 0])
}

case!(3, node_hw_state_is_left_out);
fn node_hw_state_is_left_out(_: &Environment) -> Outcome {
    left_out(id::NODE_HW_STATE, &[0, 0])?;
    left_out(wide(id::NODE_HW_STATE), &[0, 0])
}

case!(3, system_suspend_is_left_out);
fn system_suspend_is_left_out(_: &Environment) -> Outcome {
    left_out(id::SYSTEM_SUSPEND, &[0, 0])?;
    left_out(wide(id::SYSTEM_SUSPEND), &[0, 0])
}

case!(3, set_suspend_mode_is_left_out);
fn set_suspend_mode_is_left_out(_: &Environment) -> Outcome {
    left_out(id::SET_SUSPEND_MODE, &[0])?;
    left_out(id::SET_SUSPEND_MODE, &[1])
}

case!(3, stat_residency_is_left_out);
fn stat_residency_is_left_out(_: &Environment) -> Outcome {
    left_out(id::STAT_RESIDENCY, &[0, 0])?;
    left_out(wide(id::STAT_RESIDENCY), &[0, 0])
}

case!(3, stat_count_is_left_out);
fn stat_count_is_left_out(_: &Environment) -> Outcome {
    left_out(id::STAT_COUNT, &[0, 0])?;
    left_out(wide(id::STAT_COUNT), &[0, 0])
}

case!(3, mem_protect_is_left_out);
fn mem_protect_is_left_out(_: &Environment) -> Outcome {
    left_out(id::MEM_PROTECT, &[1])
}

case!(3, mem_protect_check_range_is_left_out);
fn mem_protect_check_range_is_left_out(environment: &Environment) -> Outcome {
    let (start, _) = environment.memory;
    left_out(id::MEM_PROTECT_CHECK_RANGE, &[start, 0x1000])?;
    left_out(wide(id::MEM_PROTECT_CHECK_RANGE), &[start, 0x1000])
}

case!(3, system_reset2_refuses_types_that_are_not_there);
fn system_reset2_refuses_types_that_are_not_there(_: &Environment) -> Outcome {
    for form in [id::SYSTEM_RESET2, wide(id::SYSTEM_RESET2)] {
        let offered = features(form) == status::SUCCESS;
        check!(
            offered || features(form) == status::NOT_SUPPORTED,
            "PSCI_FEATURES({form:#x}) is {}",
            features(form)
        );
        // Architectural types other than a warm reset are reserved, vendor-specific ones the
        // vendor's (§5.1.11).
        for kind in [1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let exchange = smc(form, &[kind, 0]);
            let expected = if offered {
                status::INVALID_PARAMETERS
            } else {
                status::NOT_SUPPORTED
            };
            check_eq!(
                exchange.result(),
                expected,
                "SYSTEM_RESET2 of type {kind:#x}"
            );
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}
