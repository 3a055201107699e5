//! The three functions that carry a message: open, invoke, close, and RPCs on the way.

use guest_shim::optee::TESTS;
use guest_shim::optee::client::{Client, FLAVOURS, Flavour};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::message::{Direction, command};
use optee_abi::{result, rpc};

use crate::test_ta::{GET_TIME, PARAMS, STATS, Session, TIMES, value};

/// Opens a session, has values added and closes it, all by this flavour; nobody needs room for
/// RPCs.
fn opens_invokes_and_closes(environment: &Environment, flavour: Flavour) -> Outcome {
    let client = Client::new(environment)?;
    for n in 0..3 {
        let session = client.open(flavour, TESTS)?;
        let sum = value(Direction::InOut, [0x1000 + n, 0x234, 0x5151_5151_5151]);
        let words = Words::new(command::INVOKE_COMMAND, &[sum]).to(session, PARAMS);
        let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
        reply.is_with(
            result::SUCCESS,
            &[(0, [0x1234 + n, 0x234, 0x5151_5151_5151])],
        )?;
        client.close(flavour, session)?;
    }
    Ok(())
}

case!(4, call_with_arg_opens_invokes_and_closes);
fn call_with_arg_opens_invokes_and_closes(environment: &Environment) -> Outcome {
    opens_invokes_and_closes(environment, Flavour::Argument)
}

case!(4, call_with_rpc_arg_opens_invokes_and_closes);
fn call_with_rpc_arg_opens_invokes_and_closes(environment: &Environment) -> Outcome {
    opens_invokes_and_closes(environment, Flavour::RpcArgument)
}

case!(4, call_with_regd_arg_opens_invokes_and_closes);
fn call_with_regd_arg_opens_invokes_and_closes(environment: &Environment) -> Outcome {
    opens_invokes_and_closes(environment, Flavour::RegisteredArgument)
}

/// Has OP-TEE ask for the time in a call of this flavour. Gives who served it.
fn asks_for_the_time(
    environment: &Environment,
    flavour: Flavour,
) -> Result<Supplicant, alloc::string::String> {
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    let mut supplicant = Supplicant::new(false, [0x1234_5678, 987_000_000]);
    let words = session.invocation(GET_TIME, &TIMES);
    let reply = client.converse(flavour, &words, &mut supplicant)?;
    // The second value is OP-TEE's own time, which nobody knows here.
    let own = reply.came.parameter(1);
    check!(
        own[0] < 1 << 20 && own[1] < 1000,
        "OP-TEE's time is {own:x?}"
    );
    reply.is_with(result::SUCCESS, &[(0, [0x1234_5678, 987, 0]), (1, own)])?;
    check_eq!(supplicant.commands, [rpc::GET_TIME], "the commands");
    supplicant.has_all_back()?;
    session.close()?;
    Ok(supplicant)
}

case!(4, call_with_arg_asks_for_room_and_gives_it_back);
fn call_with_arg_asks_for_room_and_gives_it_back(environment: &Environment) -> Outcome {
    let supplicant = asks_for_the_time(environment, Flavour::Argument)?;
    check_eq!(
        (supplicant.allocs, supplicant.frees),
        (1, 1),
        "ALLOC and FREE"
    );
    Ok(())
}

case!(4, call_with_rpc_arg_has_room_behind_the_message);
fn call_with_rpc_arg_has_room_behind_the_message(environment: &Environment) -> Outcome {
    let supplicant = asks_for_the_time(environment, Flavour::RpcArgument)?;
    check_eq!(
        (supplicant.allocs, supplicant.frees),
        (0, 0),
        "ALLOC and FREE"
    );
    Ok(())
}

case!(4, call_with_regd_arg_has_room_behind_the_message);
fn call_with_regd_arg_has_room_behind_the_message(environment: &Environment) -> Outcome {
    let supplicant = asks_for_the_time(environment, Flavour::RegisteredArgument)?;
    check_eq!(
        (supplicant.allocs, supplicant.frees),
        (0, 0),
        "ALLOC and FREE"
    );
    Ok(())
}

case!(4, a_session_is_the_same_by_every_way_to_call);
fn a_session_is_the_same_by_every_way_to_call(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for opened in FLAVOURS {
        for closed in FLAVOURS {
            let session = client.open(opened, TESTS)?;
            client.close(closed, session)?;
        }
    }
    Ok(())
}
