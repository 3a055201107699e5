//! Memory that comes and goes while calls are under way.

use guest_shim::optee::PAGE;
use guest_shim::optee::answer::Answer;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, FLAVOURS, Flavour, whole};
use guest_shim::optee::opening;
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check_eq};
use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::smc::{self, Returned, RpcFunction, status};
use optee_abi::{result, rpc};

use crate::test_ta::{ITEM_NOT_FOUND, NOBODY, PARAMS, Session};

/// A part of a registered buffer, in and out.
fn part(cookie: u64) -> Parameter {
    Parameter::Registered {
        direction: Direction::InOut,
        offset: 0,
        size: 16,
        reference: cookie,
    }
}

case!(4, a_buffer_in_use_is_taken_back_when_its_call_is_over);
fn a_buffer_in_use_is_taken_back_when_its_call_is_over(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for flavour in FLAVOURS {
        let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
        client.share(&buffer, cookie)?;
        // A call that refers to it and waits for the guest.
        let mut message = Message::new(command::OPEN_SESSION, &[part(cookie); 3]);
        for index in 0..2 {
            let meta = opening(NOBODY).parameter(index);
            message.set_parameter(index, meta.unwrap_or(Parameter::None));
        }
        let words = Words::of(&message, 3);
        let using = client.prepare(flavour, &words)?;
        let taking_words = Words::new(command::UNREGISTER_SHM, &[whole(cookie)]);
        let taking = client.prepare(Flavour::RpcArgument, &taking_words)?;
        let user = client.send(&using)?;
        user.asked()?;
        let (area, _) = taking.room().ok_or("there is no room")?;
        let [a1, a2] = smc::split(area.address);
        let exchange = client.call(smc::CALL_WITH_RPC_ARG, &[a1, a2]);
        let [a0, _, _, thread]: [u64; 4] = exchange.results();
        check_eq!(
            Returned::from_a0(a0 as u32),
            Returned::Rpc(RpcFunction::ForeignInterrupt),
            "what the taker waits for"
        );
        let mut supplicant = Supplicant::new(false, [0; 2]);
        let code = client.see_through(&using, user, &mut supplicant)?;
        let code_of_taker = client.resume(thread, [0; 4])?.done()?;
        client.collect(&using, &words, code)?.is(ITEM_NOT_FOUND)?;
        let reply = client.collect(&taking, &taking_words, code_of_taker)?;
        reply.is(result::SUCCESS)?;
        supplicant.has_all_back()?;
        let again = client.unregister(cookie)?;
        check_eq!(again, result::BAD_PARAMETERS, "taking it back again");
    }
    Ok(())
}

case!(4, memory_that_op_tee_asked_for_is_no_registered_buffer);
fn memory_that_op_tee_asked_for_is_no_registered_buffer(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let area = client.arena.pages(1);
    for by_list in [false, true] {
        let words = Words::of(&opening(NOBODY), 2);
        let ready = client.prepare(Flavour::RpcArgument, &words)?;
        let asked = client.send(&ready)?.asked()?;
        let mut supplicant = Supplicant::new(by_list, [0; 2]);
        let values = supplicant.serve(&client.arena, &asked, ready.room())?;
        check_eq!(supplicant.commands, [rpc::SHM_ALLOC], "the commands");
        let answer = client.resume(asked.thread, values)?;
        answer.asked()?;
        // OP-TEE has it now, and another call is none of its business.
        for cookie in supplicant.cookies() {
            let unregistered = client.unregister(cookie)?;
            check_eq!(unregistered, result::BAD_PARAMETERS, "taking it back");
            let registered = client.register(&area, cookie)?;
            check_eq!(registered, result::BAD_PARAMETERS, "its name for a buffer");
            let reply = session.invoke(PARAMS, &[part(cookie)])?;
            reply.is_refused(result::BAD_PARAMETERS)?;
            let [a1, a2] = smc::split(cookie);
            let code = client
                .start(smc::CALL_WITH_REGD_ARG, &[a1, a2, 0])?
                .done()?;
            check_eq!(code, status::EBADADDR, "a message in it");
        }
        let code = client.see_through(&ready, answer, &mut supplicant)?;
        client.collect(&ready, &words, code)?.is(ITEM_NOT_FOUND)?;
        supplicant.has_all_back()?;
    }
    session.close()
}

case!(4, a_message_may_take_back_the_buffer_that_it_lies_in);
fn a_message_may_take_back_the_buffer_that_it_lies_in(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
    client.share(&buffer, cookie)?;
    let words = Words::new(command::UNREGISTER_SHM, &[whole(cookie)]);
    buffer.store(0, &words.0);
    let [a1, a2] = smc::split(cookie);
    let answer = client.start(smc::CALL_WITH_REGD_ARG, &[a1, a2, 0])?;
    check_eq!(answer, Answer::Done(status::OK), "the answer");
    let came = Words(buffer.load(0, words.0.len()));
    check_eq!(came.result(), result::SUCCESS, "the result");
    let answer = client.start(smc::CALL_WITH_REGD_ARG, &[a1, a2, 0])?;
    check_eq!(answer, Answer::Done(status::EBADADDR), "the answer then");
    let again = client.unregister(cookie)?;
    check_eq!(again, result::BAD_PARAMETERS, "taking it back again");
    Ok(())
}

case!(4, room_for_rpcs_may_cross_into_another_page);
fn room_for_rpcs_may_cross_into_another_page(environment: &Environment) -> Outcome {
    use crate::test_ta::{GET_TIME, STATS, TIMES};
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    let words = session.invocation(GET_TIME, &TIMES);
    let message = words.0.len() as u64 * 8;
    // The second page comes before the first one in memory.
    let [second, first] = [(); 2].map(|()| client.arena.pages(1));
    let cookie = fresh_cookie();
    let list = client.list([first.address, second.address].into_iter());
    let registered = client.register_list(list.address, 2 * PAGE, cookie)?;
    check_eq!(registered, result::SUCCESS, "the buffer");
    let [a1, a2] = smc::split(cookie);
    for before in (8..=message + client.room_bytes()).step_by(8) {
        let start = PAGE - before;
        let word = |offset: u64| {
            let at = start + offset;
            if at < PAGE {
                (first, at)
            } else {
                (second, at - PAGE)
            }
        };
        let read = |offset| {
            let (page, at) = word(offset);
            page.read(at)
        };
        let write = |offset, value| {
            let (page, at) = word(offset);
            page.write(at, value);
        };
        for (offset, value) in (0..).step_by(8).zip(&words.0) {
            write(offset, *value);
        }
        let answer = client.start(smc::CALL_WITH_REGD_ARG, &[a1, a2, start])?;
        let asked = answer.asked()?;
        // One parameter that brings the time.
        check_eq!(read(message), u64::from(rpc::GET_TIME), "the command");
        check_eq!(read(message + 32), 2, "its parameter's attributes");
        write(message + 40, before);
        write(message + 48, 0);
        write(message + 16, 0);
        let code = client.resume(asked.thread, [0; 4])?.done()?;
        check_eq!(code, status::OK, "the return code {before} bytes early");
        let came = Words((0..message).step_by(8).map(read).collect());
        check_eq!(came.result(), result::SUCCESS, "the result");
        check_eq!(came.parameter(0), [before, 0, 0], "the time");
    }
    client.take_back(cookie)?;
    session.close()
}
