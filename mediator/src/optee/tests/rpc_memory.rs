//! Memory that OP-TEE asks a guest for.

use std::sync::atomic::Ordering;
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{RpcFunction, status};

use crate::Tee;
use crate::optee::Limits;
use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, LIST, TICKS_PER_SECOND, World, assert_nothing_left, call_at, exchange,
    get, guest, guest_with, invoke, is_rpc, pa_of, put, put_list, register, register_message,
    registered, resume, rpc_arg, send, unregister_message, value,
};
use smccc::CallRegisters;

const COOKIE: u64 = 0xffff_0000_0000_0080;

fn alloc_request(kind: u64, size: u64) -> Message {
    Message::new(rpc::SHM_ALLOC, &[value(Direction::Input, [kind, size, 8])])
}

fn memory(list: bool, address: u64, size: u64, cookie: u64) -> Parameter {
    Parameter::Temporary {
        direction: Direction::Output,
        list,
        address,
        size,
        reference: cookie,
    }
}

fn reply_at() -> u64 {
    rpc_arg(&invoke(&[]))
}

/// The guest answers with this parameter.
fn reply(world: &World, parameter: Parameter) {
    let mut message = get(world, reply_at());
    message.set_parameter(0, parameter);
    message.set_result(result::SUCCESS, 2);
    world.poke(reply_at(), message.bytes(1));
}

/// The guest is told to free `cookie`, and does.
fn free(
    world: &World,
    guest: &Guest,
    registers: &CallRegisters,
    kind: u64,
    cookie: u64,
) -> CallRegisters {
    assert!(is_rpc(registers, RpcFunction::Command));
    let mut message = get(world, reply_at());
    assert_eq!((message.command(), message.count()), (rpc::SHM_FREE, Ok(1)));
    assert_eq!(
        message.parameter(0),
        Ok(value(Direction::Input, [kind, cookie, 0]))
    );
    message.set_result(result::SUCCESS, 2);
    world.poke(reply_at(), message.bytes(1));
    resume(guest, registers)
}

/// Asks for `size` bytes and expects to get them.
fn ask(world: &World, guest: &Guest, kind: u64, size: u64) -> CallRegisters {
    world.command(alloc_request(kind, size), |answer| {
        assert_eq!(answer.result(), result::SUCCESS);
    });
    let registers = send(world, guest, &invoke(&[]));
    assert!(is_rpc(&registers, RpcFunction::Command));
    assert_eq!(
        get(world, reply_at()).parameter(0),
        Ok(value(Direction::Input, [kind, size, 8]))
    );
    registers
}

/// Asks for memory and expects to get none after this answer of the guest.
fn ask_in_vain(world: &World, guest: &Guest, parameter: Parameter, expected: u32) -> CallRegisters {
    world.command(alloc_request(rpc::SHM_TYPE_APPL, 0x1000), move |answer| {
        assert_eq!((answer.result(), answer.count()), (expected, Ok(1)));
        assert_eq!(
            answer.parameter(0),
            Ok(value(Direction::Input, [0, 0x1000, 8]))
        );
    });
    let registers = send(world, guest, &invoke(&[]));
    reply(world, parameter);
    resume(guest, &registers)
}

#[test]
fn memory_of_every_kind_comes_and_goes() {
    for kind in [
        rpc::SHM_TYPE_APPL,
        rpc::SHM_TYPE_KERNEL,
        rpc::SHM_TYPE_GLOBAL,
    ] {
        let (world, guest) = guest();
        let pages: Vec<u64> = (0..600).map(|page| BUFFER + page * 0x3000).collect();
        put_list(&world, LIST, &pages);
        let registers = ask(&world, &guest, kind, 599 * 4096);
        reply(&world, memory(true, LIST | 8, 599 * 4096, COOKIE));
        world.act(Act::Interrupt);
        let registers = resume(&guest, &registers);
        assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
        assert_eq!(
            guest.pool.free_pages(),
            99 - 2,
            "OP-TEE may still be reading the list"
        );
        let shared = world.shared();
        let (handle, learned) = &shared[0];
        assert_eq!(
            learned.pages,
            pages.iter().map(|page| pa_of(*page)).collect::<Vec<_>>()
        );
        assert_eq!(learned.offset, 8);
        assert_eq!(world.pinned(), 600);

        // OP-TEE uses it.
        let use_it = Message::new(
            rpc::FS,
            &[registered(Direction::InOut, *handle, 0x10, 0x1000)],
        );
        world.command(use_it, |_| ());
        let registers = resume(&guest, &registers);
        assert_eq!(guest.pool.free_pages(), 99);
        assert_eq!(
            get(&world, reply_at()).parameter(0),
            Ok(registered(Direction::InOut, COOKIE, 0x10, 0x1000))
        );

        // OP-TEE frees it.
        let request = Message::new(
            rpc::SHM_FREE,
            &[value(Direction::Input, [kind, *handle, 0])],
        );
        world.command(request, |answer| {
            assert_eq!(answer.result(), result::SUCCESS);
        });
        let registers = resume(&guest, &registers);
        assert_eq!(world.pinned(), 600);
        world.act(Act::Interrupt);
        let registers = free(&world, &guest, &registers, kind, COOKIE);
        assert_eq!(world.pinned(), 600, "OP-TEE may not have forgotten it yet");
        assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn contiguous_memory_becomes_a_list() {
    let (world, guest) = guest();
    let registers = ask(&world, &guest, rpc::SHM_TYPE_KERNEL, 0x2_0000);
    reply(&world, memory(false, BUFFER, 0x2_0000, COOKIE));
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
    let expected: Vec<u64> = (0..32).map(|page| pa_of(BUFFER + page * 4096)).collect();
    assert_eq!(world.shared()[0].1.pages, expected);
}

#[test]
fn a_guest_may_have_none() {
    let (world, guest) = guest();
    world.command(alloc_request(0, 0x1000), |answer| {
        assert_eq!(
            (answer.result(), answer.origin()),
            (result::OUT_OF_MEMORY, 2)
        );
        assert_eq!(
            answer.parameter(0),
            Ok(value(Direction::Input, [0, 0x1000, 8]))
        );
    });
    let registers = send(&world, &guest, &invoke(&[]));
    let mut message = get(&world, reply_at());
    message.set_result(result::OUT_OF_MEMORY, 2);
    world.poke(reply_at(), message.bytes(1));
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
    assert_nothing_left(&world, &guest);
}

#[test]
fn memory_that_can_not_be_used_goes_back_to_the_guest() {
    let limits = Limits {
        buffer_bytes_max: 0x10_0000,
        ..Limits::default()
    };
    for parameter in [
        memory(true, LIST, 0xfff, COOKIE),
        memory(true, LIST, 0, COOKIE),
        memory(true, 0, 0x1000, COOKIE),
        memory(true, LIST + 0x1000, 0x1000, COOKIE),
        memory(true, 0x5a_4000_0000, 0x1000, COOKIE),
        memory(false, pa_of(BUFFER), 0x1000, COOKIE),
    ] {
        let (world, guest) = guest_with(limits);
        put_list(&world, LIST, &[BUFFER]);
        let registers = ask_in_vain(&world, &guest, parameter, result::OUT_OF_MEMORY);
        let registers = free(&world, &guest, &registers, rpc::SHM_TYPE_APPL, COOKIE);
        assert_eq!(registers[0], u64::from(status::OK), "{parameter:?}");
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn op_tee_is_given_no_more_memory_than_it_wants() {
    for size in [0x1001, 0x10_0001, u64::MAX, (1 << 44) + 0x1000] {
        let (world, guest) = guest();
        put_list(&world, LIST, &[BUFFER, BUFFER + 0x4000]);
        let registers = ask(&world, &guest, rpc::SHM_TYPE_APPL, 0x1000);
        reply(&world, memory(true, LIST | 8, size, COOKIE));
        assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
        let (_, shared) = &world.shared()[0];
        assert_eq!((shared.offset, shared.size), (8, 0x1000));
        assert_eq!((shared.pages.len(), world.pinned()), (2, 2));
    }
}

/// Asks for `size` bytes; the guest gives `LIST`, and has to take it back.
fn ask_for_too_much(world: &World, guest: &Guest, size: u64) {
    world.command(alloc_request(rpc::SHM_TYPE_APPL, size), |answer| {
        assert_eq!(answer.result(), result::OUT_OF_MEMORY);
    });
    let registers = send(world, guest, &invoke(&[]));
    reply(world, memory(true, LIST, size, COOKIE));
    let registers = resume(guest, &registers);
    let registers = free(world, guest, &registers, rpc::SHM_TYPE_APPL, COOKIE);
    assert_eq!(registers[0], u64::from(status::OK));
}

#[test]
fn more_memory_than_op_tee_can_map_goes_back_to_the_guest() {
    let limits = Limits {
        buffer_bytes_max: 0x10_0000,
        ..Limits::default()
    };
    for (limits, size) in [(Limits::default(), 4 << 20), (limits, 0x10_0001)] {
        let (world, guest) = guest_with(limits);
        put_list(&world, LIST, &[BUFFER]);
        ask_for_too_much(&world, &guest, size);
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn memory_waits_for_room_that_another_call_has() {
    for ends in [true, false] {
        let (world, guest) = guest();
        world.act(Act::Interrupt);
        let other = send(&world, &guest, &invoke(&[]));
        assert!(is_rpc(&other, RpcFunction::ForeignInterrupt));
        // What it has came one after the other and lies high up.
        let [first, second] = [(); 2].map(|()| guest.window.take_for_rpc(284).unwrap());
        guest.window.give_back(first);
        let third = guest.window.take_for_rpc(284).unwrap();
        guest.window.give_back(second);

        let size = 200 * 4096;
        let pages: Vec<u64> = (0..200).map(|page| BUFFER + page * 0x1000).collect();
        put_list(&world, LIST, &pages);
        put(&world, ARG + 4096, &invoke(&[]));
        world.command(alloc_request(rpc::SHM_TYPE_APPL, size), move |answer| {
            assert_eq!(answer.result() == result::SUCCESS, ends);
        });
        let asked = call_at(&guest, ARG + 4096);
        assert!(is_rpc(&asked, RpcFunction::Command));
        let mut answer = get(&world, reply_at() + 4096);
        answer.set_parameter(0, memory(true, LIST, size, COOKIE));
        answer.set_result(result::SUCCESS, 2);
        world.poke(reply_at() + 4096, answer.bytes(1));
        let mut waits = resume(&guest, &asked);
        for _ in 0..3 {
            assert!(is_rpc(&waits, RpcFunction::ForeignInterrupt));
            waits = resume(&guest, &waits);
        }
        if ends {
            guest.window.give_back(third);
            assert_eq!(resume(&guest, &waits)[0], u64::from(status::OK));
            assert_eq!(world.pinned(), 200);
        } else {
            let clock = &world.0.clock;
            clock.fetch_add(2 * TICKS_PER_SECOND, Ordering::SeqCst);
            let freed = resume(&guest, &waits);
            assert!(is_rpc(&freed, RpcFunction::Command), "it is to be freed");
        }
        guest.destroy();
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn answers_that_name_no_memory_are_errors() {
    for parameter in [
        Parameter::None,
        value(Direction::Input, [0, 0x1000, 8]),
        registered(Direction::Output, COOKIE, 0, 0x1000),
        Parameter::Temporary {
            direction: Direction::Input,
            list: true,
            address: LIST,
            size: 0x1000,
            reference: COOKIE,
        },
    ] {
        let (world, guest) = guest();
        put_list(&world, LIST, &[BUFFER]);
        let registers = ask_in_vain(&world, &guest, parameter, result::BAD_PARAMETERS);
        assert_eq!(registers[0], u64::from(status::OK), "{parameter:?}");
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn a_cookie_in_use_is_no_memory_and_is_not_freed() {
    let (world, guest) = guest();
    register(&world, &guest, COOKIE, BUFFER, 1);
    put_list(&world, LIST, &[BUFFER + 0x1000]);
    let registers = ask_in_vain(
        &world,
        &guest,
        memory(true, LIST, 0x1000, COOKIE),
        result::BAD_PARAMETERS,
    );
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(world.shared().len(), 1);
    exchange(&world, &guest, &unregister_message(COOKIE));
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_guest_that_frees_may_use_the_cookie_at_once() {
    let (world, guest) = guest();
    put_list(&world, LIST, &[BUFFER]);
    let registers = ask(&world, &guest, rpc::SHM_TYPE_APPL, 0x1000);
    reply(&world, memory(true, LIST, 0x1000, COOKIE));
    world.act(Act::Interrupt);
    let registers = resume(&guest, &registers);
    let handle = world.shared()[0].0;
    world.command(
        Message::new(rpc::SHM_FREE, &[value(Direction::Input, [0, handle, 0])]),
        |_| (),
    );
    let registers = resume(&guest, &registers);
    assert!(is_rpc(&registers, RpcFunction::Command));

    let other = ARG + 0x8000;
    put_list(&world, LIST, &[BUFFER + 0x5000]);
    put(&world, other, &register_message(LIST, 4096, COOKIE));
    call_at(&guest, other);
    assert_eq!(get(&world, other).result(), result::SUCCESS);
    assert_eq!(world.pinned(), 2);

    let registers = free(&world, &guest, &registers, 0, COOKIE);
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(world.pinned(), 1);
    let reply = exchange(
        &world,
        &guest,
        &invoke(&[registered(Direction::Input, COOKIE, 0, 1)]),
    );
    assert_eq!(reply.result(), result::SUCCESS, "the new buffer is there");
}

#[test]
fn op_tee_frees_only_what_it_asked_for() {
    for (kind, claim) in [(0, 0x1_0000_0001), (0, 0x1234), (1, 0xffff_ffff), (2, 0)] {
        let (world, guest) = guest();
        register(&world, &guest, 7, BUFFER, 1);
        world.command(
            Message::new(rpc::SHM_FREE, &[value(Direction::Input, [kind, claim, 0])]),
            |answer| {
                assert_eq!(answer.result(), result::BAD_PARAMETERS);
            },
        );
        let registered = world.shared()[0].clone();
        assert_eq!(send(&world, &guest, &invoke(&[]))[0], u64::from(status::OK));
        assert_eq!(world.pinned(), 1);
        world.optee().shared.insert(registered.0, registered.1);
        assert_eq!(
            exchange(&world, &guest, &unregister_message(7)).result(),
            result::SUCCESS
        );
    }
}

#[test]
fn translating_an_answer_can_be_interrupted() {
    let (world, guest) = guest();
    let pages: Vec<u64> = (0..200).map(|page| BUFFER + page * 0x3000).collect();
    put_list(&world, LIST, &pages);
    let registers = ask(&world, &guest, rpc::SHM_TYPE_APPL, 200 * 4096);
    reply(&world, memory(true, LIST, 200 * 4096, COOKIE));
    world.0.quiet.store(0, Ordering::SeqCst);
    let mut registers = resume(&guest, &registers);
    for _ in 0..3 {
        assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
        // The answer is a copy; what the guest does to it now has no effect.
        world.poke(reply_at(), &[0xff; 64]);
        registers = resume(&guest, &registers);
    }
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(world.shared()[0].1.pages.len(), 200);
}

#[test]
fn a_guest_may_end_while_it_owes_an_answer() {
    let (world, guest) = guest();
    put_list(&world, LIST, &[BUFFER]);
    let registers = ask(&world, &guest, 0, 0x1000);
    reply(&world, memory(true, LIST, 0x1000, COOKIE));
    world.act(Act::Interrupt);
    resume(&guest, &registers);
    assert_eq!(world.pinned(), 1);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}
