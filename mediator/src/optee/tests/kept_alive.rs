//! Applications of which it is not known, when their guest ends, whether they are kept alive
//! without a session.

use std::sync::atomic::Ordering;

use optee_abi::message::{Direction, Message};
use optee_abi::{result, rpc};

use crate::optee::Limits;
use crate::optee::applications::Charge;
use crate::optee::fakes::{Act, Guest, TICKS_PER_SECOND, World, create, guest, value};
use crate::ta_access::Uuid;
use crate::{Teardown, Tee as _};

const NAME: Uuid = Uuid([4; 16]);

/// A guest that had OP-TEE load an application, or one that OP-TEE reads out of secure storage, and
/// has no session with it. Its session from the start is closed first.
fn with_application(stored: bool) -> (World, Guest) {
    let (world, guest) = guest();
    if stored {
        let mut charge = Charge::default();
        guest
            .sessions
            .applications(|known| known.note_own(&mut charge));
        guest.sessions.opened(0x60, Some(NAME), charge);
        let closing = guest.sessions.begin_close(0x60).unwrap();
        guest.sessions.closed(closing);
    } else {
        let noted = guest.sessions.applications(|known| known.note_loaded(NAME));
        assert!(noted);
    }
    world.act(Act::Obey);
    (world, guest)
}

/// How many identifiers the guest is charged with.
fn lost(guest: &Guest) -> u32 {
    loop {
        match guest.tear_down(false) {
            Teardown::Interrupted => {}
            Teardown::Done { lost, .. } => return lost,
            Teardown::Renewed => panic!("the guest is gone for good"),
        }
    }
}

/// OP-TEE waits for a lock of its own.
fn waits(world: &World) {
    let wait = value(Direction::Input, [rpc::NOTIFICATION_WAIT, 65, 0]);
    world.command(Message::new(rpc::NOTIFICATION, &[wait]), |_| ());
}

#[test]
fn to_wait_for_a_lock_says_nothing_about_it() {
    for (stored, refused, locked) in [
        (false, false, true),
        (false, true, false),
        (false, true, true),
        (true, false, false),
        (true, false, true),
    ] {
        let (world, guest) = with_application(stored);
        if locked {
            waits(&world);
        }
        if refused {
            world.act(Act::Result(result::ACCESS_DENIED));
        }
        assert_eq!(lost(&guest), 1, "{stored} {refused} {locked}");
    }
}

#[test]
fn one_of_which_op_tee_does_not_say_in_time_counts() {
    let (world, guest) = with_application(false);
    world.act(Act::Interrupt);
    assert_eq!(guest.tear_down(false), Teardown::Interrupted);
    let limit = 6 * TICKS_PER_SECOND;
    world.0.clock.fetch_add(limit, Ordering::SeqCst);
    assert_eq!(lost(&guest), 1);
}

#[test]
fn those_that_an_earlier_op_tee_is_not_asked_about_count() {
    let world = World::new(100);
    world.optee().revision = [4, 5];
    let guest = create(&world, Limits::default()).unwrap();
    guest
        .sessions
        .applications(|known| assert!(known.note_loaded(NAME)));
    assert_eq!(lost(&guest), 1);
}
