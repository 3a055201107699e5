//! Memory references of a message.

use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::smc::status;

use crate::optee::Limits;
use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, LIST, NOWHERE, RAM, RAM_PAGES, World, assert_nothing_left, exchange,
    get, guest, guest_with, invoke, is_rpc, put_list, register, registered, resume, send,
    temporary, unregister_message, value,
};
use optee_abi::smc::RpcFunction;

const COOKIE: u64 = 0xffff_0000_c00c_1e00;

/// A message that the mediator refuses, with this result, before OP-TEE hears of it.
fn assert_refused(world: &World, guest: &Guest, message: &Message, expected: u32) {
    let before = (world.message_count(), world.pinned());
    let reply = exchange(world, guest, message);
    assert_eq!(
        (reply.result(), reply.origin()),
        (expected, result::ORIGIN_COMMS)
    );
    assert_eq!((world.message_count(), world.pinned()), before);
    assert_eq!(guest.pool.free_pages(), 99);
}

#[test]
fn registered_memory_is_named_by_a_handle() {
    let (world, guest) = guest();
    register(&world, &guest, COOKIE, BUFFER, 2);
    for direction in [Direction::Input, Direction::Output, Direction::InOut] {
        let reply = exchange(
            &world,
            &guest,
            &invoke(&[registered(direction, COOKIE, 0x100, 0x1000)]),
        );
        let size = if direction == Direction::Input {
            0x1000
        } else {
            0x800
        };
        assert_eq!(
            reply.parameter(0),
            Ok(registered(direction, COOKIE, 0x100, size))
        );
        let [offset, size, handle] = world.last_message().words(0);
        assert_eq!((offset, size), (0x100, 0x1000));
        assert_ne!(handle, COOKIE);
        assert_eq!(world.shared()[0].0, handle);
    }
}

#[test]
fn references_to_no_registered_buffer_are_refused() {
    let (world, guest) = guest();
    register(&world, &guest, COOKIE, BUFFER, 1);
    let handle = world.shared()[0].0;
    for cookie in [0, COOKIE + 1, handle, 0xffff_ffff] {
        let message = invoke(&[registered(Direction::InOut, cookie, 0, 1)]);
        assert_refused(&world, &guest, &message, result::BAD_PARAMETERS);
    }
}

#[test]
fn references_beyond_a_buffer_are_refused() {
    let (world, guest) = guest();
    register(&world, &guest, COOKIE, BUFFER, 1);
    for (offset, size) in [
        (0, 0x1001),
        (0x1000, 1),
        (1, 0x1000),
        (u64::MAX, 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
    ] {
        let message = invoke(&[registered(Direction::InOut, COOKIE, offset, size)]);
        assert_refused(&world, &guest, &message, result::SECURITY);
    }
    assert_eq!(
        exchange(
            &world,
            &guest,
            &invoke(&[registered(Direction::Input, COOKIE, 0x1000, 0)])
        )
        .result(),
        0
    );
}

#[test]
fn undefined_attributes_are_refused() {
    let (world, guest) = guest();
    for attributes in [4_u64, 0x105, 0x205, 0x10c, 1 << 40] {
        world.poke(ARG, invoke(&[Parameter::None]).bytes(1));
        world.poke_words(ARG + 32, &[attributes]);
        assert_eq!(
            crate::optee::fakes::call_at(&guest, ARG)[0],
            u64::from(status::OK)
        );
        assert_eq!(
            get(&world, ARG).result(),
            result::BAD_PARAMETERS,
            "{attributes:#x}"
        );
    }
    assert_eq!(world.message_count(), 0);
}

#[test]
fn a_null_reference_is_passed_on_as_nothing_but_null() {
    let (world, guest) = guest();
    register(&world, &guest, COOKIE, BUFFER, 1);
    // It carries the cookie of a registered buffer, which it must not touch.
    for list in [false, true] {
        let reply = exchange(&world, &guest, &invoke(&[temporary(list, 0, 0x55, COOKIE)]));
        assert_eq!(
            world.last_message().parameter(0),
            Ok(temporary(false, 0, 0x55, 0))
        );
        assert_eq!(reply.parameter(0), Ok(temporary(list, 0, 0x1234, COOKIE)));
    }
    assert_eq!(world.shared().len(), 1);
    assert_eq!(world.pinned(), 1);
    exchange(
        &world,
        &guest,
        &invoke(&[registered(Direction::InOut, COOKIE, 0, 1)]),
    );
    exchange(&world, &guest, &unregister_message(COOKIE));
    assert_nothing_left(&world, &guest);
}

#[test]
fn temporary_memory_is_shared_for_the_time_of_the_call() {
    let (world, guest) = guest();
    put_list(&world, LIST, &[BUFFER + 0x9000, BUFFER + 0x4_0000]);
    let message = invoke(&[
        value(Direction::InOut, [1, 2, 3]),
        temporary(true, LIST | 0x20, 0x1800, 0x77),
        temporary(false, BUFFER + 0xff0, 0x20, 0x88),
    ]);
    let reply = exchange(&world, &guest, &message);
    assert_eq!(reply.result(), result::SUCCESS);
    assert_eq!(reply.words(0), [2, 4, 3]);
    assert_eq!(
        reply.parameter(1),
        Ok(temporary(true, LIST | 0x20, 0xc00, 0x77))
    );
    assert_eq!(
        reply.parameter(2),
        Ok(temporary(false, BUFFER + 0xff0, 0x10, 0x88))
    );

    let optee = world.optee();
    let commands: Vec<u32> = optee
        .messages
        .iter()
        .map(|(message, _)| message.command())
        .collect();
    use command::{INVOKE_COMMAND, REGISTER_SHM, UNREGISTER_SHM};
    assert_eq!(
        commands,
        [
            REGISTER_SHM,
            REGISTER_SHM,
            INVOKE_COMMAND,
            UNREGISTER_SHM,
            UNREGISTER_SHM
        ]
    );
    let (invoked, _) = optee.messages[2];
    let [first, second] = [1, 2].map(|index| invoked.words(index));
    assert_eq!(
        [first[0], first[1], second[0], second[1]],
        [0, 0x1800, 0, 0x20]
    );
    assert_ne!(first[2], second[2]);
    drop(optee);
    assert_nothing_left(&world, &guest);
}

#[test]
fn no_bytes_at_an_address_are_no_null_reference() {
    let (world, guest) = guest();
    let reply = exchange(&world, &guest, &invoke(&[temporary(false, BUFFER, 0, 1)]));
    assert_eq!(reply.result(), result::SUCCESS);
    assert!(matches!(
        world.optee().messages[1].0.parameter(0),
        Ok(Parameter::Registered { size: 0, .. })
    ));
    assert_nothing_left(&world, &guest);
}

#[test]
fn temporary_memory_that_is_none_is_refused() {
    let (world, guest) = guest();
    let end = RAM + RAM_PAGES * 4096;
    put_list(&world, LIST, &[BUFFER, end]);
    put_list(&world, LIST + 0x1000, &[BUFFER + 8]);
    for parameter in [
        temporary(false, RAM - 0x1000, 16, 1),
        temporary(false, end - 0x1000, 0x1001, 1),
        temporary(false, NOWHERE, 16, 1),
        temporary(true, LIST, 0x2000, 1),
        temporary(true, LIST + 0x1000, 16, 1),
        temporary(true, end, 16, 1),
        temporary(false, 1, u64::MAX, 1),
        temporary(false, u64::MAX, 1, 1),
    ] {
        assert_refused(
            &world,
            &guest,
            &invoke(&[parameter]),
            result::BAD_PARAMETERS,
        );
    }
    assert_nothing_left(&world, &guest);
}

#[test]
fn temporary_memory_beyond_the_limit_is_refused() {
    let limits = Limits {
        buffer_bytes_max: 0x8000,
        ..Limits::default()
    };
    let (world, guest) = guest_with(limits);
    assert_refused(
        &world,
        &guest,
        &invoke(&[temporary(false, BUFFER, 0x8001, 1)]),
        result::OUT_OF_MEMORY,
    );
    // 2^32 pages and one, of which 32 bits hold the one.
    let size = (1 << 44) + 0x1000;
    assert_refused(
        &world,
        &guest,
        &invoke(&[temporary(true, LIST, size, 1)]),
        result::OUT_OF_MEMORY,
    );
    assert_nothing_left(&world, &guest);
}

#[test]
fn earlier_parameters_are_taken_back_when_a_later_one_fails() {
    let (world, guest) = guest();
    let message = invoke(&[
        temporary(false, BUFFER, 16, 1),
        temporary(false, BUFFER, 64, 2),
        temporary(true, 8, 16, 3),
    ]);
    let reply = exchange(&world, &guest, &message);
    assert_eq!(
        (reply.result(), reply.origin()),
        (result::BAD_PARAMETERS, result::ORIGIN_COMMS)
    );
    assert_eq!(reply.parameter(0), message.parameter(0));
    assert_eq!(
        world.message_count(),
        4,
        "two were registered and unregistered"
    );
    assert_nothing_left(&world, &guest);
}

#[test]
fn earlier_parameters_are_taken_back_when_op_tee_refuses_a_later_one() {
    let (world, guest) = guest();
    world.optee().refuse_after = Some(1);
    let message = invoke(&[
        temporary(false, BUFFER, 16, 1),
        temporary(false, BUFFER, 64, 2),
    ]);
    let reply = exchange(&world, &guest, &message);
    assert_eq!(
        (reply.result(), reply.origin()),
        (result::OUT_OF_MEMORY, result::ORIGIN_COMMS)
    );
    assert_eq!(world.message_count(), 3);
    assert_nothing_left(&world, &guest);
}

#[test]
fn sharing_temporary_memory_can_be_interrupted() {
    let (world, guest) = guest();
    world.act(Act::Interrupt);
    let registers = send(&world, &guest, &invoke(&[temporary(false, BUFFER, 16, 1)]));
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    assert_eq!(world.pinned(), 1);
    let registers = resume(&guest, &registers);
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(get(&world, ARG).result(), result::SUCCESS);
    assert_nothing_left(&world, &guest);
}

#[test]
fn memory_that_op_tee_does_not_let_go_of_stays_pinned_until_the_end() {
    let (world, guest) = guest();
    world.optee().refuse_after = Some(2);
    let reply = exchange(&world, &guest, &invoke(&[temporary(false, BUFFER, 16, 1)]));
    assert_eq!(reply.result(), result::SUCCESS, "what the TA did stands");
    assert_eq!(world.pinned(), 1);
    assert_eq!(world.shared().len(), 1);
    crate::Tee::destroy(&guest);
    assert_nothing_left(&world, &guest);
}

#[test]
fn temporary_memory_goes_back_when_the_call_fails_as_a_whole() {
    let (world, guest) = guest();
    world.optee().status_after = Some((1, status::EBADCMD));
    let registers = send(&world, &guest, &invoke(&[temporary(false, BUFFER, 16, 1)]));
    assert_eq!(registers[0], u64::from(status::EBADCMD));
    assert_nothing_left(&world, &guest);
}
