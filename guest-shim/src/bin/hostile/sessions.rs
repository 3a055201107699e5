//! Sessions that a guest names although they are not open for it.

use alloc::format;
use alloc::string::String;

use guest_shim::optee::TESTS;
use guest_shim::optee::client::{Client, Flavour, Reply};
use guest_shim::optee::supplicant::{ITEM_NOT_FOUND, Supplicant};
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use crate::held::{Held, NOBODY, STATS};

/// `STATS_CMD_GET_TIME` of [`STATS`].
const GET_TIME: u32 = 4;
/// `PTA_INVOKE_TESTS_CMD_PARAMS` of [`TESTS`]: adds values.
const PARAMS: u32 = 1;

/// What OP-TEE answers to each message for a session that there is not (`core/tee/entry_std.c` and
/// `core/kernel/tee_ta_manager.c`, 4.5.0).
const ANSWERS: [(u32, u32); 3] = [
    (command::INVOKE_COMMAND, result::BAD_PARAMETERS),
    (command::CANCEL, result::BAD_PARAMETERS),
    (command::CLOSE_SESSION, ITEM_NOT_FOUND),
];

/// How far beyond the last session's number those of the next ones may be.
const NEXT: u32 = 3;

/// Whether the message came back as one for a session that there is not.
fn is_unknown(reply: &Reply, session: u32) -> Outcome {
    let what = reply.sent.command();
    let expected = ANSWERS.iter().find(|(command, _)| *command == what);
    let (_, expected) = expected.ok_or("no message for a session")?;
    reply
        .is(*expected)
        .and_then(|()| {
            check_eq!(reply.came.origin(), result::ORIGIN_TEE, "the origin");
            Ok(())
        })
        .map_err(|reason| format!("command {what} for session {session:#x}: {reason}"))
}

/// Names a session in every message that names one: it must not be known.
fn is_not_known(client: &Client, session: u32) -> Outcome {
    for (what, _) in ANSWERS {
        let words = Words::new(what, &[]).to(session, 0);
        is_unknown(&client.ask(&words)?, session)?;
    }
    Ok(())
}

/// The same for the numbers that come next.
fn the_next_are_not_known(client: &Client, last: u32) -> Outcome {
    (last + 1..=last + NEXT).try_for_each(|session| is_not_known(client, session))
}

/// That OP-TEE adds as it always did.
fn adds(client: &Client, session: u32) -> Outcome {
    let value = Parameter::Value {
        direction: Direction::InOut,
        meta: false,
        words: [2, 3, 0],
    };
    let words = Words::new(command::INVOKE_COMMAND, &[value]).to(session, PARAMS);
    let reply = client.ask(&words)?;
    check_eq!(reply.came.result(), result::SUCCESS, "the result of PARAMS");
    Ok(())
}

/// Denies all that an opening asks for.
fn does_not_open(opening: Held<'_>) -> Outcome {
    let reply = opening.end()?;
    check!(reply.came.result() != result::SUCCESS, "it opens");
    reply.is(reply.came.result())
}

case!(4, a_session_is_not_known_while_its_application_is_loaded);
fn a_session_is_not_known_while_its_application_is_loaded(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let last = client.open(Flavour::RpcArgument, TESTS)?;
    for application in [None, Some((0x3000, 0x5555_5555_5555_5555))] {
        let mut supplicant = Supplicant::new(false, [0; 2]);
        supplicant.application = application;
        let mut opening = Held::open(&client, NOBODY)?;
        let mut stages = 0;
        while let Some(stage) = opening.waits_for()? {
            the_next_are_not_known(&client, last)
                .map_err(|reason| format!("while it waits for command {stage}: {reason}"))?;
            opening.serve(&mut supplicant)?;
            stages += 1;
        }
        check!(stages > 2, "opening takes {stages} commands");
        let reply = opening.reply()?;
        check!(reply.came.result() != result::SUCCESS, "it opens");
        supplicant.has_all_back()?;
        the_next_are_not_known(&client, last)?;
    }
    adds(&client, last)?;
    client.close(Flavour::RpcArgument, last)
}

case!(4, a_session_that_waits_to_be_opened_is_not_known);
fn a_session_that_waits_to_be_opened_is_not_known(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let last = client.open(Flavour::RpcArgument, TESTS)?;
    // The second one waits for the first one to let go of OP-TEE's list of stored applications.
    // OP-TEE 4.5 lists its session by then, and has no context for it.
    let first = Held::open(&client, NOBODY)?;
    let second = Held::open(&client, NOBODY)?;
    does_not_open(first)?;
    the_next_are_not_known(&client, last)?;
    does_not_open(second)?;
    the_next_are_not_known(&client, last)?;
    adds(&client, last)?;
    client.close(Flavour::RpcArgument, last)
}

case!(4, a_session_that_is_closed_is_not_known);
fn a_session_that_is_closed_is_not_known(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for _ in 0..20 {
        let session = client.open(Flavour::RpcArgument, TESTS)?;
        adds(&client, session)?;
        client.close(Flavour::RpcArgument, session)?;
        is_not_known(&client, session)?;
        // OP-TEE gives the number anew.
        let other = client.open(Flavour::RpcArgument, STATS)?;
        if other != session {
            is_not_known(&client, session)?;
        }
        client.close(Flavour::RpcArgument, other)?;
        is_not_known(&client, session)?;
    }
    Ok(())
}

case!(4, a_session_that_is_being_closed_is_not_known);
fn a_session_that_is_being_closed_is_not_known(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = client.open(Flavour::RpcArgument, STATS)?;
    let time = Parameter::Value {
        direction: Direction::Output,
        meta: false,
        words: [0; 3],
    };
    let words = Words::new(command::INVOKE_COMMAND, &[time; 2]).to(session, GET_TIME);
    let mut invoked = Held::send(&client, words)?;
    invoked.thread()?;
    let closing = Words::new(command::CLOSE_SESSION, &[]).to(session, 0);
    let ready = client.prepare(Flavour::RpcArgument, &closing)?;
    let (area, _) = ready.room().ok_or("there is no room")?;
    let [a1, a2] = smc::split(area.address);
    let exchange = client.call(smc::CALL_WITH_RPC_ARG, &[a1, a2]);
    let [a0, _, _, thread]: [u64; 4] = exchange.results();
    let waits = Returned::from_a0(a0 as u32);
    check_eq!(
        waits,
        Returned::Rpc(RpcFunction::ForeignInterrupt),
        "a CLOSE while the session is in use"
    );
    let mut supplicant = Supplicant::new(false, [7, 0]);
    invoked.serve(&mut supplicant)?;
    let reply = invoked.reply()?;
    check_eq!(reply.came.result(), result::SUCCESS, "the call's result");
    is_not_known(&client, session)?;
    let code = client.resume(thread, [0; 4])?.done()?;
    check_eq!(code, status::OK, "the return code of CLOSE");
    client
        .collect(&ready, &closing, code)?
        .is(result::SUCCESS)?;
    is_not_known(&client, session)
}

case!(4, sessions_of_others_are_not_known);
fn sessions_of_others_are_not_known(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let own = client.open(Flavour::RpcArgument, TESTS)?;
    for session in (0..64).chain([0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX]) {
        if session != own {
            is_not_known(&client, session)?;
        }
    }
    adds(&client, own)?;
    client.close(Flavour::RpcArgument, own)
}

case!(4, sessions_opened_at_once_are_known_when_they_are_open);
fn sessions_opened_at_once_are_known_when_they_are_open(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let last = client.open(Flavour::RpcArgument, TESTS)?;
    let held = Held::open(&client, NOBODY)?;
    // Beside one that is being opened, another one opens, and is known at once.
    let other = client.open(Flavour::RpcArgument, TESTS)?;
    adds(&client, other)?;
    for session in last + 1..=last + NEXT {
        if session != other {
            is_not_known(&client, session)?;
        }
    }
    does_not_open(held)?;
    adds(&client, other).map_err(|reason| String::from("after the other failed: ") + &reason)?;
    client.close(Flavour::RpcArgument, other)?;
    client.close(Flavour::RpcArgument, last)
}
