//! Asynchronous notifications.

use optee_abi::capabilities::Capabilities;
use optee_abi::message::{Message, command};
use optee_abi::smc::{self, status};

use crate::Tee;
use crate::optee::fakes::{
    CLIENT, Guest, NOTIFICATION_MAX, World, create, description, exchange, guest, smc_with,
};
use crate::optee::{Limits, Optee};
use crate::ta_access::TaAccess;

const VALID: u64 = 1;
const PENDING: u64 = 2;

fn enabled() -> (World, Guest) {
    let (world, guest) = guest();
    let registers = smc_with(&guest, &[u64::from(smc::ENABLE_ASYNC_NOTIF)]);
    assert_eq!(registers[0], u64::from(status::OK));
    (world, guest)
}

/// What the guest is told when it asks: value and flags.
fn ask(guest: &Guest) -> [u64; 2] {
    let [a0, value, flags, a3, ..] = smc_with(guest, &[u64::from(smc::GET_ASYNC_NOTIF_VALUE)]);
    assert_eq!((a0, a3), (u64::from(status::OK), 0xabc3));
    [value, flags]
}

#[test]
fn enabling_goes_to_op_tee_in_the_guest_s_name() {
    let (world, _guest) = enabled();
    let mut call = [0; 8];
    call[0] = u64::from(smc::ENABLE_ASYNC_NOTIF);
    call[7] = u64::from(CLIENT);
    assert_eq!(world.optee().calls, [call]);
}

#[test]
fn values_are_fetched_at_an_interrupt_and_given_when_the_guest_asks() {
    let (world, guest) = enabled();
    world.optee().notifications.extend([5, 0, 66]);
    assert!(guest.poll_notifications());
    world.optee().calls.clear();
    assert_eq!(ask(&guest), [0, VALID | PENDING]);
    assert_eq!(ask(&guest), [5, VALID | PENDING]);
    assert_eq!(ask(&guest), [66, VALID]);
    assert_eq!(ask(&guest), [0, 0]);
    assert_eq!(world.optee().calls.len(), 0, "OP-TEE was asked before");
    assert_eq!(guest.stats().notifications, 3);
}

#[test]
fn an_interrupt_for_another_guest_is_none_for_this_one() {
    let (_world, guest) = enabled();
    assert!(!guest.poll_notifications());
    assert_eq!(ask(&guest), [0, 0]);
}

#[test]
fn a_value_that_comes_while_the_guest_asks_is_not_lost() {
    let (world, guest) = enabled();
    world.optee().notifications.push_back(1);
    assert!(guest.poll_notifications());
    assert_eq!(ask(&guest), [1, VALID]);
    world.optee().notifications.extend([1, 2]);
    assert!(
        guest.poll_notifications(),
        "the guest gets another interrupt"
    );
    assert_eq!(ask(&guest), [1, VALID | PENDING]);
    assert_eq!(ask(&guest), [2, VALID]);
}

#[test]
fn a_guest_that_did_not_ask_for_it_is_not_notified() {
    let (world, guest) = guest();
    world.optee().notifications.push_back(1);
    assert!(!guest.poll_notifications());
    assert_eq!(world.optee().calls.len(), 0);
    assert_eq!(ask(&guest), [0, 0]);
}

#[test]
fn an_op_tee_that_never_gets_done_is_left() {
    let (world, guest) = enabled();
    world.optee().notifications.extend([7; 5000]);
    world.optee().calls.clear();
    assert!(guest.poll_notifications());
    assert!(world.optee().calls.len() <= 1024);
    assert_eq!(ask(&guest), [7, VALID]);
}

#[test]
fn values_that_the_guest_can_not_be_told_are_no_news() {
    let (world, guest) = enabled();
    world.optee().notifications.push_back(u32::MAX);
    assert!(!guest.poll_notifications());
    assert_eq!(ask(&guest), [0, 0]);
}

#[test]
fn nothing_is_left_for_the_client_s_next_life() {
    let (world, guest) = enabled();
    world.optee().notifications.extend([1, 2]);
    assert!(guest.poll_notifications());
    guest.destroy();
    let next = create(&world, Limits::default()).unwrap();
    world.optee().notifications.push_back(3);
    assert!(!guest.poll_notifications(), "its guest is gone");
    assert_eq!(ask(&next), [0, 0]);
    assert_eq!(world.optee().notifications.len(), 1);
}

#[test]
fn messages_about_notifications_pass() {
    let (world, guest) = enabled();
    for command in [command::DO_BOTTOM_HALF, command::STOP_ASYNC_NOTIF] {
        exchange(&world, &guest, &Message::new(command, &[]));
        assert_eq!(world.last_message().command(), command);
    }
}

#[test]
fn the_guest_learns_the_highest_value() {
    let (_world, guest) = guest();
    let registers = smc_with(&guest, &[u64::from(smc::EXCHANGE_CAPABILITIES), 0]);
    assert_ne!(registers[1] & u64::from(Capabilities::ASYNC_NOTIF.0), 0);
    assert_eq!(registers[2], u64::from(NOTIFICATION_MAX));
    let registers = smc_with(&guest, &[u64::from(smc::CALLS_COUNT)]);
    assert_eq!(registers[0], 15);
}

/// Neither the capability nor the calls are there.
fn assert_not_offered(guest: &Guest) {
    let registers = smc_with(guest, &[u64::from(smc::EXCHANGE_CAPABILITIES), 0]);
    assert_eq!(registers[1] & u64::from(Capabilities::ASYNC_NOTIF.0), 0);
    assert_eq!(registers[2], 0);
    for function in [smc::ENABLE_ASYNC_NOTIF, smc::GET_ASYNC_NOTIF_VALUE] {
        let registers = smc_with(guest, &[u64::from(function)]);
        assert_eq!(registers[0], u64::from(status::ENOTAVAIL));
    }
    let registers = smc_with(guest, &[u64::from(smc::CALLS_COUNT)]);
    assert_eq!(registers[0], 13);
}

#[test]
fn without_an_interrupt_there_are_none() {
    let world = World::new(100);
    let optee = Optee::probe(&world).unwrap().without_notifications();
    let guest = description(Limits::default(), TaAccess::All);
    let created = optee.create_partition(guest, world.ports());
    assert_not_offered(&created.unwrap());
}

#[test]
fn more_values_than_can_be_kept_are_not_offered() {
    let world = World::new(100);
    world.optee().notification_max = 1024;
    assert_not_offered(&create(&world, Limits::default()).unwrap());
}
