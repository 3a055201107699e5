//! The memory for messages, registered anew when it has fallen behind.

use std::vec::Vec;

use optee_abi::message::{Direction, command};
use optee_abi::smc::{self, RpcFunction, status};
use optee_abi::{result, rpc};

use crate::Tee;
use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, World, assert_nothing_left, call_at, exchange, get, guest, invoke,
    is_rpc, put, register, resume, rpc_arg, send, unregister_message, value,
};

/// Registers enough buffers that the next call renews the memory of its slot.
fn fall_behind(world: &World, guest: &Guest, from: u64) {
    for cookie in from..from + 65 {
        register(world, guest, cookie, BUFFER, 1);
    }
}

/// The handles of memory for messages that OP-TEE knows.
fn own_handles(world: &World) -> Vec<u64> {
    let optee = world.optee();
    optee
        .shared
        .keys()
        .copied()
        .filter(|handle| handle & 0xffff_ffff == 0xffff_ffff)
        .collect()
}

/// Calls and gives the handle by which OP-TEE was told of the message.
fn handle_of_call(world: &World, guest: &Guest) -> u64 {
    let reply = exchange(world, guest, &invoke(&[value(Direction::InOut, [1, 2, 3])]));
    assert_eq!(
        (reply.result(), reply.words(0)),
        (result::SUCCESS, [2, 4, 3])
    );
    let call = *world.optee().calls.last().unwrap();
    smc::join(call[1], call[2])
}

#[test]
fn few_buffers_do_not_matter() {
    let (world, guest) = guest();
    for cookie in 0..200 {
        register(&world, &guest, cookie, BUFFER, 1);
        exchange(&world, &guest, &unregister_message(cookie));
    }
    for cookie in 0..32 {
        register(&world, &guest, cookie, BUFFER, 1);
    }
    assert_eq!(handle_of_call(&world, &guest), 0xffff_ffff);
    assert_eq!(own_handles(&world), [0xffff_ffff]);
}

#[test]
fn buffers_that_stand_behind_do_not_matter() {
    let (world, guest) = guest();
    fall_behind(&world, &guest, 0);
    let first = handle_of_call(&world, &guest);
    assert_ne!(first, 0xffff_ffff);
    for cookie in 100..400 {
        register(&world, &guest, cookie, BUFFER, 1);
        exchange(&world, &guest, &unregister_message(cookie));
    }
    assert_eq!(
        handle_of_call(&world, &guest),
        first,
        "those that came after it are gone again"
    );
}

#[test]
fn a_slot_that_fell_behind_is_registered_anew() {
    let (world, guest) = guest();
    fall_behind(&world, &guest, 0);
    let first = handle_of_call(&world, &guest);
    assert_ne!(first, 0xffff_ffff);
    assert_eq!(
        own_handles(&world),
        [0xffff_ffff, first],
        "other slots still use the first"
    );
    assert_eq!(
        handle_of_call(&world, &guest),
        first,
        "it is near the front now"
    );
    fall_behind(&world, &guest, 100);
    let second = handle_of_call(&world, &guest);
    assert_ne!(second, first);
    assert_eq!(
        own_handles(&world),
        [0xffff_ffff, second],
        "the one before is gone"
    );
    assert_eq!(guest.pool.free_pages(), 99);
    assert_eq!(world.pinned(), 130, "only the guest's pages are pinned");
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

#[test]
fn each_slot_has_its_own() {
    let (world, guest) = guest();
    fall_behind(&world, &guest, 0);
    let first = handle_of_call(&world, &guest);
    world.act(Act::Interrupt);
    let waiting = send(&world, &guest, &invoke(&[]));
    let other = ARG + 0x8000;
    put(
        &world,
        other,
        &invoke(&[value(Direction::InOut, [1, 2, 3])]),
    );
    assert_eq!(call_at(&guest, other)[0], u64::from(status::OK));
    assert_eq!(get(&world, other).words(0), [2, 4, 3]);
    let handles = own_handles(&world);
    assert_eq!(handles.len(), 3);
    assert!(handles.contains(&first));
    assert_eq!(resume(&guest, &waiting)[0], u64::from(status::OK));
}

#[test]
fn a_renewal_can_be_interrupted_and_commands_come_after_it() {
    let (world, guest) = guest();
    fall_behind(&world, &guest, 0);
    let message = invoke(&[value(Direction::InOut, [1, 2, 3])]);
    world.act(Act::Interrupt);
    let registers = send(&world, &guest, &message);
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    assert_eq!(world.last_message().command(), command::REGISTER_SHM);
    let registers = resume(&guest, &registers);
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(get(&world, ARG).words(0), [2, 4, 3]);

    let request =
        optee_abi::message::Message::new(rpc::SUSPEND, &[value(Direction::Input, [9, 0, 0])]);
    world.command(request, |answer| assert_eq!(answer.words(0), [9, 0, 0]));
    let registers = send(&world, &guest, &message);
    assert!(is_rpc(&registers, RpcFunction::Command));
    assert_eq!(get(&world, rpc_arg(&message)).words(0), [9, 0, 0]);
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
}

#[test]
fn what_op_tee_does_not_renew_stays_as_it_was() {
    for act in [
        Act::Result(result::OUT_OF_MEMORY),
        Act::Status(status::ENOMEM),
    ] {
        let (world, guest) = guest();
        fall_behind(&world, &guest, 0);
        let before = world.message_count();
        world.act(act);
        assert_eq!(handle_of_call(&world, &guest), 0xffff_ffff);
        assert_eq!(world.message_count(), before + 2);
        assert_eq!(handle_of_call(&world, &guest), 0xffff_ffff);
        assert_eq!(
            world.message_count(),
            before + 3,
            "it is not tried at each call"
        );
        assert_eq!(guest.pool.free_pages(), 99);
    }
}

#[test]
fn a_guest_can_end_during_a_renewal() {
    let (world, guest) = guest();
    fall_behind(&world, &guest, 0);
    world.act(Act::Interrupt);
    send(&world, &guest, &invoke(&[]));
    guest.destroy();
    assert_nothing_left(&world, &guest);
}
