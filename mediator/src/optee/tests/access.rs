//! Which trusted applications a guest may open, and how many calls it may make.

use core::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::vec;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{RpcFunction, status};

use crate::Tee;
use crate::optee::Limits;
use crate::optee::fakes::{
    ARG, Guest, READY, SESSION, TICKS_PER_SECOND, World, assert_nothing_left, create_with,
    exchange, get, guest_with, invoke, is_rpc, put, resume, send,
};
use crate::ta_access::{TaAccess, TaList, Uuid};

const LISTED: [u8; 16] = *b"\xb6\x89\xf2\xa7\x8a\xdf\x47\x7a\x9f\x99\x32\xe9\x0c\x0a\xd0\xa2";
const OTHER: [u8; 16] = *b"\xb6\x89\xf2\xa7\x8a\xdf\x47\x7a\x9f\x99\x32\xe9\x0c\x0a\xd0\xa3";

fn guest_that_may(access: fn(TaList) -> TaAccess) -> (World, Guest) {
    let world = World::new(100);
    let list = TaList::new(vec![Uuid([0xff; 16]), Uuid(LISTED), Uuid([0; 16])]);
    let guest = create_with(&world, Limits::default(), access(list)).unwrap();
    world.optee().messages.clear();
    (world, guest)
}

fn meta(octets: [u8; 16]) -> Parameter {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    Parameter::Value {
        direction: Direction::Input,
        meta: true,
        words: [word(&octets[..8]), word(&octets[8..]), 0],
    }
}

fn open(application: [u8; 16]) -> Message {
    Message::new(command::OPEN_SESSION, &[meta(application), meta([0; 16])])
}

fn assert_opens(world: &World, guest: &Guest, application: [u8; 16]) {
    let reply = exchange(world, guest, &open(application));
    assert_eq!(
        (reply.result(), reply.session()),
        (result::SUCCESS, SESSION)
    );
}

fn assert_denied(world: &World, guest: &Guest, application: [u8; 16]) {
    let before = (world.message_count(), guest.stats().opens_denied);
    let reply = exchange(world, guest, &open(application));
    assert_eq!(reply.result(), result::ACCESS_DENIED);
    assert_eq!(reply.origin(), result::ORIGIN_COMMS);
    assert_eq!(reply.session(), 0);
    let after = (world.message_count(), guest.stats().opens_denied);
    assert_eq!(after, (before.0, before.1 + 1), "OP-TEE does not see it");
}

#[test]
fn what_is_on_an_allow_list_can_be_opened_and_nothing_else() {
    let (world, guest) = guest_that_may(TaAccess::Only);
    assert_opens(&world, &guest, LISTED);
    assert_denied(&world, &guest, OTHER);
    assert_nothing_left(&world, &guest);
}

#[test]
fn what_is_on_a_deny_list_can_not_be_opened_and_all_else_can() {
    let (world, guest) = guest_that_may(TaAccess::AllBut);
    assert_opens(&world, &guest, OTHER);
    assert_denied(&world, &guest, LISTED);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_message_that_names_no_application_opens_none() {
    let value = |meta_bit| Parameter::Value {
        direction: Direction::Input,
        meta: meta_bit,
        words: [0; 3],
    };
    let back = Parameter::Value {
        direction: Direction::InOut,
        meta: true,
        words: [0; 3],
    };
    let (world, guest) = guest_that_may(TaAccess::AllBut);
    assert_opens(&world, &guest, OTHER);
    let sent = world.message_count();
    for parameters in [&[][..], &[value(false)], &[Parameter::None], &[back]] {
        let message = Message::new(command::OPEN_SESSION, parameters);
        let reply = exchange(&world, &guest, &message);
        assert_eq!(reply.result(), result::BAD_PARAMETERS);
    }
    assert_eq!(world.message_count(), sent, "OP-TEE does not see it");
    assert_eq!(guest.stats().opens_denied, 0);
}

#[test]
fn other_messages_are_not_looked_at() {
    let (world, guest) = guest_that_may(TaAccess::Only);
    let reply = exchange(&world, &guest, &invoke(&[meta(OTHER)]));
    assert_eq!(reply.result(), result::SUCCESS);
}

/// A guest that may make two calls a second, so no two at once, and has been quiet for one.
fn slow_guest() -> (World, Guest) {
    let (world, guest) = slow_guest_that_begins();
    pass_time(&world, TICKS_PER_SECOND);
    (world, guest)
}

fn slow_guest_that_begins() -> (World, Guest) {
    guest_with(Limits {
        calls_per_second: NonZeroU32::new(2),
        ..Limits::default()
    })
}

#[test]
fn a_life_brings_no_call_of_its_own() {
    let (world, guest) = slow_guest_that_begins();
    let mut waiting = send(&world, &guest, &invoke(&[]));
    for again in [true, false] {
        assert!(is_rpc(&waiting, RpcFunction::ForeignInterrupt));
        assert_eq!(world.message_count(), 0);
        if again {
            let _ = guest.tear_down(true);
            world.optee().messages.clear();
            waiting = send(&world, &guest, &invoke(&[]));
        }
    }
}

fn pass_time(world: &World, ticks: u64) {
    world.0.clock.fetch_add(ticks, Ordering::SeqCst);
}

#[test]
fn a_call_beyond_the_limit_waits_its_turn() {
    let (world, guest) = slow_guest();
    exchange(&world, &guest, &invoke(&[]));
    let waiting = send(&world, &guest, &invoke(&[]));
    assert!(is_rpc(&waiting, RpcFunction::ForeignInterrupt));
    assert_eq!(world.message_count(), 1, "OP-TEE does not see it yet");

    pass_time(&world, TICKS_PER_SECOND / 2 - 1);
    let waiting = resume(&guest, &waiting);
    assert!(is_rpc(&waiting, RpcFunction::ForeignInterrupt));
    assert_eq!(world.message_count(), 1);

    pass_time(&world, 1);
    let done = resume(&guest, &waiting);
    assert_eq!(done[0], u64::from(status::OK));
    assert_eq!(get(&world, ARG).result(), result::SUCCESS);
    assert_eq!(world.message_count(), 2);
    assert_eq!(guest.stats().paced, 1);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_waiting_call_is_read_when_it_begins() {
    let (world, guest) = slow_guest();
    exchange(&world, &guest, &invoke(&[]));
    let waiting = send(&world, &guest, &invoke(&[]));
    let mut cancel = Message::new(command::CANCEL, &[]);
    cancel.set_session(READY);
    put(&world, ARG, &cancel);
    pass_time(&world, TICKS_PER_SECOND);
    resume(&guest, &waiting);
    assert_eq!(world.last_message().command(), command::CANCEL);
}

#[test]
fn statistics_say_what_was_denied_and_what_waited() {
    let (world, guest) = guest_that_may(TaAccess::Only);
    assert_denied(&world, &guest, OTHER);
    assert_opens(&world, &guest, LISTED);
    let stats = guest.stats();
    assert_eq!(stats.calls.open_session, 2);
    assert_eq!((stats.opens_denied, stats.refused), (1, 1));
    assert_eq!((stats.paced, stats.instances_refused), (0, 0));
    assert_eq!(
        (stats.buffers, stats.pinned_pages, stats.calls_in_flight),
        (0, 0, 0)
    );
}

#[test]
fn calls_within_the_limit_do_not_wait() {
    let (world, guest) = slow_guest();
    for _ in 0..5 {
        exchange(&world, &guest, &invoke(&[]));
        pass_time(&world, TICKS_PER_SECOND / 2);
    }
    assert_eq!(guest.stats().paced, 0);
}

#[test]
fn a_guest_can_end_while_a_call_waits_its_turn() {
    let (world, guest) = slow_guest();
    exchange(&world, &guest, &invoke(&[]));
    let waiting = send(&world, &guest, &invoke(&[]));
    guest.destroy();
    assert_eq!(resume(&guest, &waiting)[0], u64::from(status::ERESUME));
    assert_nothing_left(&world, &guest);
}
