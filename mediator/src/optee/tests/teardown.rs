//! What a guest leaves in OP-TEE is ended before the guest is destroyed.

use std::boxed::Box;
use std::sync::atomic::Ordering;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction, status};

use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, LIST, OPTEE_THREAD, READY, SESSION, TICKS_PER_SECOND, World,
    assert_nothing_left, create, description, exchange, get, guest, invoke, is_rpc, put, put_list,
    register, resume, rpc_arg, send, temporary, value,
};
use crate::optee::{CreateError, Guest as Description, Limits, Optee};
use crate::ta_access::TaAccess;
use crate::{Teardown, Tee};

const ALL_DONE: Teardown = Teardown::Done { left: 0, lost: 0 };

fn open() -> Message {
    Message::new(command::OPEN_SESSION, &[])
}

fn close(session: u32) -> Message {
    let mut message = Message::new(command::CLOSE_SESSION, &[]);
    message.set_session(session);
    message
}

fn request(command: u32) -> Message {
    Message::new(command, &[value(Direction::Input, [1, 0, 0])])
}

/// OP-TEE asks for something and is to get an error.
fn refused(world: &World, command: u32) {
    world.command(request(command), |answer| {
        assert_ne!(answer.result(), result::SUCCESS);
    });
}

/// Nothing of the guest is left, not even before it is destroyed.
fn assert_torn_down(world: &World, guest: &Guest) {
    assert_eq!(world.suspended(), 0);
    assert_eq!(world.optee().sessions.len(), 0);
    assert_eq!(guest.stats().calls_in_flight, 0);
    assert_eq!(world.0.destroyed.load(Ordering::SeqCst), 0);
    guest.destroy();
    assert_nothing_left(world, guest);
}

#[test]
fn a_guest_that_left_nothing_needs_no_teardown() {
    let (world, guest) = guest();
    exchange(&world, &guest, &open());
    exchange(&world, &guest, &close(SESSION));
    exchange(&world, &guest, &close(READY));
    let messages = world.message_count();
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_eq!(world.message_count(), messages);
    assert_torn_down(&world, &guest);
}

#[test]
fn sessions_are_closed() {
    let (world, guest) = guest();
    for _ in 0..3 {
        exchange(&world, &guest, &open());
    }
    exchange(&world, &guest, &close(SESSION + 2));
    let messages = world.message_count();
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_eq!(world.message_count(), messages + 3);
    assert_torn_down(&world, &guest);
}

#[test]
fn sessions_that_did_not_open_are_not_closed() {
    let (world, guest) = guest();
    world.act(Act::Result(result::ACCESS_DENIED));
    exchange(&world, &guest, &open());
    let messages = world.message_count();
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_eq!(world.message_count(), messages + 1);
    assert_eq!(world.last_message().session(), READY);
    assert_torn_down(&world, &guest);
}

#[test]
fn a_session_whose_close_failed_is_closed() {
    let (world, guest) = guest();
    exchange(&world, &guest, &open());
    world.act(Act::Result(result::GENERIC));
    exchange(&world, &guest, &close(SESSION));
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_torn_down(&world, &guest);
}

#[test]
fn a_session_that_opens_while_the_guest_ends_is_closed() {
    let (world, guest) = guest();
    world.act(Act::Interrupt);
    let registers = send(&world, &guest, &open());
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_eq!(world.last_message().command(), command::CLOSE_SESSION);
    assert_eq!(world.last_message().session(), SESSION);
    assert_torn_down(&world, &guest);
}

#[test]
fn calls_are_seen_through_whatever_the_guest_owes_them() {
    let command = || Act::Command(Box::new(request(rpc::FS)), Box::new(|_| ()));
    for act in [Act::Interrupt, command(), Act::ThreadLimit] {
        let (world, guest) = guest();
        register(&world, &guest, 7, BUFFER, 3);
        world.act(act);
        let registers = send(&world, &guest, &invoke(&[]));
        assert_ne!(registers[0], u64::from(status::OK), "the call is under way");
        assert_eq!(guest.tear_down(false), ALL_DONE);
        assert_torn_down(&world, &guest);
    }
}

#[test]
fn requests_of_op_tee_are_refused() {
    let (world, guest) = guest();
    refused(&world, rpc::FS);
    let registers = send(&world, &guest, &invoke(&[]));
    assert!(is_rpc(&registers, RpcFunction::Command));
    for command in [rpc::LOAD_TA, rpc::SHM_ALLOC, rpc::NOTIFICATION, 99] {
        refused(&world, command);
    }
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert!(world.optee().acts.is_empty());
    assert_torn_down(&world, &guest);
}

#[test]
fn memory_that_is_half_given_is_not_given() {
    let (world, guest) = guest();
    let pages: [u64; 200] = core::array::from_fn(|page| BUFFER + page as u64 * 0x2000);
    put_list(&world, LIST, &pages);
    let bytes = 200 * 4096;
    let ask = Message::new(rpc::SHM_ALLOC, &[value(Direction::Input, [0, bytes, 8])]);
    world.command(ask, |answer| assert_ne!(answer.result(), result::SUCCESS));
    let message = invoke(&[]);
    let registers = send(&world, &guest, &message);
    assert!(is_rpc(&registers, RpcFunction::Command));

    let mut reply = Message::new(rpc::SHM_ALLOC, &[temporary(true, LIST, bytes, 9)]);
    reply.set_parameter(
        0,
        Parameter::Temporary {
            direction: Direction::Output,
            list: true,
            address: LIST,
            size: bytes,
            reference: 9,
        },
    );
    put(&world, rpc_arg(&message), &reply);
    world.0.quiet.store(0, Ordering::SeqCst);
    let registers = resume(&guest, &registers);
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    world.0.quiet.store(i64::MAX, Ordering::SeqCst);

    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_torn_down(&world, &guest);
}

#[test]
fn calls_get_turns_with_each_other() {
    let (world, guest) = guest();
    for message in 0..2 {
        refused(&world, rpc::NOTIFICATION);
        put(&world, ARG + message * 4096, &invoke(&[]));
        let registers = crate::optee::fakes::call_at(&guest, ARG + message * 4096);
        assert!(is_rpc(&registers, RpcFunction::Command));
    }
    // The first one has to wait once more; then the second one's turn has come.
    refused(&world, rpc::NOTIFICATION);
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_torn_down(&world, &guest);
}

#[test]
fn an_interrupt_is_let_through() {
    let (world, guest) = guest();
    exchange(&world, &guest, &open());
    world.0.quiet.store(0, Ordering::SeqCst);
    let messages = world.message_count();
    assert_eq!(guest.tear_down(false), Teardown::Interrupted);
    assert_eq!(world.message_count(), messages, "the mediator saw it");

    world.0.quiet.store(i64::MAX, Ordering::SeqCst);
    world.act(Act::Interrupt);
    assert_eq!(
        guest.tear_down(false),
        Teardown::Interrupted,
        "OP-TEE saw it"
    );
    assert_eq!(world.suspended(), 1);
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_torn_down(&world, &guest);
}

#[test]
fn a_close_for_which_there_is_no_thread_is_tried_again() {
    let (world, guest) = guest();
    exchange(&world, &guest, &open());
    world.act(Act::ThreadLimit);
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_torn_down(&world, &guest);
}

/// Tears down in turns of a tenth of a second.
fn tear_down_in_turns(world: &World, guest: &Guest) -> Teardown {
    for _ in 0..100 {
        world
            .0
            .clock
            .fetch_add(TICKS_PER_SECOND / 10, Ordering::SeqCst);
        match guest.tear_down(false) {
            Teardown::Interrupted => {}
            done => return done,
        }
    }
    panic!("it had ten seconds");
}

#[test]
fn what_takes_too_long_is_left_and_all_else_is_closed() {
    let (world, guest) = guest();
    for _ in 0..20 {
        exchange(&world, &guest, &open());
    }
    world.optee().endless.insert(READY);
    let registers = send(&world, &guest, &invoke(&[]));
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    let left = Teardown::Done { left: 2, lost: 0 };
    world.optee().calls.clear();
    assert_eq!(tear_down_in_turns(&world, &guest), left);
    let opens_or_closes = |call: &[u64; 8]| call[0] == u64::from(smc::CALL_WITH_REGD_ARG);
    assert!(
        world.optee().calls.iter().take(20).all(opens_or_closes),
        "the call has its turn when all else is done"
    );
    assert_eq!(
        world.optee().sessions.len(),
        1,
        "the one that the call uses"
    );
    assert_eq!(guest.tear_down(false), left, "it gets no more time");
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

#[test]
fn one_that_asks_again_and_again_does_not_keep_another_from_its_end() {
    let (world, guest) = guest();
    let asks = || world.command(request(rpc::SUSPEND), |_| ());
    asks();
    let registers = send(&world, &guest, &invoke(&[]));
    assert!(is_rpc(&registers, RpcFunction::Command));
    world.act(Act::Interrupt);
    let other = Message::new(command::DO_BOTTOM_HALF, &[]);
    let registers = send(&world, &guest, &other);
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    let before = world.optee().calls.len();
    (0..200).for_each(|_| asks());
    assert_eq!(guest.tear_down(false), ALL_DONE);
    let calls = world.optee().calls[before..].to_vec();
    let is_other = |call: &[u64; 8]| call[3] == OPTEE_THREAD + 1;
    let turn = calls.iter().position(is_other);
    assert!(turn.is_some_and(|turn| turn < 80), "{turn:?}");
    assert_torn_down(&world, &guest);
}

#[test]
fn no_more_sessions_open_than_can_be_closed() {
    let (world, guest) = guest();
    let replies = (0..3000).map(|_| exchange(&world, &guest, &open()));
    let opened = replies.take_while(|reply| reply.result() == result::SUCCESS);
    assert_eq!(opened.count(), 2048 - 1);
    assert_eq!(
        exchange(&world, &guest, &open()).result(),
        result::OUT_OF_MEMORY
    );
    assert_eq!(guest.tear_down(false), ALL_DONE);
    assert_torn_down(&world, &guest);
}

/// An answer to what it asks of files may halt an earlier OP-TEE for all guests.
#[test]
fn an_earlier_op_tee_gets_no_errors_about_files() {
    for (revision, answered) in [
        ([4, 5], false),
        ([4, 9], false),
        ([4, 10], true),
        ([5, 0], true),
    ] {
        for command in [rpc::FS, rpc::SHM_ALLOC] {
            let world = World::new(100);
            world.optee().revision = revision;
            let guest = create(&world, Limits::default()).unwrap();
            exchange(&world, &guest, &open());
            world.command(request(command), move |_| assert!(answered));
            let registers = send(&world, &guest, &invoke(&[]));
            assert!(is_rpc(&registers, RpcFunction::Command));
            let left = if answered { 0 } else { 2 };
            assert_eq!(guest.tear_down(false), Teardown::Done { left, lost: 0 });
            guest.destroy();
            assert_nothing_left(&world, &guest);
        }
    }
}

#[test]
fn an_earlier_op_tee_is_answered_about_all_else_and_left_where_it_comes_to_files() {
    let (world, guest) = guest();
    world.optee().revision = [4, 5];
    let guest = {
        guest.destroy();
        create(&world, Limits::default()).unwrap()
    };
    refused(&world, rpc::NOTIFICATION);
    let registers = send(&world, &guest, &invoke(&[]));
    assert!(is_rpc(&registers, RpcFunction::Command));
    world.command(request(rpc::FS), |_| panic!("it is not answered"));
    assert_eq!(guest.tear_down(false), Teardown::Done { left: 2, lost: 0 });
    assert_eq!(world.suspended(), 1);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

const APPLICATION: [u64; 2] = [0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00];

/// Opens a session with an application that OP-TEE has the guest load.
fn open_and_load(world: &World, guest: &Guest) -> u32 {
    let meta = |words| Parameter::Value {
        direction: Direction::Input,
        meta: true,
        words,
    };
    let [first, second] = APPLICATION;
    world.command(
        Message::new(rpc::LOAD_TA, &[value(Direction::Input, [first, second, 0])]),
        |_| (),
    );
    let parameters = [meta([first, second, 0]), meta([0; 3])];
    let message = Message::new(command::OPEN_SESSION, &parameters);
    let asked = send(world, guest, &message);
    assert!(is_rpc(&asked, RpcFunction::Command));
    assert_eq!(resume(guest, &asked)[0], u64::from(status::OK));
    get(world, ARG).session()
}

#[test]
fn what_is_kept_alive_is_found_out_and_counted() {
    for kept_alive in [true, false] {
        let (world, guest) = guest();
        let session = open_and_load(&world, &guest);
        exchange(&world, &guest, &close(session));
        exchange(&world, &guest, &close(READY));
        if !kept_alive {
            // OP-TEE has it loaded anew for the mediator's own session, which does not come to be.
            refused(&world, rpc::LOAD_TA);
            world.act(Act::Result(result::GENERIC));
        }
        let lost = u32::from(kept_alive);
        assert_eq!(guest.tear_down(false), Teardown::Done { left: 0, lost });
        assert_torn_down(&world, &guest);
    }
}

#[test]
fn one_that_refuses_sessions_runs_all_the_same() {
    let (world, guest) = guest();
    let session = open_and_load(&world, &guest);
    exchange(&world, &guest, &close(session));
    exchange(&world, &guest, &close(READY));
    world.act(Act::Result(result::ACCESS_DENIED));
    assert_eq!(guest.tear_down(false), Teardown::Done { left: 0, lost: 1 });
    assert_torn_down(&world, &guest);
}

#[test]
fn sessions_that_can_not_be_closed_are_counted() {
    let (world, guest) = guest();
    let session = open_and_load(&world, &guest);
    world.optee().endless.insert(session);
    let mut endless = invoke(&[]);
    endless.set_session(session);
    let registers = send(&world, &guest, &endless);
    assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
    let left = Teardown::Done { left: 2, lost: 1 };
    assert_eq!(tear_down_in_turns(&world, &guest), left);
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

#[test]
fn a_guest_whose_lives_took_its_share_gets_no_op_tee() {
    let world = World::new(100);
    let optee = Optee::probe(&world).unwrap();
    for (lost, gets) in [(0, true), (3, true), (4, false), (64, false)] {
        let limits = Limits {
            instances_max: 4,
            ..Limits::default()
        };
        let guest = Description {
            identifiers_lost: lost,
            ..description(limits, TaAccess::All)
        };
        let calls = world.optee().calls.len();
        match optee.create_partition(guest, world.ports()) {
            Ok(guest) => {
                assert!(gets);
                guest.destroy();
            }
            Err(error) => {
                assert!(!gets);
                assert_eq!(error, CreateError::IdentifiersLost { share: 4 });
                assert_eq!(world.optee().calls.len(), calls, "OP-TEE is not asked");
            }
        }
    }
}

/// An OP-TEE that keeps something of each guest that is gone has room for a limited number.
#[test]
fn a_guest_has_so_many_lives_on_an_op_tee_that_keeps_some_of_each() {
    for (revision, lives, gets) in [
        ([4, 10], 31, true),
        ([4, 10], 32, false),
        ([4, 6], 32, false),
        ([4, 5], 1000, true),
    ] {
        let world = World::new(100);
        world.optee().revision = revision;
        let optee = Optee::probe(&world).unwrap();
        let guest = Description {
            lives,
            ..description(Limits::default(), TaAccess::All)
        };
        match optee.create_partition(guest, world.ports()) {
            Ok(guest) => {
                assert!(gets, "{revision:?}");
                guest.destroy();
            }
            Err(error) => {
                assert!(!gets, "{revision:?}");
                assert_eq!(error, CreateError::LivesUsedUp { lives });
            }
        }
    }
}

#[test]
fn what_a_guest_leaves_is_taken_back_for_its_next_life() {
    let (world, guest) = guest();
    for life in 1..=3 {
        for cookie in 0..200 {
            register(&world, &guest, cookie, BUFFER, 3);
        }
        exchange(&world, &guest, &open());
        refused(&world, rpc::FS);
        let registers = send(&world, &guest, &invoke_open(SESSION));
        assert!(is_rpc(&registers, RpcFunction::Command));
        assert_eq!(guest.tear_down(true), Teardown::Renewed, "life {life}");
        assert_eq!(
            (world.shared().len(), world.pinned(), world.suspended()),
            (0, 0, 0)
        );
        assert_eq!(world.optee().sessions.len(), 0);
        assert_eq!(resume(&guest, &registers)[0], u64::from(status::ERESUME));
    }
    assert_eq!(
        world.0.destroyed.load(Ordering::SeqCst),
        0,
        "OP-TEE keeps its partition"
    );
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

#[test]
fn what_can_not_be_taken_back_is_not_for_another_life() {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 3);
    exchange(&world, &guest, &close(READY));
    world.act(Act::Result(result::GENERIC));
    assert_eq!(guest.tear_down(true), Teardown::Done { left: 0, lost: 0 });
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

fn invoke_open(session: u32) -> Message {
    let mut message = invoke(&[]);
    message.set_session(session);
    message
}
