//! Slots, thread IDs and the limit of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Vec;

use optee_abi::message::{Direction, command};
use optee_abi::smc::{self, RpcFunction, status};

use crate::Tee as _;
use crate::optee::fakes::{
    ARG, Act, assert_nothing_left, call_at, get, guest, invoke, is_rpc, put, resume, send,
    smc_with, value,
};

#[test]
fn the_limit_is_reached_only_by_calls_of_the_guest_itself() {
    let (world, guest) = guest();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        world.act(Act::Interrupt);
        waiting.push(send(&world, &guest, &invoke(&[])));
    }
    assert_eq!(guest.stats().calls_in_flight, 2);
    let calls = world.optee().calls.len();
    let refused = send(&world, &guest, &invoke(&[]));
    assert_eq!(refused[0], u64::from(status::ETHREAD_LIMIT));
    assert_eq!(
        refused[1..3],
        smc::split(ARG),
        "the other registers are left alone"
    );
    assert_eq!(world.optee().calls.len(), calls, "OP-TEE is not bothered");
    for registers in &waiting {
        assert_eq!(resume(&guest, registers)[0], u64::from(status::OK));
    }
    assert_eq!(send(&world, &guest, &invoke(&[]))[0], u64::from(status::OK));
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_limit_of_op_tee_is_waited_out() {
    let (world, guest) = guest();
    for _ in 0..3 {
        world.act(Act::ThreadLimit);
    }
    let mut registers = send(
        &world,
        &guest,
        &invoke(&[value(Direction::InOut, [1, 2, 3])]),
    );
    for _ in 0..3 {
        assert!(
            is_rpc(&registers, RpcFunction::ForeignInterrupt),
            "the guest has nothing that it could wait for"
        );
        registers = resume(&guest, &registers);
    }
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(get(&world, ARG).words(0), [2, 4, 3]);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_limit_of_op_tee_keeps_the_lists() {
    let (world, guest) = guest();
    crate::optee::fakes::put_list(
        &world,
        crate::optee::fakes::LIST,
        &[crate::optee::fakes::BUFFER],
    );
    world.act(Act::ThreadLimit);
    let registers = send(
        &world,
        &guest,
        &crate::optee::fakes::register_message(crate::optee::fakes::LIST, 4096, 7),
    );
    assert_eq!(guest.pool.free_pages(), 98);
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
    assert_eq!(world.shared().len(), 1);
}

#[test]
fn wrong_thread_ids_are_refused() {
    let (world, guest) = guest();
    world.act(Act::Interrupt);
    let waiting = send(&world, &guest, &invoke(&[]));
    let id = waiting[3];
    let calls = world.optee().calls.len();
    for wrong in [
        0,
        1,
        id ^ 1,
        id + 64,
        id.wrapping_sub(64),
        crate::optee::fakes::OPTEE_THREAD,
        u64::from(u32::MAX),
        id ^ 0x8000_0000,
    ] {
        let registers = smc_with(&guest, &[u64::from(smc::RETURN_FROM_RPC), 0, 0, wrong]);
        assert_eq!(registers[0], u64::from(status::ERESUME), "{wrong:#x}");
    }
    assert_eq!(world.optee().calls.len(), calls, "OP-TEE is not bothered");
    assert_eq!(
        resume(&guest, &waiting)[0],
        u64::from(status::OK),
        "the call is none the worse"
    );
    assert_eq!(
        resume(&guest, &waiting)[0],
        u64::from(status::ERESUME),
        "it is over"
    );
}

#[test]
fn a_return_says_nothing_to_op_tee_but_which_thread() {
    let (world, guest) = guest();
    world.act(Act::Interrupt);
    let waiting = send(&world, &guest, &invoke(&[]));
    let id = waiting[3];
    smc_with(
        &guest,
        &[
            u64::from(smc::RETURN_FROM_RPC),
            1,
            2,
            0xffff_ffff_0000_0000 | id,
            4,
            5,
            6,
            7,
        ],
    );
    let call = *world.optee().calls.last().unwrap();
    let client = u64::from(crate::optee::fakes::CLIENT);
    assert_eq!(
        call,
        [
            u64::from(smc::RETURN_FROM_RPC),
            0,
            0,
            crate::optee::fakes::OPTEE_THREAD,
            0,
            0,
            0,
            client
        ]
    );
}

#[test]
fn one_of_two_cpus_gets_to_resume_a_call() {
    for _ in 0..50 {
        let (world, guest) = guest();
        world.act(Act::Interrupt);
        let waiting = send(&world, &guest, &invoke(&[]));
        let winners = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let registers = resume(&guest, &waiting);
                    match registers[0] as u32 {
                        status::OK => winners.fetch_add(1, Ordering::SeqCst),
                        other => {
                            assert_eq!(other, status::ERESUME);
                            0
                        }
                    };
                });
            }
        });
        assert_eq!(winners.load(Ordering::SeqCst), 1);
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn cpus_call_at_the_same_time() {
    let (world, guest) = guest();
    std::thread::scope(|scope| {
        for cpu in 0..4 {
            let (world, guest) = (&world, &guest);
            scope.spawn(move || {
                let arg = ARG + cpu * 0x1000;
                for _ in 0..200 {
                    put(
                        world,
                        arg,
                        &optee_abi::message::Message::new(command::OPEN_SESSION, &[]),
                    );
                    loop {
                        match call_at(guest, arg)[0] as u32 {
                            status::OK => break,
                            other => assert_eq!(other, status::ETHREAD_LIMIT),
                        }
                    }
                    assert!(world.optee().sessions.contains(&get(world, arg).session()));
                }
            });
        }
    });
    assert_nothing_left(&world, &guest);
    assert_eq!(guest.stats().calls.open_session, 800);
}
