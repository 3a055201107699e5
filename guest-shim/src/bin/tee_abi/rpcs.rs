//! What OP-TEE asks for in the middle of a call, and answers of every kind.

use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::optee::answer::{Answer, Asked};
use guest_shim::optee::client::{Client, FLAVOURS, Flavour, Ready};
use guest_shim::optee::opening;
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::smc::{RpcFunction, split, status};
use optee_abi::{result, rpc};

use crate::test_ta::{GET_TIME, ITEM_NOT_FOUND, NOBODY, STATS, Session, TIMES};

case!(4, an_application_that_nobody_has_is_not_found);
fn an_application_that_nobody_has_is_not_found(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for flavour in FLAVOURS {
        let mut supplicant = Supplicant::new(false, [0; 2]);
        let words = Words::of(&opening(NOBODY), 2);
        let reply = client.converse(flavour, &words, &mut supplicant)?;
        reply.is(ITEM_NOT_FOUND)?;
        check_eq!(reply.came.session(), 0, "the session");
        check!(
            supplicant.commands.contains(&rpc::LOAD_TA),
            "{:?}",
            supplicant.commands
        );
        check!(
            supplicant.commands.contains(&rpc::FS),
            "{:?}",
            supplicant.commands
        );
        supplicant.has_all_back()?;
    }
    Ok(())
}

/// OP-TEE loads an application that is none; the memory for it is what the guest gives, of any
/// length and kind.
fn loads(environment: &Environment, by_list: bool) -> Outcome {
    let client = Client::new(environment)?;
    for flavour in FLAVOURS {
        for size in [64, 0x1000, 0x1001, 0x1_2345, 511 * 0x1000, 512 * 0x1000] {
            let mut supplicant = Supplicant::new(by_list, [0; 2]);
            supplicant.application = Some((size, 0x5555_5555_5555_5555));
            let words = Words::of(&opening(NOBODY), 2);
            let reply = client.converse(flavour, &words, &mut supplicant)?;
            // It has no signature.
            reply.is(result::SECURITY)?;
            let loads = supplicant.commands.iter();
            let loads = loads.filter(|command| **command == rpc::LOAD_TA).count();
            check_eq!(loads, 2, "LOAD_TA");
            for command in [rpc::SHM_ALLOC, rpc::SHM_FREE] {
                check!(
                    supplicant.commands.contains(&command),
                    "no command {command}"
                );
            }
            supplicant.has_all_back()?;
        }
    }
    Ok(())
}

case!(4, op_tee_gets_contiguous_memory_that_it_asks_for);
fn op_tee_gets_contiguous_memory_that_it_asks_for(environment: &Environment) -> Outcome {
    loads(environment, false)
}

case!(4, op_tee_gets_lists_of_memory_that_it_asks_for);
fn op_tee_gets_lists_of_memory_that_it_asks_for(environment: &Environment) -> Outcome {
    loads(environment, true)
}

case!(4, op_tee_survives_more_memory_than_it_can_map);
fn op_tee_survives_more_memory_than_it_can_map(environment: &Environment) -> Outcome {
    for by_list in [false, true] {
        let client = Client::new(environment)?;
        let mut supplicant = Supplicant::new(by_list, [0; 2]);
        supplicant.application = Some((12 << 20, 0x5555_5555_5555_5555));
        let words = Words::of(&opening(NOBODY), 2);
        let reply = client.converse(Flavour::RpcArgument, &words, &mut supplicant)?;
        reply.is(result::OUT_OF_MEMORY)?;
        supplicant.has_all_back()?;
    }
    Ok(())
}

/// A call that has its command for the guest, in room behind the message.
fn commanded(client: &Client, words: &Words, expected: u32) -> Result<(Ready, Asked), String> {
    let ready = client.prepare(Flavour::RpcArgument, words)?;
    let asked = client.send(&ready)?.asked()?;
    check_eq!(asked.function, RpcFunction::Command, "what is asked for");
    check_eq!(asked.value, 0, "the cookie of room behind the message");
    check_eq!(room(&ready)?.command(), expected, "the command");
    Ok((ready, asked))
}

/// The command in the room behind a message.
fn room(ready: &Ready) -> Result<Words, String> {
    let (area, offset) = ready.room().ok_or("there is no room")?;
    let count = (area.read(offset + 24) >> 32) as usize;
    check!(count <= 6, "a command has {count} parameters");
    Ok(Words(area.load(offset, 4 + 4 * count)))
}

fn write_room(ready: &Ready, words: &Words) -> Outcome {
    let (area, offset) = ready.room().ok_or("there is no room")?;
    area.store(offset, &words.0);
    Ok(())
}

case!(
    4,
    an_answer_brings_its_result_and_nothing_but_what_was_asked
);
fn an_answer_brings_its_result_and_nothing_but_what_was_asked(
    environment: &Environment,
) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    let words = session.invocation(GET_TIME, &TIMES);
    for result in [
        result::NOT_SUPPORTED,
        result::GENERIC,
        0x1234_5678,
        u32::MAX,
    ] {
        let (ready, asked) = commanded(&client, &words, rpc::GET_TIME)?;
        let mut answer = room(&ready)?;
        // A guest may write what it likes: another command, more parameters.
        answer.0[0] = 0x7777;
        answer = answer.claiming(6);
        answer.set_result(result, 1);
        write_room(&ready, &answer)?;
        let code = client.resume(asked.thread, [0; 4])?.done()?;
        check_eq!(code, status::OK, "the return code");
        let reply = client.collect(&ready, &words, code)?;
        reply.is(result)?;
    }
    session.close()
}

/// Opens an application that nobody has and stops at the first command to give memory.
fn asked_for_memory(client: &Client) -> Result<(Ready, Words, Asked), String> {
    let words = Words::of(&opening(NOBODY), 2);
    let (ready, asked) = commanded(client, &words, rpc::SHM_ALLOC)?;
    Ok((ready, words, asked))
}

/// Answers the first command to give memory with `words` of a parameter with `attributes`; gives
/// the commands that follow, served by one that has memory.
fn answers_with(client: &Client, attributes: u64, parameter: [u64; 3]) -> Result<Vec<u32>, String> {
    let (ready, words, asked) = asked_for_memory(client)?;
    let mut answer = room(&ready)?.with_attributes(0, attributes);
    answer.set_parameter(0, parameter);
    answer.set_result(result::SUCCESS, 0);
    write_room(&ready, &answer)?;
    let mut answer = client.resume(asked.thread, [0; 4])?;
    let mut supplicant = Supplicant::new(false, [0; 2]);
    let mut refused = Vec::new();
    // What can't be used comes back at once.
    if let Answer::Asks(asked) = answer
        && room(&ready)?.command() == rpc::SHM_FREE
        && room(&ready)?.parameter(0)[1] == parameter[2]
    {
        refused.push(rpc::SHM_FREE);
        answer = client.resume(asked.thread, [0; 4])?;
    }
    let code = client.see_through(&ready, answer, &mut supplicant)?;
    let reply = client.collect(&ready, &words, code)?;
    check!(reply.came.result() != result::SUCCESS, "it opens");
    reply.is(reply.came.result())?;
    supplicant.has_all_back()?;
    Ok(refused)
}

case!(4, memory_that_can_not_be_used_goes_back_to_the_guest);
fn memory_that_can_not_be_used_goes_back_to_the_guest(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let end = environment.memory_end();
    let good = client.arena.pages(1);
    for (attributes, parameter) in [
        (0xa, [end, 0x1000, 0x11]),
        (0x20a, [end, 0x1000, 0x12]),
        (0xa, [0x0e10_0000, 0x1000, 0x13]),
        (0xa, [good.address, 1, 0x14]),
        (0xa, [good.address, 0, 0x15]),
        (0xa, [0, 0x1000, 0x16]),
        (0xa, [end - 0x800, u64::MAX, 0x17]),
    ] {
        let refused = answers_with(&client, attributes, parameter)?;
        check_eq!(refused, [rpc::SHM_FREE], "what follows {parameter:x?}");
    }
    // What names no memory can't go back.
    for attributes in [0, 1, 2, 9, 0x109, u64::MAX] {
        let refused = answers_with(&client, attributes, [good.address, 0x1000, 0x18])?;
        check!(
            refused.is_empty(),
            "{refused:?} follows attributes {attributes:#x}"
        );
    }
    Ok(())
}

case!(4, a_guest_without_room_for_rpcs_has_its_call_fail);
fn a_guest_without_room_for_rpcs_has_its_call_fail(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    let words = session.invocation(GET_TIME, &TIMES);
    let good = client.arena.pages(1);
    let (end, cookie) = (environment.memory_end(), 0x1234_5678_9abc_def0);
    for (address, goes_back) in [
        (0, false),
        (0, true),
        (good.address + 4, true),
        (end, true),
        (end - 8, true),
        (0x0e10_0000, true),
        (end, false),
    ] {
        let ready = client.prepare(Flavour::Argument, &words)?;
        let asked = client.send(&ready)?.asked()?;
        check_eq!(asked.function, RpcFunction::Alloc, "what is asked for");
        check_eq!(asked.upper, client.room_bytes(), "how much is asked for");
        let ([a1, a2], [a4, a5]) = (split(address), split(if goes_back { cookie } else { 0 }));
        let mut answer = client.resume(asked.thread, [a1, a2, a4, a5])?;
        if goes_back {
            let asked = answer.asked()?;
            check_eq!(asked.function, RpcFunction::Free, "what follows");
            check_eq!(asked.value, cookie, "the cookie");
            answer = client.resume(asked.thread, [0; 4])?;
        }
        let code = answer.done()?;
        let reply = client.collect(&ready, &words, code)?;
        reply.is(result::OUT_OF_MEMORY)?;
    }
    session.close()
}
