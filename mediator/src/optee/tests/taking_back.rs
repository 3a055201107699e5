//! Taking a buffer back while calls refer to it.

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::smc::{RpcFunction, status};
use optee_abi::{result, rpc};
use smccc::CallRegisters;

use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, LIST, World, assert_nothing_left, call_at, exchange, get, guest,
    invoke, is_rpc, put, put_list, register, register_message, registered, resume, rpc_arg, send,
    unregister_message,
};
use crate::{Teardown, Tee as _};

const COOKIE: u64 = 7;
/// Where the messages of another vCPU lie.
const OTHER: u64 = ARG + 0x8000;

/// A call with a buffer that is registered, interrupted in OP-TEE, and OP-TEE's name of the buffer.
fn in_use(world: &World, guest: &Guest) -> (CallRegisters, u64) {
    register(world, guest, COOKIE, BUFFER, 1);
    let handle = world.shared()[0].0;
    world.act(Act::Interrupt);
    let using = invoke(&[registered(Direction::Input, COOKIE, 0, 1)]);
    (send(world, guest, &using), handle)
}

/// Another vCPU sends a message that has to wait for another call.
fn waits(world: &World, guest: &Guest, message: &Message) -> CallRegisters {
    put(world, OTHER, message);
    let before = world.message_count();
    let waiting = call_at(guest, OTHER);
    assert!(is_rpc(&waiting, RpcFunction::ForeignInterrupt));
    assert_eq!(world.message_count(), before, "OP-TEE is not told yet");
    waiting
}

#[test]
fn a_buffer_is_taken_back_when_the_calls_that_use_it_are_over() {
    let (world, guest) = guest();
    let (using, handle) = in_use(&world, &guest);
    let mut unregistering = waits(&world, &guest, &unregister_message(COOKIE));

    world.command(
        Message::new(rpc::FS, &[registered(Direction::Input, handle, 0, 1)]),
        |_| (),
    );
    let using = resume(&guest, &using);
    assert!(is_rpc(&using, RpcFunction::Command));
    let seen = get(&world, rpc_arg(&invoke(&[Parameter::None])));
    assert_eq!(
        seen.parameter(0),
        Ok(registered(Direction::Input, COOKIE, 0, 1)),
        "a call that is under way can go on with it"
    );
    unregistering = resume(&guest, &unregistering);
    assert!(is_rpc(&unregistering, RpcFunction::ForeignInterrupt));
    assert_eq!(world.pinned(), 1, "OP-TEE still knows the buffer");
    assert_eq!(resume(&guest, &using)[0], u64::from(status::OK));
    assert_eq!(resume(&guest, &unregistering)[0], u64::from(status::OK));
    assert_eq!(get(&world, OTHER).result(), result::SUCCESS);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_cookie_is_registered_anew_when_the_calls_that_use_it_are_over() {
    let (world, guest) = guest();
    let (using, _) = in_use(&world, &guest);
    put_list(&world, LIST, &[BUFFER + 4096, BUFFER]);
    let waiting = waits(&world, &guest, &register_message(LIST, 8192, COOKIE));
    assert_eq!(resume(&guest, &using)[0], u64::from(status::OK));
    assert_eq!(resume(&guest, &waiting)[0], u64::from(status::OK));
    assert_eq!(get(&world, OTHER).result(), result::SUCCESS);
    assert_eq!(world.pinned(), 2);
    exchange(&world, &guest, &unregister_message(COOKIE));
    assert_nothing_left(&world, &guest);
}

#[test]
fn what_is_refused_uses_no_buffer() {
    let (world, guest) = guest();
    register(&world, &guest, COOKIE, BUFFER, 1);
    let beyond = registered(Direction::Input, COOKIE, 4096, 1);
    let refused = invoke(&[registered(Direction::Input, COOKIE, 0, 1), beyond]);
    assert_eq!(
        exchange(&world, &guest, &refused).result(),
        result::SECURITY
    );
    let back = exchange(&world, &guest, &unregister_message(COOKIE));
    assert_eq!(back.result(), result::SUCCESS);
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_guest_that_ends_while_it_waits_leaves_nothing() {
    for replaces in [false, true] {
        let (world, guest) = guest();
        in_use(&world, &guest);
        let message = if replaces {
            put_list(&world, LIST, &[BUFFER]);
            register_message(LIST, 4096, COOKIE)
        } else {
            unregister_message(COOKIE)
        };
        waits(&world, &guest, &message);
        while guest.tear_down(true) == Teardown::Interrupted {}
        assert_eq!(guest.stats().buffers, 0);
        assert_eq!(world.pinned(), 0);
        assert_eq!(world.suspended(), 0, "OP-TEE's threads");
        let commands = world.optee().messages.clone();
        let count = |wanted| {
            let is = |(message, _): &&(Message, usize)| message.command() == wanted;
            commands.iter().filter(is).count()
        };
        assert_eq!(count(command::UNREGISTER_SHM), 1, "{commands:?}");
    }
}
