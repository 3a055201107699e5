//! Parameters that refer to memory: registered and temporary, contiguous and scattered, and none at
//! all.

use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::optee::arena::Area;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, FLAVOURS, Flavour};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::{DEVICE_LIST, PAGE};
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::message::{Direction, Parameter};
use optee_abi::result;

use crate::test_ta::{AES, GET_DEVICES, MEMREF_NULL, PARAMS, SHORT_BUFFER, Session, value};

/// A part of a registered buffer, in and out.
fn registered(cookie: u64, offset: u64, size: u64) -> Parameter {
    Parameter::Registered {
        direction: Direction::InOut,
        offset,
        size,
        reference: cookie,
    }
}

/// Temporary memory, in and out.
fn temporary(list: bool, address: u64, size: u64) -> Parameter {
    Parameter::Temporary {
        direction: Direction::InOut,
        list,
        address,
        size,
        // Temporary memory needs no name, and this cookie has no buffer.
        reference: 0x7e3b_0000_0000_0001,
    }
}

/// Fills memory so that no two pages are alike.
fn fill(area: &Area, seed: u64) {
    for offset in (0..area.len).step_by(8) {
        let word = (offset ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        area.write(offset, word);
    }
}

/// The sum of `size` bytes from `offset` on.
fn sum(area: &Area, offset: u64, size: u64) -> u8 {
    (offset..offset + size).fold(0, |sum: u8, offset| sum.wrapping_add(area.byte(offset)))
}

/// Has OP-TEE add the bytes from `offset` on that `parameter` refers to, and checks that it changed
/// the first one and nothing else.
fn adds(
    session: &Session<'_>,
    area: &Area,
    offset: u64,
    size: u64,
    parameter: Parameter,
) -> Outcome {
    let expected = sum(area, offset, size);
    let before = area.load(0, (area.len / 8) as usize);
    session.add_bytes(parameter)?;
    check_eq!(area.byte(offset), expected, "the sum of {size:#x} bytes");
    let first = offset / 8;
    for (index, word) in (0..).zip(before) {
        check!(
            index == first || area.read(index * 8) == word,
            "the word at {:#x} changed",
            index * 8
        );
    }
    Ok(())
}

case!(4, registered_memory_is_seen_at_every_offset);
fn registered_memory_is_seen_at_every_offset(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let (buffer, cookie) = (client.arena.pages(4), fresh_cookie());
    client.share(&buffer, cookie)?;
    for (offset, size) in [
        (0, 4 * PAGE),
        (0, 1),
        (1, 1),
        (PAGE - 1, 2),
        (PAGE, PAGE),
        (3 * PAGE + 5, PAGE - 5),
        (4 * PAGE - 1, 1),
        (123, 2 * PAGE + 456),
    ] {
        fill(&buffer, offset);
        let part = registered(cookie, offset, size);
        adds(&session, &buffer, offset, size, part)?;
    }
    client.take_back(cookie)?;
    session.close()
}

case!(4, a_pseudo_ta_gets_no_more_memory_than_op_tee_can_map);
fn a_pseudo_ta_gets_no_more_memory_than_op_tee_can_map(environment: &Environment) -> Outcome {
    // OP-TEE maps all of a buffer, however little of it is referred to, and halts where it can't.
    const MOST: u64 = 987;
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let page = client.arena.pages(1);
    for (pages, expected) in [
        (MOST, result::SUCCESS),
        (MOST + 1, result::OUT_OF_MEMORY),
        (3 * MOST, result::OUT_OF_MEMORY),
    ] {
        let cookie = fresh_cookie();
        let list = client.list((0..pages).map(|_| page.address));
        let done = client.register_list(list.address, pages * PAGE, cookie)?;
        check_eq!(done, result::SUCCESS, "a buffer of {pages} pages");
        let reply = session.invoke(PARAMS, &[registered(cookie, 0, 1)])?;
        reply.is(expected)?;
        client.take_back(cookie)?;
    }
    session.close()
}

case!(4, registered_memory_that_starts_inside_a_page_is_seen);
fn registered_memory_that_starts_inside_a_page_is_seen(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let (area, cookie) = (client.arena.pages(3), fresh_cookie());
    let list = client.list(area.addresses());
    // The list's address carries the offset into the first page.
    let start = 0x678;
    let done = client.register_list(list.address | start, 2 * PAGE, cookie)?;
    check_eq!(done, result::SUCCESS, "the buffer");
    for (offset, size) in [(0, 2 * PAGE), (0x100, 16), (PAGE - start, PAGE)] {
        fill(&area, size);
        let part = registered(cookie, offset, size);
        adds(&session, &area, start + offset, size, part)?;
    }
    client.take_back(cookie)?;
    session.close()
}

case!(4, references_beyond_a_buffer_are_a_security_violation);
fn references_beyond_a_buffer_are_a_security_violation(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let (buffer, cookie) = (client.arena.pages(2), fresh_cookie());
    client.share(&buffer, cookie)?;
    for (offset, size) in [
        (0, 2 * PAGE + 1),
        (1, 2 * PAGE),
        (2 * PAGE, 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (u64::MAX - PAGE + 1, PAGE),
        (1 << 63, 1 << 63),
        (1 << 32, 8),
    ] {
        let reply = session.invoke(PARAMS, &[registered(cookie, offset, size)])?;
        reply.is_refused(result::SECURITY)?;
    }
    client.take_back(cookie)?;
    session.close()
}

case!(4, unknown_cookies_are_bad_parameters);
fn unknown_cookies_are_bad_parameters(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
    client.share(&buffer, cookie)?;
    // What the mediator calls its own buffers is no name for a guest either.
    for other in [
        0,
        1,
        0xffff_ffff,
        0x1_0000_0001,
        cookie ^ 1,
        buffer.address,
        u64::MAX,
    ] {
        for flavour in FLAVOURS {
            let words = session.invocation(PARAMS, &[registered(other, 0, 8)]);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is_refused(result::BAD_PARAMETERS)?;
        }
    }
    client.take_back(cookie)?;
    let late = session.invoke(PARAMS, &[registered(cookie, 0, 8)])?;
    late.is_refused(result::BAD_PARAMETERS)?;
    session.close()
}

case!(4, temporary_memory_is_seen_for_one_call);
fn temporary_memory_is_seen_for_one_call(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let area = client.arena.pages(3);
    for (offset, size) in [
        (0, 3 * PAGE),
        (0, 1),
        (0x123, PAGE),
        (PAGE - 1, 2),
        (2 * PAGE, PAGE),
        (0xff8, 2 * PAGE + 8),
    ] {
        fill(&area, offset);
        let contiguous = temporary(false, area.address + offset, size);
        adds(&session, &area, offset, size, contiguous)?;
        fill(&area, !offset);
        let pages = area.addresses().skip((offset / PAGE) as usize);
        let list = client.list(pages);
        let scattered = temporary(true, list.address + offset % PAGE, size);
        adds(&session, &area, offset, size, scattered)?;
    }
    // Its name was for the call alone.
    let name = 0x7e3b_0000_0000_0001;
    let late = session.invoke(PARAMS, &[registered(name, 0, 8)])?;
    late.is_refused(result::BAD_PARAMETERS)?;
    session.close()
}

/// Has OP-TEE encrypt from one buffer into the other.
fn encrypt(session: &Session<'_>, from: Parameter, to: Parameter, size: u64) -> Result<(), String> {
    // 128-bit keys in counter mode (`PTA_INVOKE_TESTS_AES_CTR`), once, in units of a page.
    let how = value(Direction::Input, [128, 2, 0]);
    let how_much = value(Direction::Input, [1, PAGE, 0]);
    let reply = session.invoke(AES, &[how, how_much, from, to])?;
    reply.is(result::SUCCESS)?;
    check_eq!(reply.came.parameter(2)[1], size, "the size");
    Ok(())
}

/// The pages of `area` in another order: each one once, the last one first.
fn shuffled(area: &Area) -> impl Iterator<Item = u64> + Clone + use<> {
    let (area, count) = (*area, area.len / PAGE);
    (0..count).rev().map(move |index| area.page(index))
}

/// A scattered buffer of `pages` pages is the same to OP-TEE as a contiguous one, page by page:
/// both are encrypted where they are, and come to be alike.
///
/// OP-TEE has translation tables for some MiB of what pseudo-TAs use, and halts when they run out
/// (`core_mmu_map_pages`, `core/mm/core_mmu.c`, 4.5.0), so buffers are small here and only one is
/// in use at a time.
fn is_in_order(client: &Client, session: &Session<'_>, pages: u64, by_name: bool) -> Outcome {
    let size = pages * PAGE;
    let [plain, scattered] = [(); 2].map(|()| client.arena.pages(pages));
    fill(&plain, pages);
    let firsts: Vec<u64> = (0..pages).map(|index| plain.read(index * PAGE)).collect();
    for (index, page) in (0..).zip(shuffled(&scattered)) {
        let words = plain.load(index * PAGE, 512);
        scattered.store(page - scattered.address, &words);
    }
    let lists = [
        client.list(plain.addresses()),
        client.list(shuffled(&scattered)),
    ];
    for list in lists {
        if by_name {
            let name = fresh_cookie();
            let done = client.register_list(list.address, size, name)?;
            check_eq!(done, result::SUCCESS, "a buffer of {pages} pages");
            let memory = registered(name, 0, size);
            encrypt(session, memory, memory, size)?;
            client.take_back(name)?;
        } else {
            let memory = temporary(true, list.address, size);
            encrypt(session, memory, memory, size)?;
        }
    }
    for ((index, page), first) in (0..).zip(shuffled(&scattered)).zip(firsts) {
        let own = scattered.load(page - scattered.address, 512);
        check!(
            own == plain.load(index * PAGE, 512),
            "page {index} of {pages} differs"
        );
        check!(own[0] != first, "page {index} is not encrypted");
    }
    Ok(())
}

case!(4, temporary_lists_are_in_order);
fn temporary_lists_are_in_order(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    for pages in [1, 2, 3, 64] {
        is_in_order(&client, &session, pages, false)?;
    }
    session.close()
}

case!(4, temporary_lists_of_every_length_are_seen);
fn temporary_lists_of_every_length_are_seen(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    // Lists that end exactly on a page, and one that is a page longer.
    for pages in [510, 511, 512] {
        let area = client.arena.pages(pages);
        fill(&area, pages);
        let list = client.list(area.addresses());
        let expected = sum(&area, 0, area.len);
        session.add_bytes(temporary(true, list.address, area.len))?;
        check_eq!(area.byte(0), expected, "the sum of {pages} pages");
    }
    session.close()
}

case!(4, registered_lists_of_every_length_are_in_order);
fn registered_lists_of_every_length_are_in_order(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    for pages in [1, 3, 510, 511, 512] {
        is_in_order(&client, &session, pages, true)?;
    }
    session.close()
}

case!(4, null_references_are_null_whatever_they_carry);
fn null_references_are_null_whatever_they_carry(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
    client.share(&buffer, cookie)?;
    for list in [false, true] {
        // The name of a buffer that there is, of one that there is not, and none.
        for reference in [cookie, 0x1234, 0] {
            let null = Parameter::Temporary {
                direction: Direction::InOut,
                list,
                address: 0,
                size: 0,
                reference,
            };
            for flavour in FLAVOURS {
                let words = session.invocation(MEMREF_NULL, &[null]);
                let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
                reply.is(result::SUCCESS)?;
            }
        }
    }
    // The buffer is registered as before.
    fill(&buffer, 0);
    adds(&session, &buffer, 8, 16, registered(cookie, 8, 16))?;
    client.take_back(cookie)?;
    session.close()
}

case!(4, sizes_come_back_as_they_are_needed);
fn sizes_come_back_as_they_are_needed(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, DEVICE_LIST)?;
    let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
    client.share(&buffer, cookie)?;
    let output = Direction::Output;
    // How much it takes: more than nothing, and a UUID each.
    let none = Parameter::null(output, 0);
    let reply = session.invoke(GET_DEVICES, &[none])?;
    let [_, needed, _] = reply.came.parameter(0);
    check!(
        needed > 0 && needed.is_multiple_of(16) && needed < PAGE,
        "it takes {needed:#x}"
    );
    reply.is_with(SHORT_BUFFER, &[(0, [0, needed, 0])])?;
    for (size, result) in [
        (needed - 1, SHORT_BUFFER),
        (needed, result::SUCCESS),
        (PAGE, result::SUCCESS),
    ] {
        let part = |list, address| Parameter::Temporary {
            direction: output,
            list,
            address,
            size,
            reference: 5,
        };
        let list = client.list(buffer.addresses());
        let named = Parameter::Registered {
            direction: output,
            offset: 0,
            size,
            reference: cookie,
        };
        for parameter in [named, part(false, buffer.address), part(true, list.address)] {
            for flavour in FLAVOURS {
                let words = session.invocation(GET_DEVICES, &[parameter]);
                let [first, _, last] = words.parameter(0);
                let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
                reply.is_with(result, &[(0, [first, needed, last])])?;
            }
        }
    }
    client.take_back(cookie)?;
    session.close()
}

case!(4, temporary_memory_that_is_none_is_refused);
fn temporary_memory_that_is_none_is_refused(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let (start, _) = environment.memory;
    let end = environment.memory_end();
    let good = client.arena.pages(1);
    for bad in [
        0x1000,
        0x0900_0000,
        0x0e10_0000,
        start - PAGE,
        end,
        end + (1 << 30),
        1 << 40,
    ] {
        let reply = session.invoke(PARAMS, &[temporary(false, bad, 8)])?;
        reply.is_refused(result::BAD_PARAMETERS)?;
        // A list that is there and names a page that is not, first or last; and a list that is not
        // there.
        for pages in [[bad, good.address], [good.address, bad]] {
            let list = client.list(pages.into_iter());
            let reply = session.invoke(PARAMS, &[temporary(true, list.address, 2 * PAGE)])?;
            reply.is_refused(result::BAD_PARAMETERS)?;
        }
        let reply = session.invoke(PARAMS, &[temporary(true, bad, PAGE)])?;
        reply.is_refused(result::BAD_PARAMETERS)?;
    }
    // Memory that ends where the guest's does, and memory that does not.
    session.add_bytes(temporary(false, end - 16, 16))?;
    let reply = session.invoke(PARAMS, &[temporary(false, end - 16, 17)])?;
    reply.is_refused(result::BAD_PARAMETERS)?;
    // A page of a list at no page's start; a link to where no list is.
    let list = client.list([good.address + 8].into_iter());
    let reply = session.invoke(PARAMS, &[temporary(true, list.address, 8)])?;
    reply.is_refused(result::BAD_PARAMETERS)?;
    let long = client.list(core::iter::repeat_n(good.address, 512));
    for link in [end, long.page(1) + 8, 0] {
        long.write(511 * 8, link);
        let reply = session.invoke(PARAMS, &[temporary(true, long.address, 512 * PAGE)])?;
        reply.is_refused(result::BAD_PARAMETERS)?;
    }
    session.close()
}

case!(4, sizes_that_overflow_or_are_too_large_are_refused);
fn sizes_that_overflow_or_are_too_large_are_refused(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let area = client.arena.pages(1);
    for list in [false, true] {
        for (offset, size, result) in [
            (8, u64::MAX, result::BAD_PARAMETERS),
            (8, u64::MAX - 7, result::BAD_PARAMETERS),
            (0, u64::MAX, result::OUT_OF_MEMORY),
            (0, 1 << 63, result::OUT_OF_MEMORY),
            (0, 1 << 44, result::OUT_OF_MEMORY),
            (0, (64 << 20) + 1, result::OUT_OF_MEMORY),
        ] {
            let parameter = temporary(list, area.address + offset, size);
            session.invoke(PARAMS, &[parameter])?.is_refused(result)?;
        }
    }
    session.close()
}

case!(4, a_reference_to_no_bytes_of_a_buffer_is_one);
fn a_reference_to_no_bytes_of_a_buffer_is_one(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, DEVICE_LIST)?;
    let (buffer, cookie) = (client.arena.pages(1), fresh_cookie());
    client.share(&buffer, cookie)?;
    let list = client.list(buffer.addresses());
    let output = Direction::Output;
    for offset in [0, 8, PAGE - 8] {
        let named = Parameter::Registered {
            direction: output,
            offset,
            size: 0,
            reference: cookie,
        };
        let [contiguous, scattered] =
            [(false, buffer.address), (true, list.address)].map(|(list, start)| {
                Parameter::Temporary {
                    direction: output,
                    list,
                    address: start + offset,
                    size: 0,
                    reference: 0,
                }
            });
        for parameter in [named, contiguous, scattered] {
            let reply = session.invoke(GET_DEVICES, &[parameter])?;
            let [first, needed, last] = reply.came.parameter(0);
            check!(needed > 0, "nothing is needed");
            reply.is_with(SHORT_BUFFER, &[(0, [first, needed, last])])?;
        }
    }
    client.take_back(cookie)?;
    session.close()
}

case!(4, memory_of_every_kind_goes_in_one_message);
fn memory_of_every_kind_goes_in_one_message(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let [from, to] = [(); 2].map(|()| client.arena.pages(2));
    let cookie = fresh_cookie();
    client.share(&from, cookie)?;
    fill(&from, 1);
    let list = client.list(to.addresses());
    for flavour in FLAVOURS {
        to.fill(0);
        let words = session.invocation(
            AES,
            &[
                value(Direction::Input, [128, 2, 0]),
                value(Direction::Input, [1, 16, 0]),
                registered(cookie, 16, PAGE),
                temporary(true, list.address | 32, PAGE),
            ],
        );
        let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
        reply.is(result::SUCCESS)?;
        let written = to.load(32, (PAGE / 8) as usize);
        check!(written.iter().all(|word| *word != 0), "bytes are missing");
        for offset in (0..32).chain(32 + PAGE..2 * PAGE).step_by(8) {
            check_eq!(to.read(offset), 0, "the word at {offset:#x}");
        }
    }
    // Where a later parameter is refused, earlier ones are not taken.
    let to_nowhere = session.invoke(
        AES,
        &[
            value(Direction::Input, [128, 2, 0]),
            temporary(false, to.address, PAGE),
            registered(cookie, 0, PAGE),
            temporary(false, environment.memory_end(), PAGE),
        ],
    )?;
    to_nowhere.is_refused(result::BAD_PARAMETERS)?;
    client.take_back(cookie)?;
    client.close(Flavour::Argument, session.number)
}
