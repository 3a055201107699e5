//! OP-TEE's fast calls (`optee_smc.h`, OP-TEE 4.5.0), and that a guest without a TEE has none.

use guest_shim::arch::exchange::{Exchange, NOT_SUPPORTED};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::call;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};
use optee_abi::capabilities::Capabilities;
use optee_abi::smc::{self, status};

use crate::other_vcpu::on_other_vcpu;

/// `OPTEE_OS_UUID` of OP-TEE itself (`OPTEE_MSG_OS_OPTEE_UUID_0` to `_3`).
const OS_UUID: [u64; 4] = [0x4861_78e0, 0xe7f8_11e3, 0xbc5e_0002, 0xa5d5_c51b];

/// Calls the TEE by the conduit of its node. A guest without one must be refused; then there is
/// nothing to judge.
pub fn call_tee(
    environment: &Environment,
    id: u32,
    arguments: &[u64],
    judge: impl FnOnce(&Exchange) -> Outcome,
) -> Outcome {
    let conduit = environment.tee.unwrap_or(environment.conduit);
    let exchange = call(conduit, id, arguments);
    if environment.tee.is_some() {
        return judge(&exchange);
    }
    check_eq!(
        exchange.result(),
        NOT_SUPPORTED,
        "call {id:#x} without a TEE"
    );
    exchange.keeps_all_but(1)
}

/// What a call that only says something returns, which leaves the other registers alone.
fn says<const N: usize>(environment: &Environment, id: u32, expected: [u64; N]) -> Outcome {
    call_tee(environment, id, &[], |exchange| {
        check_eq!(exchange.results::<N>(), expected, "call {id:#x}");
        exchange.keeps_all_but(N)
    })
}

/// A refusal with this code, of what may not be called by guests.
fn refused(environment: &Environment, id: u32, arguments: &[u64], codes: &[u32]) -> Outcome {
    call_tee(environment, id, arguments, |exchange| {
        let code = exchange.after[0] as u32;
        check!(codes.contains(&code), "call {id:#x} is answered {code:#x}");
        exchange.keeps_all_but(1)
    })
}

case!(4, the_tee_s_api_is_op_tee_s);
fn the_tee_s_api_is_op_tee_s(environment: &Environment) -> Outcome {
    says(environment, smc::CALLS_UID, smc::API_UID.map(u64::from))
}

case!(4, the_tee_s_api_revision_is_2_0);
fn the_tee_s_api_revision_is_2_0(environment: &Environment) -> Outcome {
    says(
        environment,
        smc::CALLS_REVISION,
        smc::API_REVISION.map(u64::from),
    )
}

case!(4, the_trusted_os_is_op_tee);
fn the_trusted_os_is_op_tee(environment: &Environment) -> Outcome {
    says(environment, smc::GET_OS_UUID, OS_UUID)
}

case!(9, the_hypervisor_probed_the_tee_s_revision);
fn the_hypervisor_probed_the_tee_s_revision(environment: &Environment) -> Outcome {
    call_tee(environment, smc::GET_OS_REVISION, &[], |exchange| {
        let [major, minor]: [u64; 2] = exchange.results();
        check!(
            (3..100).contains(&major) && minor < 1000,
            "the revision is {major}.{minor}"
        );
        exchange.keeps_all_but(3)
    })
}

case!(4, the_tee_s_call_count_is_a_small_number);
fn the_tee_s_call_count_is_a_small_number(environment: &Environment) -> Outcome {
    call_tee(environment, smc::CALLS_COUNT, &[], |exchange| {
        let [count]: [u64; 1] = exchange.results();
        check!((1..100).contains(&count), "the call count is {count}");
        exchange.keeps_all_but(1)
    })
}

case!(4, capabilities_are_those_of_a_guest);
fn capabilities_are_those_of_a_guest(environment: &Environment) -> Outcome {
    call_tee(environment, smc::EXCHANGE_CAPABILITIES, &[0], |exchange| {
        let [code, capabilities, _, _]: [u64; 4] = exchange.results();
        check_eq!(code, u64::from(status::OK), "the return code");
        let capabilities = Capabilities(capabilities as u32);
        check!(
            capabilities.contains(Capabilities::DYNAMIC_SHM),
            "no dynamic shared memory among {capabilities:x?}"
        );
        for hidden in [
            Capabilities::HAVE_RESERVED_SHM,
            Capabilities::VIRTUALIZATION,
        ] {
            check!(
                !capabilities.contains(hidden),
                "{hidden:x?} is among {capabilities:x?}"
            );
        }
        exchange.keeps_all_but(4)
    })
}

case!(4, unknown_capabilities_of_the_guest_are_refused);
fn unknown_capabilities_of_the_guest_are_refused(environment: &Environment) -> Outcome {
    call_tee(
        environment,
        smc::EXCHANGE_CAPABILITIES,
        &[1 << 7],
        |exchange| {
            let code = exchange.after[0] as u32;
            check_eq!(code, status::ENOTAVAIL, "the return code");
            exchange.keeps_all_but(4)
        },
    )
}

case!(9, the_tee_has_threads_for_the_guest);
fn the_tee_has_threads_for_the_guest(environment: &Environment) -> Outcome {
    call_tee(environment, smc::GET_THREAD_COUNT, &[], |exchange| {
        let [code, threads]: [u64; 2] = exchange.results();
        check_eq!(code, u64::from(status::OK), "the return code");
        check!((1..100).contains(&threads), "there are {threads} threads");
        exchange.keeps_all_but(2)
    })
}

case!(4, no_shared_memory_is_set_apart);
fn no_shared_memory_is_set_apart(environment: &Environment) -> Outcome {
    // An address here would be a physical one.
    refused(environment, smc::GET_SHM_CONFIG, &[], &[status::ENOTAVAIL])
}

case!(4, guests_cannot_create_or_destroy_guests_of_the_tee);
fn guests_cannot_create_or_destroy_guests_of_the_tee(environment: &Environment) -> Outcome {
    for id in [smc::VM_CREATED, smc::VM_DESTROYED] {
        for client in [0, 1, 2, 3, 0xffff] {
            refused(environment, id, &[client], &[status::UNKNOWN_FUNCTION])?;
        }
    }
    // It lives on, and so does this guest's part of it.
    says(environment, smc::CALLS_UID, smc::API_UID.map(u64::from))
}

case!(4, guests_cannot_call_in_another_s_name);
fn guests_cannot_call_in_another_s_name(environment: &Environment) -> Outcome {
    // x7 names the client to OP-TEE; 0 is the hypervisor.
    for client in [0, 1, 2, 0xffff, u64::MAX] {
        let arguments = [1, 0, 0, 0, 0, 0, client];
        refused(
            environment,
            smc::VM_DESTROYED,
            &arguments,
            &[status::UNKNOWN_FUNCTION],
        )?;
        call_tee(environment, smc::GET_THREAD_COUNT, &arguments, |exchange| {
            check_eq!(exchange.after[0], u64::from(status::OK), "GET_THREAD_COUNT");
            exchange.keeps_all_but(2)
        })?;
    }
    Ok(())
}

case!(4, calls_of_the_secure_world_s_boot_are_refused);
fn calls_of_the_secure_world_s_boot_are_refused(environment: &Environment) -> Outcome {
    let codes = [status::UNKNOWN_FUNCTION, status::ENOTAVAIL];
    refused(environment, smc::L2CC_MUTEX, &[0, 0x4000_0000], &codes)?;
    refused(environment, smc::BOOT_SECONDARY, &[0x4000_0000], &codes)
}

case!(4, unknown_numbers_of_the_tee_are_refused);
fn unknown_numbers_of_the_tee_are_refused(environment: &Environment) -> Outcome {
    for number in [2, 3, 4, 5, 6, 20, 0x100, 0xff00] {
        let id = 0xb200_0000 | number;
        refused(environment, id, &[], &[status::UNKNOWN_FUNCTION])?;
    }
    Ok(())
}

case!(4, the_tee_answers_on_every_vcpu);
fn the_tee_answers_on_every_vcpu(environment: &Environment) -> Outcome {
    let own = environment.clone();
    on_other_vcpu(environment, move |_| {
        says(&own, smc::CALLS_UID, smc::API_UID.map(u64::from))
    })?
}

case!(5, a_guest_has_the_tee_of_its_description);
fn a_guest_has_the_tee_of_its_description(environment: &Environment) -> Outcome {
    for id in [
        smc::CALLS_COUNT,
        smc::CALLS_UID,
        smc::CALLS_REVISION,
        smc::GET_OS_UUID,
        smc::GET_OS_REVISION,
        smc::EXCHANGE_CAPABILITIES,
        smc::GET_THREAD_COUNT,
    ] {
        call_tee(environment, id, &[0], |exchange| {
            let absent = exchange.after[0] as u32 == status::UNKNOWN_FUNCTION;
            check!(!absent, "call {id:#x} is not there");
            Ok(())
        })?;
    }
    Ok(())
}
