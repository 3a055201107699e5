//! Guests that have no room for RPCs behind their message, and are asked for some.

use optee_abi::message::{Direction, Message, size_with};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction, status};

use crate::Tee;
use crate::optee::fakes::{
    ARG, BUFFER, Guest, NOWHERE, RAM, World, assert_nothing_left, get, guest, invoke, is_rpc, put,
    resume, smc_with, value,
};
use smccc::CallRegisters;

const COOKIE: u64 = 0xffff_8000_1234_5678;

fn call_with_arg(world: &World, guest: &Guest) -> CallRegisters {
    put(world, ARG, &invoke(&[value(Direction::InOut, [1, 2, 3])]));
    let [a1, a2] = smc::split(ARG);
    smc_with(guest, &[u64::from(smc::CALL_WITH_ARG), a1, a2])
}

/// Returns with memory at `ipa` for an RPC argument.
fn provide(guest: &Guest, registers: &CallRegisters, ipa: u64, cookie: u64) -> CallRegisters {
    let ([a1, a2], [a4, a5]) = (smc::split(ipa), smc::split(cookie));
    smc_with(
        guest,
        &[
            u64::from(smc::RETURN_FROM_RPC),
            a1,
            a2,
            registers[3],
            a4,
            a5,
        ],
    )
}

fn get_time() -> Message {
    Message::new(rpc::GET_TIME, &[value(Direction::Output, [0; 3])])
}

/// Does what the GET_TIME at `ipa` says.
fn tell_time(world: &World, ipa: u64) {
    let mut message = get(world, ipa);
    assert_eq!(message.command(), rpc::GET_TIME);
    message.set_words(0, [100, 200, 0]);
    message.set_result(result::SUCCESS, 0);
    world.poke(ipa, message.bytes(1));
}

fn plan_time(world: &World, times: usize) {
    for _ in 0..times {
        world.command(get_time(), |answer| {
            assert_eq!(answer.words(0), [100, 200, 0]);
        });
    }
}

fn set_cache(guest: &Guest, on: bool) -> CallRegisters {
    smc_with(
        guest,
        &[u64::from(if on {
            smc::ENABLE_SHM_CACHE
        } else {
            smc::DISABLE_SHM_CACHE
        })],
    )
}

#[test]
fn room_is_asked_for_once_and_given_back_in_the_end() {
    let (world, guest) = guest();
    plan_time(&world, 2);
    let mut registers = call_with_arg(&world, &guest);
    assert!(is_rpc(&registers, RpcFunction::Alloc));
    assert_eq!(registers[1..3], [size_with(4) as u64, 0]);
    registers = provide(&guest, &registers, BUFFER, COOKIE);
    for _ in 0..2 {
        assert!(is_rpc(&registers, RpcFunction::Command));
        assert_eq!(smc::join(registers[1], registers[2]), COOKIE);
        tell_time(&world, BUFFER);
        registers = resume(&guest, &registers);
    }
    assert!(is_rpc(&registers, RpcFunction::Free));
    assert_eq!(smc::join(registers[1], registers[2]), COOKIE);
    assert_eq!(
        get(&world, ARG).words(0),
        [2, 4, 3],
        "the results are there"
    );
    assert_eq!(guest.stats().calls_in_flight, 1);
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_call_without_commands_needs_no_room() {
    let (world, guest) = guest();
    assert_eq!(call_with_arg(&world, &guest)[0], u64::from(status::OK));
}

#[test]
fn room_is_kept_while_the_cache_is_on() {
    let (world, guest) = guest();
    assert_eq!(set_cache(&guest, true)[0], u64::from(status::OK));
    plan_time(&world, 2);
    let registers = call_with_arg(&world, &guest);
    let registers = provide(&guest, &registers, BUFFER, COOKIE);
    tell_time(&world, BUFFER);
    let registers = resume(&guest, &registers);
    tell_time(&world, BUFFER);
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));

    plan_time(&world, 1);
    let registers = call_with_arg(&world, &guest);
    assert!(
        is_rpc(&registers, RpcFunction::Command),
        "there is room already"
    );
    assert_eq!(smc::join(registers[1], registers[2]), COOKIE);
    for on in [true, false] {
        assert_eq!(
            set_cache(&guest, on)[0],
            u64::from(status::EBUSY),
            "a call is under way"
        );
    }
    tell_time(&world, BUFFER);
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));

    let registers = set_cache(&guest, false);
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(smc::join(registers[1], registers[2]), COOKIE);
    let registers = set_cache(&guest, false);
    assert_eq!(registers[0], u64::from(status::ENOTAVAIL));
    assert_eq!(
        registers[1..4],
        [0xabc1, 0xabc2, 0xabc3],
        "the other registers are left alone"
    );

    plan_time(&world, 1);
    let registers = call_with_arg(&world, &guest);
    assert!(
        is_rpc(&registers, RpcFunction::Alloc),
        "nothing is kept any more"
    );
}

#[test]
fn room_that_stays_in_the_cache_goes_with_the_guest() {
    let (world, guest) = guest();
    set_cache(&guest, true);
    plan_time(&world, 1);
    let registers = call_with_arg(&world, &guest);
    let registers = provide(&guest, &registers, BUFFER, COOKIE);
    tell_time(&world, BUFFER);
    resume(&guest, &registers);
    guest.destroy();
    assert_nothing_left(&world, &guest);
    assert_eq!(set_cache(&guest, false)[0], u64::from(status::ENOTAVAIL));
}

#[test]
fn a_guest_without_memory_gets_its_call_back_with_an_error() {
    let (world, guest) = guest();
    world.command(get_time(), |answer| {
        assert_eq!(answer.result(), result::OUT_OF_MEMORY);
    });
    let registers = call_with_arg(&world, &guest);
    assert_eq!(provide(&guest, &registers, 0, 0)[0], u64::from(status::OK));
    assert_nothing_left(&world, &guest);
}

#[test]
fn room_that_is_none_goes_back_at_once() {
    for ipa in [0, BUFFER + 4, RAM - 0x1000, NOWHERE, !7] {
        let (world, guest) = guest();
        world.command(get_time(), |answer| {
            assert_eq!(answer.result(), result::OUT_OF_MEMORY);
        });
        let registers = call_with_arg(&world, &guest);
        let registers = provide(&guest, &registers, ipa, COOKIE);
        assert!(is_rpc(&registers, RpcFunction::Free), "{ipa:#x}");
        assert_eq!(smc::join(registers[1], registers[2]), COOKIE);
        assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
        assert_nothing_left(&world, &guest);
    }
}

#[test]
fn room_without_a_cookie_is_not_given_back_when_it_is_none() {
    let (world, guest) = guest();
    world.command(get_time(), |answer| {
        assert_eq!(answer.result(), result::OUT_OF_MEMORY);
    });
    let registers = call_with_arg(&world, &guest);
    assert_eq!(provide(&guest, &registers, 4, 0)[0], u64::from(status::OK));
}
