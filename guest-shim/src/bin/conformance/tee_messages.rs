//! Yielding calls to OP-TEE: real messages, and messages that must be refused (`optee_msg.h`,
//! OP-TEE 4.5.0).

use guest_shim::case;
use guest_shim::optee::{PAGE, Page, close_session, converse, open_session, register, unregister};
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};
use optee_abi::message::Message;
use optee_abi::result;
use optee_abi::smc::{self, status};

use crate::other_vcpu::on_other_vcpu;
use crate::tee::call_tee;

/// A message at an address that is not the guest's, or not a page's.
fn refused_at(environment: &Environment, id: u32) -> Outcome {
    let (start, _) = environment.memory;
    for address in [
        0,
        0x0900_0000,
        0x0e10_0000,
        start - PAGE,
        environment.memory_end(),
        environment.memory_end() + (1 << 30),
        1 << 40,
        u64::MAX - (PAGE - 1),
        start + 8,
        start + PAGE - 8,
    ] {
        let [upper, lower] = smc::split(address);
        call_tee(environment, id, &[upper, lower, 0], |exchange| {
            let code = exchange.after[0] as u32;
            check_eq!(code, status::EBADADDR, "the return code for {address:#x}");
            exchange.keeps_all_but(1)
        })?;
    }
    Ok(())
}

case!(4, messages_outside_of_memory_are_refused);
fn messages_outside_of_memory_are_refused(environment: &Environment) -> Outcome {
    refused_at(environment, smc::CALL_WITH_ARG)
}

case!(4, messages_with_rpc_argument_outside_of_memory_are_refused);
fn messages_with_rpc_argument_outside_of_memory_are_refused(environment: &Environment) -> Outcome {
    refused_at(environment, smc::CALL_WITH_RPC_ARG)
}

case!(
    4,
    messages_in_buffers_that_were_never_registered_are_refused
);
fn messages_in_buffers_that_were_never_registered_are_refused(
    environment: &Environment,
) -> Outcome {
    for cookie in [0, 1, environment.memory.0, 1 << 63, u64::MAX] {
        for offset in [0, 8, 0xffff_fff8] {
            let [upper, lower] = smc::split(cookie);
            call_tee(
                environment,
                smc::CALL_WITH_REGD_ARG,
                &[upper, lower, offset],
                |exchange| {
                    let code = exchange.after[0] as u32;
                    check_eq!(code, status::EBADADDR, "the return code for {cookie:#x}");
                    exchange.keeps_all_but(1)
                },
            )?;
        }
    }
    Ok(())
}

case!(4, an_rpc_that_was_never_asked_for_cannot_return);
fn an_rpc_that_was_never_asked_for_cannot_return(environment: &Environment) -> Outcome {
    for thread in [0, 1, 2, 3, 0xffff_ffff] {
        call_tee(
            environment,
            smc::RETURN_FROM_RPC,
            &[0, 0, thread],
            |exchange| {
                let code = exchange.after[0] as u32;
                check_eq!(code, status::ERESUME, "the return code for thread {thread}");
                exchange.keeps_all_but(1)
            },
        )?;
    }
    Ok(())
}

case!(4, unknown_message_commands_are_refused);
fn unknown_message_commands_are_refused(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    for unknown in [8, 0x8000_0000, u32::MAX] {
        let (code, _) = converse(environment, 0, &Message::new(unknown, &[]), 0)?;
        check_eq!(
            code,
            status::EBADCMD,
            "the return code of command {unknown:#x}"
        );
    }
    Ok(())
}

case!(4, a_session_opens_and_closes);
fn a_session_opens_and_closes(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    for _ in 0..3 {
        let session = open_session(environment)?;
        check_eq!(
            close_session(environment, session)?,
            result::SUCCESS,
            "the result of CLOSE_SESSION"
        );
    }
    Ok(())
}

case!(9, a_session_opens_and_closes_on_another_vcpu);
fn a_session_opens_and_closes_on_another_vcpu(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    let session = open_session(environment)?;
    let own = environment.clone();
    let closed = on_other_vcpu(environment, move |_| close_session(&own, session))??;
    check_eq!(
        closed,
        result::SUCCESS,
        "the result of CLOSE_SESSION on vCPU 1"
    );
    Ok(())
}

case!(4, sessions_that_were_never_opened_do_not_close);
fn sessions_that_were_never_opened_do_not_close(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    let session = open_session(environment)?;
    close_session(environment, session)?;
    for session in [session, 0, 0x7777, u32::MAX] {
        let closed = close_session(environment, session)?;
        check!(
            closed != result::SUCCESS,
            "session {session:#x} closes although it is not open"
        );
    }
    Ok(())
}

case!(4, a_buffer_registers_and_unregisters);
fn a_buffer_registers_and_unregisters(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    let page = Page::of(environment, 3);
    for cookie in [0x1234, page.address, 1 << 63] {
        let registered = register(environment, page.address, cookie)?;
        check_eq!(registered, result::SUCCESS, "the result of REGISTER_SHM");
        let unregistered = unregister(environment, cookie)?;
        check_eq!(
            unregistered,
            result::SUCCESS,
            "the result of UNREGISTER_SHM"
        );
    }
    Ok(())
}

case!(4, buffers_outside_of_memory_do_not_register);
fn buffers_outside_of_memory_do_not_register(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    // Devices, secure memory, the hypervisor's own and what lies behind this guest's.
    for address in [
        0,
        0x0900_0000,
        0x0e10_0000,
        0x6000_0000,
        environment.memory_end(),
        1 << 40,
        !(PAGE - 1),
    ] {
        let registered = register(environment, address, 0x4321)?;
        check!(
            registered != result::SUCCESS,
            "the page at {address:#x} is registered"
        );
        let unregistered = unregister(environment, 0x4321)?;
        check!(
            unregistered != result::SUCCESS,
            "the page at {address:#x} was registered after all"
        );
    }
    Ok(())
}
