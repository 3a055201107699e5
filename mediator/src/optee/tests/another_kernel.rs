//! A kernel that the guest starts in the place of another one (kexec) finds OP-TEE as it would
//! natively, and none of its predecessor's calls in the way.

use std::vec;

use optee_abi::message::{Direction, Message};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction, status};

use crate::optee::fakes::{
    ARG, BUFFER, Guest, READY, THREADS, World, assert_nothing_left, call_at, exchange, guest,
    invoke, is_rpc, put, register, registered, resume, smc_with, value,
};
use crate::{Teardown, Tee};
use smccc::CallRegisters;

fn fast(guest: &Guest, function: u32) -> CallRegisters {
    smc_with(guest, &[u64::from(function), 0])
}

/// What a driver does when it begins.
fn probe_anew(guest: &Guest) {
    assert_eq!(
        fast(guest, smc::EXCHANGE_CAPABILITIES)[0],
        u64::from(status::OK)
    );
    assert_eq!(
        fast(guest, smc::DISABLE_SHM_CACHE)[0],
        u64::from(status::ENOTAVAIL),
        "nothing is cached"
    );
}

fn notification(what: u64, number: u64) -> Message {
    Message::new(
        rpc::NOTIFICATION,
        &[value(Direction::Input, [what, number, 0])],
    )
}

/// Has calls on all of OP-TEE's threads ask the guest for something.
fn park_all(world: &World, guest: &Guest, request: &Message) -> vec::Vec<CallRegisters> {
    (0..THREADS as u64)
        .map(|thread| {
            world.command(*request, |_| ());
            put(world, ARG + thread * 4096, &invoke(&[]));
            let registers = call_at(guest, ARG + thread * 4096);
            assert!(is_rpc(&registers, RpcFunction::Command));
            registers
        })
        .collect()
}

#[test]
fn its_predecessors_calls_are_seen_through() {
    let (world, guest) = guest();
    let parked = park_all(&world, &guest, &notification(rpc::NOTIFICATION_WAIT, 65));
    assert_eq!(call_at(&guest, ARG)[0], u64::from(status::ETHREAD_LIMIT));
    probe_anew(&guest);
    for registers in &parked {
        assert_eq!(resume(&guest, registers)[0], u64::from(status::ERESUME));
    }
    assert_eq!(
        exchange(&world, &guest, &invoke(&[])).result(),
        result::SUCCESS
    );
    assert_eq!(world.suspended(), 0);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_call_that_waits_for_their_thread_gets_it() {
    let (world, guest) = guest();
    world.optee().lenient = true;
    park_all(&world, &guest, &notification(rpc::NOTIFICATION_WAIT, 65));
    probe_anew(&guest);
    // They have more to ask, so that OP-TEE has no thread yet.
    for _ in 0..2 * THREADS {
        world.command(notification(rpc::NOTIFICATION_WAIT, 65), |_| ());
    }
    put(&world, ARG, &invoke(&[]));
    let mut registers = call_at(&guest, ARG);
    for _ in 0..2 {
        assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
        registers = resume(&guest, &registers);
    }
    assert_eq!(registers[0], u64::from(status::OK));
    assert_nothing_left(&world, &guest);
}

#[test]
fn it_is_woken_up_by_their_notifications() {
    let (world, guest) = guest();
    assert_eq!(
        fast(&guest, smc::ENABLE_ASYNC_NOTIF)[0],
        u64::from(status::OK)
    );
    let parked = park_all(&world, &guest, &notification(rpc::NOTIFICATION_SEND, 65));
    assert_eq!(parked.len(), THREADS);
    probe_anew(&guest);
    put(&world, ARG, &invoke(&[]));
    let [a1, a2] = smc::split(ARG);
    let mut registers: CallRegisters = [0; 18];
    registers[..3].copy_from_slice(&[u64::from(smc::CALL_WITH_RPC_ARG), a1, a2]);
    assert!(guest.call(&mut registers), "the guest gets its interrupt");
    let told = fast(&guest, smc::GET_ASYNC_NOTIF_VALUE);
    assert_eq!(
        told[..3],
        [u64::from(status::OK), 65, smc::notification::VALID]
    );
    assert!(!guest.call(&mut [u64::from(smc::CALLS_UID); 18]));
}

#[test]
fn what_they_left_is_ended_with_the_guest() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    world.optee().lenient = true;
    world.optee().endless.insert(READY);
    for _ in 0..3 {
        put(
            &world,
            ARG,
            &invoke(&[registered(Direction::Input, 7, 0, 1)]),
        );
        let registers = call_at(&guest, ARG);
        assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
        probe_anew(&guest);
    }
    world.optee().endless.clear();
    assert_eq!(guest.tear_down(false), Teardown::Done { left: 0, lost: 0 });
    assert_eq!(world.suspended(), 0);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

#[test]
fn what_they_left_with_the_mediator_is_forgotten() {
    let (world, guest) = guest();
    assert_eq!(
        fast(&guest, smc::ENABLE_SHM_CACHE)[0],
        u64::from(status::OK)
    );
    world.command(notification(rpc::NOTIFICATION_SEND, 65), |_| ());
    put(&world, ARG, &invoke(&[]));
    let [a1, a2] = smc::split(ARG);
    let asked = smc_with(&guest, &[u64::from(smc::CALL_WITH_ARG), a1, a2]);
    assert!(is_rpc(&asked, RpcFunction::Alloc));
    let [b1, b2] = smc::split(ARG + 0x1000);
    let given = smc_with(
        &guest,
        &[u64::from(smc::RETURN_FROM_RPC), b1, b2, asked[3], 0, 0x77],
    );
    assert!(is_rpc(&given, RpcFunction::Command));
    assert_eq!(resume(&guest, &given)[0], u64::from(status::OK));
    probe_anew(&guest);
}
