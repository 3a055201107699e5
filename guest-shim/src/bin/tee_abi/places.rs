//! Where a message may lie, and how many parameters it may claim.

use alloc::string::String;

use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, FLAVOURS};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::optee::{PAGE, TESTS, opening};
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check_eq};
use optee_abi::message::command;
use optee_abi::result;
use optee_abi::smc::{self, status};

/// A message that closes a session which is not open: harmless wherever it is taken from.
fn message() -> Words {
    Words::new(command::CLOSE_SESSION, &[]).to(0x7777, 0)
}

/// The return code of CALL_WITH_REGD_ARG.
fn registered(client: &Client, cookie: u64, offset: u64) -> Result<u32, String> {
    let [a1, a2] = smc::split(cookie);
    client
        .start(smc::CALL_WITH_REGD_ARG, &[a1, a2, offset])?
        .done()
}

case!(4, more_parameters_than_a_command_takes_are_bad_parameters);
fn more_parameters_than_a_command_takes_are_bad_parameters(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for flavour in FLAVOURS {
        for count in [7, 8, 127] {
            let sent = message().claiming(count);
            let reply = client.converse(flavour, &sent, &mut Supplicant::none())?;
            reply.is_refused(result::BAD_PARAMETERS)?;
        }
    }
    Ok(())
}

case!(4, more_parameters_than_a_page_holds_are_a_bad_address);
fn more_parameters_than_a_page_holds_are_a_bad_address(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for flavour in FLAVOURS {
        for count in [128, 0x8000_0000, u32::MAX] {
            let sent = message().claiming(count);
            let reply = client.converse(flavour, &sent, &mut Supplicant::none())?;
            reply.is_no_message(status::EBADADDR)?;
        }
    }
    Ok(())
}

case!(4, a_registered_message_needs_room_for_itself_and_for_rpcs);
fn a_registered_message_needs_room_for_itself_and_for_rpcs(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
    client.share(&buffer, cookie)?;
    let words = message();
    let last = PAGE - words.0.len() as u64 * 8 - client.room_bytes();
    for offset in (last - 16..PAGE).step_by(8) {
        let rest = (PAGE - offset) / 8;
        let written = &words.0[..words.0.len().min(rest as usize)];
        buffer.store(offset, written);
        let expected = if offset <= last {
            status::OK
        } else {
            status::EBADADDR
        };
        check_eq!(
            registered(&client, cookie, offset)?,
            expected,
            "the return code at {offset:#x}"
        );
    }
    client.take_back(cookie)?;
    Ok(())
}

case!(4, a_registered_message_is_aligned_and_in_its_buffer);
fn a_registered_message_is_aligned_and_in_its_buffer(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (buffer, cookie) = (client.arena.pages(2), fresh_cookie());
    client.share(&buffer, cookie)?;
    buffer.store(0, &message().0);
    check_eq!(registered(&client, cookie, 0)?, status::OK, "the start");
    for offset in [
        1,
        2,
        4,
        7,
        12,
        2 * PAGE,
        2 * PAGE + 8,
        0x8000_0000,
        0xffff_fff8,
    ] {
        let code = registered(&client, cookie, offset)?;
        check_eq!(code, status::EBADADDR, "the return code at {offset:#x}");
    }
    for other in [cookie ^ 1, cookie ^ 1 << 63, u64::from(cookie as u32), 0] {
        let code = registered(&client, other, 0)?;
        check_eq!(code, status::EBADADDR, "the return code for {other:#x}");
    }
    client.take_back(cookie)?;
    let code = registered(&client, cookie, 0)?;
    check_eq!(code, status::EBADADDR, "the return code when it is gone");
    Ok(())
}

case!(4, a_registered_message_may_cross_into_another_page);
fn a_registered_message_may_cross_into_another_page(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    // The pages of the buffer, from its first to its last, each somewhere else.
    let pages = [7, 1, 5, 3, 9].map(|page| (page, client.arena.pages(1)));
    let cookie = fresh_cookie();
    let mut scattered = pages;
    scattered.sort_by_key(|(order, _)| *order);
    let list = client.list(scattered.iter().map(|(_, page)| page.address));
    let size = scattered.len() as u64 * PAGE;
    let done = client.register_list(list.address, size, cookie)?;
    check_eq!(done, result::SUCCESS, "the buffer");
    let words = Words::of(&opening(TESTS), 2);
    // Across the ends of the first three pages, at each word.
    for (index, pair) in (1..=3).zip(scattered.windows(2)) {
        for before in (8..=words.0.len() as u64 * 8).step_by(8) {
            let (first, second) = words.0.split_at(before as usize / 8);
            pair[0].1.store(PAGE - before, first);
            pair[1].1.store(0, second);
            let code = registered(&client, cookie, index * PAGE - before)?;
            check_eq!(code, status::OK, "the return code {before} bytes early");
            let mut came = Words(pair[0].1.load(PAGE - before, first.len()));
            came.0.extend(pair[1].1.load(0, second.len()));
            check_eq!(came.result(), result::SUCCESS, "the result");
            client.close(FLAVOURS[0], came.session())?;
        }
    }
    // Where the message lies in the fifth stretch it is not found.
    let code = registered(&client, cookie, 4 * PAGE)?;
    check_eq!(code, status::EBADADDR, "the return code in the fifth page");
    client.take_back(cookie)?;
    Ok(())
}

case!(4, a_message_may_lie_in_the_last_page_of_memory);
fn a_message_may_lie_in_the_last_page_of_memory(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let last = environment.memory_end() - PAGE;
    let page = guest_shim::optee::Page::of_address(environment, last);
    let words = message();
    let bytes: alloc::vec::Vec<u8> = words.0.iter().flat_map(|word| word.to_le_bytes()).collect();
    let [a1, a2] = smc::split(last);
    for id in [smc::CALL_WITH_ARG, smc::CALL_WITH_RPC_ARG] {
        page.store(&bytes);
        check_eq!(
            client.start(id, &[a1, a2])?.done()?,
            status::OK,
            "the return code"
        );
    }
    Ok(())
}

case!(4, upper_halves_of_registers_mean_nothing);
fn upper_halves_of_registers_mean_nothing(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let area = client.arena.pages(1);
    let junk = 0xdead_beef << 32;
    let [a1, a2] = smc::split(area.address);
    for id in [smc::CALL_WITH_ARG, smc::CALL_WITH_RPC_ARG] {
        area.store(0, &message().0);
        let answer = client.start(id, &[a1 | junk, a2 | junk, junk])?;
        check_eq!(answer.done()?, status::OK, "the return code");
    }
    Ok(())
}
