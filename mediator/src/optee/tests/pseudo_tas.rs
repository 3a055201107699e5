//! Memory that pseudo-TAs use lies in OP-TEE's own address space, which has little room; trusted
//! applications that are loaded have room of their own.

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{RpcFunction, status};

use crate::Tee;
use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, READY, SESSION, World, assert_nothing_left, exchange, get, guest,
    invoke, is_rpc, register, registered, resume, send, temporary, value,
};

/// Pages that OP-TEE maps of a guest at once: 1,024 but for what messages and files take.
const ROOM: u64 = 1024 - 5 - 32;
const APPLICATION: [u64; 2] = [0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00];

fn open() -> Message {
    let meta = |words| Parameter::Value {
        direction: Direction::Input,
        meta: true,
        words,
    };
    let [first, second] = APPLICATION;
    let login = meta([0; 3]);
    Message::new(command::OPEN_SESSION, &[meta([first, second, 0]), login])
}

fn invoke_in(session: u32, parameters: &[Parameter]) -> Message {
    let mut message = invoke(parameters);
    message.set_session(session);
    message
}

/// A reference to a byte of a buffer.
fn a_byte_of(cookie: u64) -> Parameter {
    registered(Direction::Input, cookie, 0, 1)
}

fn result_of(world: &World, guest: &Guest, message: &Message) -> u32 {
    exchange(world, guest, message).result()
}

#[test]
fn a_pseudo_ta_gets_what_op_tee_can_map_and_no_more() {
    let (world, guest) = guest();
    register(&world, &guest, 1, BUFFER, ROOM);
    register(&world, &guest, 2, BUFFER, 1);
    exchange(&world, &guest, &open());
    let call = |parameters: &[Parameter]| {
        let before = world.message_count();
        let result = result_of(&world, &guest, &invoke_in(SESSION, parameters));
        (result, world.message_count() > before)
    };
    for _ in 0..3 {
        assert_eq!(call(&[a_byte_of(1)]), (result::SUCCESS, true));
        assert_eq!(
            call(&[a_byte_of(1), a_byte_of(2)]),
            (result::OUT_OF_MEMORY, false)
        );
        let one_more = temporary(false, BUFFER, 1, 9);
        assert_eq!(
            call(&[a_byte_of(1), one_more]),
            (result::OUT_OF_MEMORY, false)
        );
    }
    let null = temporary(false, 0, 1 << 40, 0);
    assert_eq!(call(&[a_byte_of(1), null]), (result::SUCCESS, true));
    let far_too_much = temporary(false, BUFFER, 1 << 40, 9);
    assert_eq!(call(&[far_too_much]), (result::OUT_OF_MEMORY, false));
}

#[test]
fn calls_at_the_same_time_share_the_room() {
    let (world, guest) = guest();
    register(&world, &guest, 1, BUFFER, ROOM);
    world.act(Act::Interrupt);
    let interrupted = send(&world, &guest, &invoke_in(READY, &[a_byte_of(1)]));
    assert!(is_rpc(&interrupted, RpcFunction::ForeignInterrupt));
    let other = invoke_in(READY, &[a_byte_of(1)]);
    assert_eq!(result_of(&world, &guest, &other), result::OUT_OF_MEMORY);
    resume(&guest, &interrupted);
    assert_eq!(result_of(&world, &guest, &other), result::SUCCESS);
}

#[test]
fn what_op_tee_refuses_gives_the_room_back() {
    let (world, guest) = guest();
    register(&world, &guest, 1, BUFFER, ROOM);
    let call = invoke_in(READY, &[a_byte_of(1)]);
    for _ in 0..3 {
        world.act(Act::Result(result::GENERIC));
        assert_eq!(result_of(&world, &guest, &call), result::GENERIC);
    }
    assert_eq!(result_of(&world, &guest, &call), result::SUCCESS);
}

/// Opens a session with an application that OP-TEE has the guest load, and gives its number.
fn open_and_load(world: &World, guest: &Guest) -> u32 {
    let [first, second] = APPLICATION;
    let load = |words| Message::new(rpc::LOAD_TA, &[value(Direction::Input, words)]);
    // A library of it has another name.
    for words in [[1, 2, 0], [first, second, 0]] {
        world.command(load(words), |_| ());
    }
    let library = send(world, guest, &open());
    assert!(is_rpc(&library, RpcFunction::Command));
    let application = resume(guest, &library);
    assert!(is_rpc(&application, RpcFunction::Command));
    resume(guest, &application);
    let opened = get(world, ARG);
    assert_eq!(opened.result(), result::SUCCESS);
    opened.session()
}

#[test]
fn a_session_is_not_closed_under_a_call_that_is_let_pass_for_it() {
    let (world, guest) = guest();
    register(&world, &guest, 1, BUFFER, ROOM);
    register(&world, &guest, 2, BUFFER, ROOM);
    let session = open_and_load(&world, &guest);
    let uses_both = invoke_in(session, &[a_byte_of(1), a_byte_of(2)]);
    world.act(Act::Interrupt);
    let interrupted = send(&world, &guest, &uses_both);
    assert!(is_rpc(&interrupted, RpcFunction::ForeignInterrupt));

    // OP-TEE would give its number to the next session, which may be with a pseudo-TA.
    let before = world.message_count();
    let mut close = Message::new(command::CLOSE_SESSION, &[]);
    close.set_session(session);
    let mut closing = send(&world, &guest, &close);
    for _ in 0..3 {
        assert!(is_rpc(&closing, RpcFunction::ForeignInterrupt));
        closing = resume(&guest, &closing);
    }
    assert_eq!(world.message_count(), before);

    resume(&guest, &interrupted);
    assert_eq!(
        result_of(&world, &guest, &uses_both),
        result::BAD_PARAMETERS,
        "it is about to be closed"
    );
    let closed = resume(&guest, &closing);
    assert_eq!(closed[0], u64::from(status::OK));
    assert_eq!(world.last_message().command(), command::CLOSE_SESSION);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

#[test]
fn an_application_that_was_loaded_uses_as_much_as_the_guest_shares() {
    let (world, guest) = guest();
    register(&world, &guest, 1, BUFFER, ROOM);
    register(&world, &guest, 2, BUFFER, ROOM);
    let session = open_and_load(&world, &guest);
    let both = [a_byte_of(1), a_byte_of(2)];
    let in_session = |session| result_of(&world, &guest, &invoke_in(session, &both));
    assert_eq!(in_session(session), result::SUCCESS);
    assert_eq!(
        in_session(READY),
        result::OUT_OF_MEMORY,
        "another session is with a pseudo-TA"
    );
    let again = exchange(&world, &guest, &open());
    assert_eq!(in_session(again.session()), result::SUCCESS);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}
