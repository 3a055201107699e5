//! Messages to close, to cancel and about notifications, and commands that nobody serves.

use guest_shim::optee::TESTS;
use guest_shim::optee::client::{Client, FLAVOURS, Flavour};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::capabilities::{Capabilities, UNIPROCESSOR};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{self, status};

use crate::test_ta::{ITEM_NOT_FOUND, PARAMS, value};

/// Numbers that no session has that these cases open.
const NO_SESSIONS: [u32; 4] = [0, 0x7777, 0x8000_0000, u32::MAX];

case!(4, a_session_that_is_none_does_not_close);
fn a_session_that_is_none_does_not_close(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let closed = client.open(Flavour::Argument, TESTS)?;
    client.close(Flavour::Argument, closed)?;
    for session in NO_SESSIONS.into_iter().chain([closed]) {
        for flavour in FLAVOURS {
            let words = Words::new(command::CLOSE_SESSION, &[]).to(session, 0);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is(ITEM_NOT_FOUND)?;
        }
    }
    Ok(())
}

case!(4, a_session_that_is_none_is_not_invoked);
fn a_session_that_is_none_is_not_invoked(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for session in NO_SESSIONS {
        let sum = value(Direction::InOut, [1, 2, 3]);
        let words = Words::new(command::INVOKE_COMMAND, &[sum]).to(session, PARAMS);
        client.ask(&words)?.is(result::BAD_PARAMETERS)?;
    }
    Ok(())
}

case!(4, a_session_closes_without_parameters);
fn a_session_closes_without_parameters(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = client.open(Flavour::Argument, TESTS)?;
    let more = value(Direction::Input, [1, 2, 3]);
    let words = Words::new(command::CLOSE_SESSION, &[more]).to(session, 0);
    client.ask(&words)?.is(result::BAD_PARAMETERS)?;
    client.close(Flavour::Argument, session)
}

case!(4, cancelling_needs_a_session);
fn cancelling_needs_a_session(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = client.open(Flavour::Argument, TESTS)?;
    for flavour in FLAVOURS {
        // Nothing is under way in it, which is no error.
        let words = Words::new(command::CANCEL, &[]).to(session, 0);
        let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
        reply.is(result::SUCCESS)?;
        for other in NO_SESSIONS {
            let words = Words::new(command::CANCEL, &[]).to(other, 0);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is(result::BAD_PARAMETERS)?;
        }
    }
    let more = value(Direction::Input, [1, 2, 3]);
    let words = Words::new(command::CANCEL, &[more]).to(session, 0);
    client.ask(&words)?.is(result::BAD_PARAMETERS)?;
    client.close(Flavour::Argument, session)
}

case!(4, commands_that_nobody_serves_are_bad_commands);
fn commands_that_nobody_serves_are_bad_commands(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let area = client.arena.pages(1);
    // 8 to 11 are about protected memory (`OPTEE_MSG_CMD_LEND_PROTMEM` and others, OP-TEE 4.10).
    for unknown in [8, 9, 10, 11, 12, 0x100, 0x8000_0000, u32::MAX] {
        for flavour in FLAVOURS {
            let lent = Parameter::Temporary {
                direction: Direction::Input,
                list: false,
                address: area.address,
                size: area.len,
                reference: 1,
            };
            let words = Words::new(unknown, &[value(Direction::InOut, [1, 2, 3]), lent]);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is_no_message(status::EBADCMD)?;
        }
    }
    Ok(())
}

case!(4, yielding_calls_that_nobody_serves_are_unknown);
fn yielding_calls_that_nobody_serves_are_unknown(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let [a1, a2] = smc::split(client.arena.pages(1).address);
    for number in [0, 1, 2, 5, 6, 17, 20, 0xff, 0xffff] {
        let exchange = client.call(0x3200_0000 | number, &[a1, a2, 0]);
        check_eq!(
            exchange.after[0] as u32,
            status::UNKNOWN_FUNCTION,
            "the answer to {number:#x}"
        );
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(4, fast_calls_for_others_are_unknown);
fn fast_calls_for_others_are_unknown(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    // GET_PROTMEM_CONFIG is 20 (OP-TEE 4.10); the others are there.
    for id in [
        smc::L2CC_MUTEX,
        smc::BOOT_SECONDARY,
        smc::VM_CREATED,
        smc::VM_DESTROYED,
        0xb200_0014,
        0xb200_0012,
        0xb200_ffff,
    ] {
        for argument in [0, 1, 2, u64::MAX] {
            let exchange = client.call(id, &[argument, argument, 0, 0, 0, 0, argument]);
            let code = exchange.after[0] as u32;
            check_eq!(code, status::UNKNOWN_FUNCTION, "the answer to {id:#x}");
            exchange.keeps_all_but(1)?;
        }
    }
    Ok(())
}

case!(4, the_call_count_is_that_of_a_guest);
fn the_call_count_is_that_of_a_guest(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let notifies = environment.tee_interrupt.is_some();
    let exchange = client.call(smc::CALLS_COUNT, &[]);
    let count = if notifies { 15 } else { 13 };
    check_eq!(exchange.after[0], count, "CALLS_COUNT");
    exchange.keeps_all_but(1)?;
    check!(
        notifies,
        "this OP-TEE notifies, and the guest has no interrupt for it"
    );
    Ok(())
}

case!(4, capabilities_are_those_that_are_carried);
fn capabilities_are_those_that_are_carried(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for own in [0, u64::from(UNIPROCESSOR), 0xffff_ffff << 32] {
        let exchange = client.call(smc::EXCHANGE_CAPABILITIES, &[own]);
        let [code, offered, highest, parameters]: [u64; 4] = exchange.results();
        check_eq!(code, u64::from(status::OK), "EXCHANGE_CAPABILITIES");
        let offered = Capabilities(offered as u32);
        for carried in [
            Capabilities::DYNAMIC_SHM,
            Capabilities::MEMREF_NULL,
            Capabilities::RPC_ARG,
            Capabilities::ASYNC_NOTIF,
        ] {
            check!(
                offered.contains(carried),
                "{carried:x?} is not in {offered:x?}"
            );
        }
        // Protected memory (`OPTEE_SMC_SEC_CAP_PROTMEM` and `_DYNAMIC_PROTMEM`, OP-TEE 4.10) is 8
        // and 9; nothing follows.
        let hidden = !0xff | Capabilities::HAVE_RESERVED_SHM.0 | Capabilities::VIRTUALIZATION.0;
        check_eq!(offered.0 & hidden, 0, "what is not carried of {offered:x?}");
        check!(
            (1..1024).contains(&highest),
            "the highest notification is {highest}"
        );
        check!(
            (1..=6).contains(&parameters),
            "an RPC has {parameters} parameters"
        );
        exchange.keeps_all_but(4)?;
    }
    Ok(())
}
