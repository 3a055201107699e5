//! The end of a guest, in any state.

use std::sync::atomic::Ordering;
use std::vec::Vec;

use optee_abi::message::{Direction, Message};
use optee_abi::rpc;
use optee_abi::smc::{RpcFunction, status};

use crate::Tee;
use crate::optee::Limits;
use crate::optee::fakes::{
    Act, BUFFER, LIST, assert_nothing_left, create, guest, invoke, is_rpc, put_list, register,
    register_message, registered, resume, send, temporary, unregister_message, value,
};

#[test]
fn destroying_twice_destroys_once() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 5);
    guest.destroy();
    guest.destroy();
    assert_eq!(world.0.destroyed.load(Ordering::SeqCst), 1);
    assert_nothing_left(&world, &guest);
}

#[test]
fn pages_are_unpinned_only_after_op_tee_forgot_them() {
    // The made-up OP-TEE checks at VM_DESTROYED that what it knows is pinned.
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 5);
    assert_eq!(world.pinned(), 5);
    guest.destroy();
    assert_eq!(world.shared(), []);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_guest_can_end_in_every_state_of_a_call() {
    let long: Vec<u64> = (0..200).map(|page| BUFFER + page * 0x2000).collect();
    let command = || {
        let request = Message::new(rpc::SUSPEND, &[value(Direction::Input, [1, 0, 0])]);
        Act::Command(std::boxed::Box::new(request), std::boxed::Box::new(|_| ()))
    };
    let shared = [registered(Direction::Input, 7, 0, 1)];
    let borrowed = [temporary(true, LIST, 200 * 4096, 1)];
    for (act, message, busy) in [
        (Act::Interrupt, invoke(&shared), false),
        (command(), invoke(&shared), false),
        (Act::ThreadLimit, invoke(&shared), false),
        (Act::Interrupt, invoke(&borrowed), false),
        (Act::Interrupt, register_message(LIST, 200 * 4096, 8), false),
        (Act::Interrupt, unregister_message(7), false),
        (Act::Interrupt, register_message(LIST, 200 * 4096, 8), true),
        (Act::Interrupt, invoke(&borrowed), true),
    ] {
        let (world, guest) = guest();
        register(&world, &guest, 7, BUFFER, 1);
        put_list(&world, LIST, &long);
        world.act(act);
        world
            .0
            .quiet
            .store(if busy { 0 } else { i64::MAX }, Ordering::SeqCst);
        let registers = send(&world, &guest, &message);
        assert_ne!(registers[0], u64::from(status::OK), "the call is under way");
        guest.destroy();
        assert_nothing_left(&world, &guest);
        assert_eq!(resume(&guest, &registers)[0], u64::from(status::ERESUME));
    }
}

#[test]
fn a_restarted_guest_starts_afresh() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    world.act(Act::Interrupt);
    let stale = send(&world, &guest, &invoke(&[]));
    assert!(is_rpc(&stale, RpcFunction::ForeignInterrupt));
    guest.destroy();
    let calls = world.optee().calls.len();
    let guest = create(&world, Limits::default()).unwrap();
    assert!(world.optee().calls.len() > calls);
    assert_eq!(resume(&guest, &stale)[0], u64::from(status::ERESUME));
    register(&world, &guest, 7, BUFFER, 1);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}
