//! Registering and taking back buffers.

use std::sync::atomic::Ordering;
use std::vec;
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{RpcFunction, status};

use crate::Tee;
use crate::optee::Limits;
use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, LIST, RAM, RAM_PAGES, World, assert_nothing_left, exchange, get,
    guest, guest_with, invoke, is_rpc, pa_of, put_list, register, register_message, registered,
    resume, send, smc_with, temporary, unregister_message,
};

/// Pages that are all over memory, no two adjacent.
fn scattered(count: u64) -> Vec<u64> {
    (0..count)
        .map(|page| BUFFER + (page * 7919 % 16384) * 4096)
        .collect()
}

fn assert_refused(world: &World, guest: &Guest, message: &Message, expected: u32) {
    let before = (
        world.message_count(),
        world.pinned(),
        guest.pool.free_pages(),
    );
    let reply = exchange(world, guest, message);
    assert_eq!(
        (reply.result(), reply.origin()),
        (expected, result::ORIGIN_COMMS)
    );
    assert_eq!(
        (
            world.message_count(),
            world.pinned(),
            guest.pool.free_pages()
        ),
        before
    );
}

#[test]
fn lists_of_every_length_are_translated() {
    for count in [
        1, 2, 63, 64, 65, 510, 511, 512, 1021, 1022, 1023, 2048, 16384,
    ] {
        let (world, guest) = guest();
        let pages = scattered(count);
        put_list(&world, LIST, &pages);
        let message = register_message(LIST, count * 4096, 7);
        let reply = exchange(&world, &guest, &message);
        assert_eq!(reply.result(), result::SUCCESS);
        assert_eq!(
            reply.parameter(0),
            message.parameter(0),
            "the guest's parameter stays as it was"
        );
        let shared = world.shared();
        let expected: Vec<u64> = pages.iter().map(|page| pa_of(*page)).collect();
        assert_eq!(shared[0].1.pages, expected, "{count} pages");
        assert_eq!(
            guest.pool.free_pages(),
            99,
            "the list is not needed any more"
        );
        assert_eq!(world.pinned(), count as i64);
        let stats = guest.stats();
        assert_eq!(
            (stats.buffers, stats.pinned_pages, stats.entries_translated),
            (1, count, count)
        );

        assert_eq!(
            exchange(&world, &guest, &unregister_message(7)).result(),
            result::SUCCESS
        );
        assert_eq!(world.shared(), []);
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn the_link_of_the_last_page_is_not_followed() {
    let (world, guest) = guest();
    let pages = scattered(511);
    put_list(&world, LIST, &pages);
    world.poke_words(LIST + 511 * 8, &[0xdead_beef]);
    assert_eq!(
        exchange(&world, &guest, &register_message(LIST, 511 * 4096, 7)).result(),
        result::SUCCESS
    );
}

#[test]
fn buffers_may_start_in_the_middle_of_a_page() {
    let (world, guest) = guest();
    put_list(&world, LIST, &[BUFFER, BUFFER + 0x8000]);
    exchange(&world, &guest, &register_message(LIST | 0xfff, 2, 7));
    let shared = world.shared();
    assert_eq!(
        (
            shared[0].1.offset,
            shared[0].1.size,
            shared[0].1.pages.len()
        ),
        (0xfff, 2, 2)
    );
    // It reaches to the end of its last page and no further.
    assert_eq!(
        exchange(
            &world,
            &guest,
            &invoke(&[registered(Direction::Input, 7, 0, 0x1001)])
        )
        .result(),
        0
    );
    let beyond = invoke(&[registered(Direction::Input, 7, 0, 0x1002)]);
    assert_refused(&world, &guest, &beyond, result::SECURITY);
}

#[test]
fn contiguous_buffers_become_lists() {
    let (world, guest) = guest();
    let buffer = Parameter::Temporary {
        direction: Direction::Input,
        list: false,
        address: BUFFER + 0x10,
        size: 0x2_0000,
        reference: 7,
    };
    let reply = exchange(
        &world,
        &guest,
        &Message::new(command::REGISTER_SHM, &[buffer]),
    );
    assert_eq!(reply.result(), result::SUCCESS);
    let expected: Vec<u64> = (0..33).map(|page| pa_of(BUFFER + page * 4096)).collect();
    assert_eq!(world.shared()[0].1.pages, expected);
    assert_eq!(world.shared()[0].1.offset, 0x10);
}

#[test]
fn lists_that_are_none_are_refused() {
    let (world, guest) = guest();
    let end = RAM + RAM_PAGES * 4096;
    let long = scattered(600);
    let broken = |at: u64, words: &[(u64, u64)]| {
        put_list(&world, at, &long);
        for (index, word) in words {
            world.poke_words(at + index * 8, &[*word]);
        }
        register_message(at, 600 * 4096, 7)
    };
    for (message, why) in [
        (broken(LIST, &[(5, BUFFER + 1)]), "an entry is not aligned"),
        (broken(LIST, &[(5, end)]), "an entry is not memory"),
        (
            broken(LIST, &[(5, pa_of(BUFFER))]),
            "an entry is a physical address",
        ),
        (broken(LIST, &[(511, LIST + 8)]), "a link is not aligned"),
        (broken(LIST, &[(511, end)]), "a link is not memory"),
        (
            broken(LIST, &[(512, 0)]),
            "an entry of the second page is not memory",
        ),
        (register_message(end, 4096, 7), "the list is not memory"),
        (register_message(0, 4096, 7), "there is no list"),
        (register_message(LIST, 0, 7), "there are no bytes"),
        (
            register_message(LIST | 1, u64::MAX, 7),
            "the size overflows",
        ),
        (
            Message::new(command::REGISTER_SHM, &[]),
            "there is no parameter",
        ),
        (
            Message::new(command::REGISTER_SHM, &[Parameter::None; 2]),
            "there are two parameters",
        ),
        (
            Message::new(
                command::REGISTER_SHM,
                &[registered(Direction::Input, 7, 0, 16)],
            ),
            "the memory is registered",
        ),
    ] {
        std::println!("{why}");
        assert_refused(&world, &guest, &message, result::BAD_PARAMETERS);
    }
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_cookie_stands_for_the_buffer_that_was_registered_last() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 2);
    // A kernel that starts anew does not know what its predecessor registered; OP-TEE takes it,
    // too.
    register(&world, &guest, 7, BUFFER + 0x1000, 1);
    let shared = world.shared();
    assert_eq!(shared.len(), 1);
    assert_eq!(shared[0].1.pages, [pa_of(BUFFER + 0x1000)]);
    assert_eq!(world.pinned(), 1);
    exchange(&world, &guest, &unregister_message(7));
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_buffer_that_op_tee_keeps_is_not_replaced() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 2);
    put_list(&world, LIST, &[BUFFER]);
    world.act(Act::Result(result::GENERIC));
    let reply = exchange(&world, &guest, &register_message(LIST, 4096, 7));
    assert_eq!(reply.result(), result::BAD_PARAMETERS);
    assert_eq!(world.pinned(), 2);
    let message = invoke(&[registered(Direction::Input, 7, 0, 8192)]);
    assert_eq!(exchange(&world, &guest, &message).result(), result::SUCCESS);
}

#[test]
fn what_op_tee_refuses_to_register_is_not_shared() {
    let (world, guest) = guest();
    put_list(&world, LIST, &scattered(3));
    for act in [
        Act::Result(result::BAD_PARAMETERS),
        Act::Status(status::ENOMEM),
    ] {
        world.act(act);
        send(&world, &guest, &register_message(LIST, 3 * 4096, 7));
        assert_nothing_left(&world, &guest);
    }
    let message = invoke(&[registered(Direction::Input, 7, 0, 1)]);
    assert_refused(&world, &guest, &message, result::BAD_PARAMETERS);
}

#[test]
fn limits_hold_and_leave_the_counts_where_they_were() {
    let limits = Limits {
        buffer_bytes_max: 0x8000,
        buffers_max: 3,
        total_bytes_max: 0x1_0000,
        ..Limits::default()
    };
    let (world, guest) = guest_with(limits);
    put_list(&world, LIST, &scattered(16));
    let too_big = register_message(LIST, 0x8001, 1);
    assert_refused(&world, &guest, &too_big, result::OUT_OF_MEMORY);
    // 2^32 pages and one, of which 32 bits hold the one.
    let far_too_big = register_message(LIST, (1 << 44) + 0x1000, 1);
    assert_refused(&world, &guest, &far_too_big, result::OUT_OF_MEMORY);
    register(&world, &guest, 1, BUFFER, 8);
    register(&world, &guest, 2, BUFFER, 7);
    assert_refused(
        &world,
        &guest,
        &register_message(LIST, 0x2000, 3),
        result::OUT_OF_MEMORY,
    );
    register(&world, &guest, 3, BUFFER, 1);
    exchange(&world, &guest, &unregister_message(1));
    register(&world, &guest, 1, BUFFER, 1);
    assert_refused(
        &world,
        &guest,
        &register_message(LIST, 0x1000, 4),
        result::OUT_OF_MEMORY,
    );
    assert_eq!(guest.stats().buffers, 3);
    for cookie in [1, 2, 3] {
        exchange(&world, &guest, &unregister_message(cookie));
    }
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_thousand_buffers_at_once_and_not_one_too_many() {
    let (world, guest) = guest();
    for cookie in 0..1024 {
        register(
            &world,
            &guest,
            0xffff_0000_0000_0000 + cookie * 0x80,
            BUFFER,
            1,
        );
    }
    assert_refused(
        &world,
        &guest,
        &register_message(LIST, 4096, 5),
        result::OUT_OF_MEMORY,
    );
    assert_eq!(guest.stats().buffers, 1024);
    for cookie in 0..1024 {
        exchange(
            &world,
            &guest,
            &unregister_message(0xffff_0000_0000_0000 + cookie * 0x80),
        );
    }
    assert_nothing_left(&world, &guest);
}

#[test]
fn shadow_pages_that_run_out_are_out_of_memory() {
    let limits = Limits {
        total_bytes_max: u64::MAX,
        ..Limits::default()
    };
    let (world, guest) = guest_with(limits);
    // Lists that wait in OP-TEE keep their pages.
    world.act(Act::Interrupt);
    put_list(&world, LIST, &scattered(16384));
    let first = send(&world, &guest, &register_message(LIST, 64 << 20, 1));
    assert!(is_rpc(&first, RpcFunction::ForeignInterrupt));
    assert_eq!(guest.pool.free_pages(), 99 - 33);
    let list_pages = guest.pool.free_pages();
    let mut taken = crate::optee::shm::page_pool::Chain::new();
    while guest.pool.free_pages() > 2 {
        guest.pool.take(&mut taken);
    }
    let other = ARG + 0x8000;
    crate::optee::fakes::put(&world, other, &register_message(LIST, 1100 * 4096, 2));
    crate::optee::fakes::call_at(&guest, other);
    assert_eq!(get(&world, other).result(), result::OUT_OF_MEMORY);
    assert_eq!(guest.pool.free_pages(), 2);
    guest.pool.give_back(&mut taken);
    assert_eq!(guest.pool.free_pages(), list_pages);
    assert_eq!(resume(&guest, &first)[0], 0);
    exchange(&world, &guest, &unregister_message(1));
    assert_nothing_left(&world, &guest);
}

#[test]
fn unknown_buffers_are_not_taken_back() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    let handle = world.shared()[0].0;
    for cookie in [0, 8, handle, 0xffff_ffff] {
        assert_refused(
            &world,
            &guest,
            &unregister_message(cookie),
            result::BAD_PARAMETERS,
        );
    }
    for message in [
        Message::new(command::UNREGISTER_SHM, &[]),
        Message::new(command::UNREGISTER_SHM, &[temporary(false, 0, 0, 7)]),
        Message::new(
            command::UNREGISTER_SHM,
            &[registered(Direction::Input, 7, 0, 0); 2],
        ),
    ] {
        assert_refused(&world, &guest, &message, result::BAD_PARAMETERS);
    }
    assert_eq!(world.shared().len(), 1);
}

#[test]
fn a_buffer_that_op_tee_keeps_stays_shared() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    for act in [
        Act::Result(result::BAD_PARAMETERS),
        Act::Status(status::ENOMEM),
    ] {
        world.act(act);
        send(&world, &guest, &unregister_message(7));
        assert_eq!(world.pinned(), 1);
    }
    assert_eq!(
        exchange(
            &world,
            &guest,
            &invoke(&[registered(Direction::Input, 7, 0, 1)])
        )
        .result(),
        0
    );
    exchange(&world, &guest, &unregister_message(7));
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_buffer_that_is_being_taken_back_takes_no_new_calls() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    world.act(Act::Interrupt);
    let waiting = send(&world, &guest, &unregister_message(7));
    assert!(is_rpc(&waiting, RpcFunction::ForeignInterrupt));
    let other = ARG + 0x8000;
    for (message, expected) in [
        (
            invoke(&[registered(Direction::Input, 7, 0, 1)]),
            result::BAD_PARAMETERS,
        ),
        (unregister_message(7), result::BAD_PARAMETERS),
        (register_message(LIST, 4096, 7), result::BAD_PARAMETERS),
    ] {
        crate::optee::fakes::put(&world, other, &message);
        crate::optee::fakes::call_at(&guest, other);
        assert_eq!(get(&world, other).result(), expected);
    }
    assert_eq!(world.pinned(), 1);
    assert_eq!(resume(&guest, &waiting)[0], 0);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_long_translation_stops_for_interrupts_and_goes_on() {
    let (world, guest) = guest();
    let pages = scattered(1200);
    put_list(&world, LIST, &pages);
    // The first stretch, then an interrupt at each look.
    world.0.quiet.store(0, Ordering::SeqCst);
    let mut registers = send(&world, &guest, &register_message(LIST, 1200 * 4096, 7));
    let mut pauses = 0;
    while is_rpc(&registers, RpcFunction::ForeignInterrupt) {
        assert_eq!(world.message_count(), 0, "OP-TEE does not know yet");
        assert_eq!(world.pinned(), 1200);
        // What the guest does to the page that was copied already has no effect.
        world.poke_words(LIST + pauses % 8 * 64 * 8, &[0xdead; 60]);
        pauses += 1;
        registers = resume(&guest, &registers);
    }
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(get(&world, ARG).result(), result::SUCCESS);
    assert_eq!(
        pauses,
        8 + 8 + 3 - 1,
        "after each 64 entries, but not after the last"
    );
    assert_eq!(guest.stats().pauses, pauses);
    let expected: Vec<u64> = pages.iter().map(|page| pa_of(*page)).collect();
    assert_eq!(world.shared()[0].1.pages, expected);
}

#[test]
fn a_paused_translation_has_a_thread_id_like_any_call() {
    let (world, guest) = guest();
    put_list(&world, LIST, &scattered(200));
    world.0.quiet.store(0, Ordering::SeqCst);
    let first = send(&world, &guest, &register_message(LIST, 200 * 4096, 7));
    let second = resume(&guest, &first);
    assert!(is_rpc(&second, RpcFunction::ForeignInterrupt));
    assert_eq!(resume(&guest, &first)[0], u64::from(status::ERESUME));
    guest.destroy();
    assert_eq!(resume(&guest, &second)[0], u64::from(status::ERESUME));
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_list_page_is_read_once_and_only_as_far_as_it_goes() {
    let (world, guest) = guest();
    put_list(&world, LIST, &scattered(700));
    world.0.reads.lock().unwrap().clear();
    exchange(&world, &guest, &register_message(LIST, 700 * 4096, 7));
    let reads = world.0.reads.lock().unwrap().clone();
    assert_eq!(
        reads,
        vec![(ARG, 224), (LIST, 4096), (LIST + 4096, 189 * 8)]
    );
}

#[test]
fn the_message_that_registers_may_come_by_any_way() {
    let (world, guest) = guest();
    put_list(&world, LIST, &[BUFFER]);
    crate::optee::fakes::put(&world, ARG, &register_message(LIST, 4096, 7));
    let [a1, a2] = optee_abi::smc::split(ARG);
    let registers = smc_with(&guest, &[u64::from(optee_abi::smc::CALL_WITH_ARG), a1, a2]);
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(world.shared().len(), 1);
}
