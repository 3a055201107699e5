//! The three ways to call, and what a message may look like.

use std::vec;

use optee_abi::message::{Direction, Message, Parameter, command, size_with};
use optee_abi::result;
use optee_abi::smc::{self, status};

use crate::Tee as _;
use crate::optee::fakes::{
    ARG, BUFFER, CLIENT, LIST, NOWHERE, RAM, RAM_PAGES, READY, SESSION, TA_ORIGIN, World,
    assert_nothing_left, call_at, exchange, get, guest, invoke, put, put_list, register,
    register_message, send, smc_with, unregister_message, value,
};

fn header(parameters: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&command::INVOKE_COMMAND.to_le_bytes());
    bytes[28..].copy_from_slice(&parameters.to_le_bytes());
    bytes
}

fn assert_called_by_handle(world: &World) {
    for call in &world.optee().calls {
        assert_eq!(call[0], u64::from(smc::CALL_WITH_REGD_ARG));
        assert_eq!(smc::join(call[1], call[2]), 0xffff_ffff);
        assert_eq!(
            call[7],
            u64::from(CLIENT),
            "the guest does not say who it is"
        );
    }
}

#[test]
fn whatever_way_a_guest_calls_op_tee_gets_the_cheapest() {
    let (world, guest) = guest();
    register(&world, &guest, 0xc00c1e, BUFFER, 1);
    let message = invoke(&[value(Direction::InOut, [10, 20, 30])]);
    for function in [
        smc::CALL_WITH_ARG,
        smc::CALL_WITH_RPC_ARG,
        smc::CALL_WITH_REGD_ARG,
    ] {
        let (at, a3) = if function == smc::CALL_WITH_REGD_ARG {
            (0xc00c1e, 0x80)
        } else {
            (ARG, 0)
        };
        let ipa = if function == smc::CALL_WITH_REGD_ARG {
            BUFFER + 0x80
        } else {
            ARG
        };
        put(&world, ipa, &message);
        let [a1, a2] = smc::split(at);
        let registers = smc_with(&guest, &[u64::from(function), a1, a2, a3]);
        assert_eq!(registers[0], u64::from(status::OK));
        let reply = get(&world, ipa);
        assert_eq!(reply.words(0), [11, 22, 30]);
        assert_eq!(
            (reply.result(), reply.origin()),
            (result::SUCCESS, TA_ORIGIN)
        );
    }
    assert_called_by_handle(&world);
    assert_eq!(guest.stats().calls.invoke_command, 3);
}

#[test]
fn calls_in_flight_have_slots_of_their_own() {
    let (world, guest) = guest();
    world.act(crate::optee::fakes::Act::Interrupt);
    send(&world, &guest, &invoke(&[]));
    put(&world, ARG + 0x1000, &invoke(&[]));
    call_at(&guest, ARG + 0x1000);
    let offsets = world
        .optee()
        .calls
        .iter()
        .map(|call| call[3])
        .collect::<vec::Vec<_>>();
    assert_eq!(offsets, [0, 512]);
}

#[test]
fn a_message_may_cross_into_another_page_of_a_registered_buffer() {
    let (world, guest) = guest();
    put_list(&world, LIST, &[BUFFER + 0x5000, BUFFER + 0x1000]);
    let reply = exchange(&world, &guest, &register_message(LIST | 0x10, 8000, 7));
    assert_eq!(reply.result(), result::SUCCESS);
    let message = invoke(&[value(Direction::InOut, [10, 20, 30])]);
    // The buffer starts 0x10 into its first page; the message starts 0x20 before the end of that
    // page.
    world.poke(BUFFER + 0x5fe0, &message.bytes(1)[..0x20]);
    world.poke(BUFFER + 0x1000, &message.bytes(1)[0x20..]);
    let registers = smc_with(&guest, &[u64::from(smc::CALL_WITH_REGD_ARG), 0, 7, 0xfd0]);
    assert_eq!(registers[0], u64::from(status::OK));
    let mut words = [0; 32];
    world.peek(BUFFER + 0x1000, &mut words);
    assert_eq!(u64::from_le_bytes(words[8..16].try_into().unwrap()), 11);
}

#[test]
fn a_message_is_read_once_with_room_for_all_parameters() {
    let (world, guest) = guest();
    for count in [0, 1, 4] {
        world.0.reads.lock().unwrap().clear();
        exchange(&world, &guest, &invoke(&vec![Parameter::None; count]));
        let reads = world.0.reads.lock().unwrap().clone();
        assert_eq!(reads, vec![(ARG, size_with(6))]);
    }
}

#[test]
fn nothing_is_read_twice() {
    let (world, guest) = guest();
    // As soon as the mediator has read something, the guest replaces all of it.
    let others = Message::new(
        command::CLOSE_SESSION,
        &[value(Direction::Output, [9; 3]); 6],
    );
    world.after_read(move |world, _, _| world.poke(ARG, &others.bytes(6)[..32]));
    exchange(
        &world,
        &guest,
        &invoke(&[value(Direction::Input, [1, 2, 3])]),
    );
    assert_eq!(world.last_message().command(), command::INVOKE_COMMAND);
    assert_eq!(world.last_message().count(), Ok(1));
    assert_eq!(world.last_message().words(0), [1, 2, 3]);
}

#[test]
fn results_come_back_field_by_field() {
    let (world, guest) = guest();
    let mut message = Message::new(
        command::OPEN_SESSION,
        &[
            Parameter::Value {
                direction: Direction::Input,
                meta: true,
                words: [1, 2, 0],
            },
            Parameter::Value {
                direction: Direction::Input,
                meta: true,
                words: [3, 4, 5],
            },
            value(Direction::Input, [10, 20, 30]),
            value(Direction::Output, [10, 20, 30]),
            value(Direction::InOut, [10, 20, 30]),
            Parameter::None,
        ],
    );
    message.set_session(0x99);
    let reply = exchange(&world, &guest, &message);
    assert_eq!(reply.session(), SESSION);
    assert_eq!(reply.words(0), [1, 2, 0]);
    assert_eq!(reply.words(2), [10, 20, 30]);
    assert_eq!(reply.words(3), [11, 22, 30]);
    assert_eq!(reply.words(4), [11, 22, 30]);
    assert_eq!(reply.parameter(1), message.parameter(1));

    let mut message = invoke(&[]);
    message.set_session(0x99);
    assert_eq!(
        exchange(&world, &guest, &message).session(),
        0x99,
        "only an open brings a session back"
    );
}

#[test]
fn messages_that_are_not_there_are_a_bad_address() {
    let (world, guest) = guest();
    put(&world, ARG, &invoke(&[]));
    let end = RAM + RAM_PAGES * 4096;
    for ipa in [
        0,
        RAM - 0x1000,
        end,
        ARG + 8,
        ARG + 0x800,
        u64::MAX,
        u64::MAX - 0xfff,
        NOWHERE,
    ] {
        for function in [smc::CALL_WITH_ARG, smc::CALL_WITH_RPC_ARG] {
            let [a1, a2] = smc::split(ipa);
            let registers = smc_with(&guest, &[u64::from(function), a1, a2]);
            assert_eq!(registers[0], u64::from(status::EBADADDR), "{ipa:#x}");
        }
    }
    assert_eq!(world.message_count(), 0);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_registered_message_lies_in_a_registered_buffer() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    put(&world, BUFFER, &invoke(&[]));
    // Unknown buffer, no multiple of 8, behind the end, message without room for RPCs behind it.
    for (cookie, offset) in [
        (8, 0),
        (7, 4),
        (7, 0x1000),
        (7, 0xffff_ffff),
        (7, 0xf80),
        (0xffff_ffff, 0),
    ] {
        let [a1, a2] = smc::split(cookie);
        let registers = smc_with(
            &guest,
            &[u64::from(smc::CALL_WITH_REGD_ARG), a1, a2, offset],
        );
        assert_eq!(
            registers[0],
            u64::from(status::EBADADDR),
            "{cookie:#x} {offset:#x}"
        );
    }
    assert_eq!(world.message_count(), 1);
    exchange(&world, &guest, &unregister_message(7));
    assert_nothing_left(&world, &guest);
}

#[test]
fn more_parameters_than_a_page_holds_are_a_bad_address() {
    let (world, guest) = guest();
    for count in [128, u32::MAX] {
        world.poke(ARG, &header(count));
        assert_eq!(call_at(&guest, ARG)[0], u64::from(status::EBADADDR));
    }
    assert_eq!(world.message_count(), 0);
}

#[test]
fn more_parameters_than_a_command_takes_are_bad_parameters() {
    let (world, guest) = guest();
    for count in [7, 127] {
        world.poke(ARG, &header(count));
        assert_eq!(call_at(&guest, ARG)[0], u64::from(status::OK));
        let reply = get(&world, ARG);
        assert_eq!(
            (reply.result(), reply.origin()),
            (result::BAD_PARAMETERS, result::ORIGIN_COMMS)
        );
    }
    assert_eq!(world.message_count(), 0);
    assert_nothing_left(&world, &guest);
}

#[test]
fn unknown_commands_are_bad_commands() {
    let (world, guest) = guest();
    // 8 to 11 are about protected memory, which no OP-TEE here offers.
    for command in [8, 9, 10, 11, 12, 0xffff_ffff] {
        let registers = send(&world, &guest, &Message::new(command, &[]));
        assert_eq!(registers[0], u64::from(status::EBADCMD), "{command}");
    }
    assert_eq!(world.message_count(), 0);
    assert_nothing_left(&world, &guest);
}

#[test]
fn messages_without_memory_go_through() {
    let (world, guest) = guest();
    for command in [
        command::CANCEL,
        command::DO_BOTTOM_HALF,
        command::STOP_ASYNC_NOTIF,
        command::CLOSE_SESSION,
    ] {
        let mut message = Message::new(command, &[]);
        message.set_session(READY);
        assert_eq!(exchange(&world, &guest, &message).result(), result::SUCCESS);
        assert_eq!(world.last_message().command(), command);
    }
    let calls = guest.stats().calls;
    assert_eq!((calls.close_session, calls.other), (1, 3));
}

#[test]
fn errors_of_op_tee_reach_the_guest() {
    let (world, guest) = guest();
    world.act(crate::optee::fakes::Act::Status(status::ENOMEM));
    assert_eq!(
        send(&world, &guest, &invoke(&[]))[0],
        u64::from(status::ENOMEM)
    );
    world.act(crate::optee::fakes::Act::Result(result::ACCESS_DENIED));
    let reply = exchange(&world, &guest, &invoke(&[]));
    assert_eq!(
        (reply.result(), reply.origin()),
        (result::ACCESS_DENIED, result::ORIGIN_TEE)
    );
}
