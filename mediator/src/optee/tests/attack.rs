//! A hostile guest beside an honest one ([`attacker`](crate::optee::fakes::attacker)): what it does
//! is made up, or a sequence that once harmed the honest one.

use std::vec;

use optee_abi::message::command;
use optee_abi::result;
use proptest::prelude::*;

use crate::optee::fakes::attacker::{Answer, NOT_FOUND, Step, Vm, WELL, opening, play, works};
use crate::optee::fakes::model::{
    ASK, INSTALL, KEPT_ALIVE, NEVER_END, NOBODY, PSEUDO, SEVERAL, SINGLE, STORED,
    STORED_KEPT_ALIVE, Secure, WORK,
};

fn step() -> impl Strategy<Value = Step> {
    let names = prop_oneof![
        1 => Just(PSEUDO),
        3 => Just(SEVERAL),
        1 => Just(SINGLE),
        1 => Just(KEPT_ALIVE),
        1 => Just(STORED),
        1 => Just(STORED_KEPT_ALIVE),
        2 => Just(NOBODY)
    ];
    let commands = prop_oneof![
        3 => Just(command::INVOKE_COMMAND),
        1 => Just(command::CLOSE_SESSION),
        1 => Just(command::CANCEL)
    ];
    let functions =
        prop_oneof![3 => Just(WORK), 2 => Just(ASK), 1 => Just(NEVER_END), 1 => Just(INSTALL)];
    let buffers = proptest::collection::vec(0_u64..5, 0..3);
    let answers = (
        prop_oneof![4 => Just(result::SUCCESS), 1 => Just(result::GENERIC)],
        prop_oneof![3 => Just(0_u64), 1 => 0_u64..8, 1 => 1_u64..1000],
    )
        .prop_map(|(result, pages)| Answer { result, pages });
    prop_oneof![
        4 => names.clone().prop_map(Step::Open),
        1 => (names, 1_u8..30).prop_map(|(name, count)| Step::Sessions(name, count)),
        4 => (commands, -2_i32..4, functions, buffers)
            .prop_map(|(command, far, function, buffers)| Step::About(command, far, function, buffers)),
        8 => (0_usize..3, answers).prop_map(|(which, answer)| Step::Answer(which, answer)),
        3 => (1_u8..20).prop_map(Step::Work),
        1 => Just(Step::Interrupt),
        1 => (1_u64..5, 1_u64..600).prop_map(|(cookie, pages)| Step::Register(cookie, pages)),
        1 => (1_u64..5).prop_map(Step::Unregister),
        1 => Just(Step::ProbeAnew),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_neighbour_does_not_notice(
        early in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        play(if early { [4, 5] } else { [4, 10] }, steps);
    }
}

/// Sessions that stay open and calls that never end, life after life.
#[test]
fn lives_that_leave_sessions_behind_cost_their_own_guest_alone() {
    for name in [SEVERAL, KEPT_ALIVE, STORED, STORED_KEPT_ALIVE] {
        let life = || {
            let open = [Step::Open(name), Step::Work(12)];
            let endless = |far| Step::About(command::INVOKE_COMMAND, far, NEVER_END, vec![]);
            vec![open; 28]
                .into_iter()
                .flatten()
                .chain([endless(0), endless(-1), Step::Restart])
        };
        play([4, 10], (0..150).flat_map(|_| life()).collect());
    }
}

/// Applications that OP-TEE loads without a word of it to the guest, whether it had the guest load
/// them before or not.
#[test]
fn applications_out_of_secure_storage_take_no_more_than_the_share() {
    let open = |name| [Step::Open(name), Step::Work(12)];
    let install = Step::About(command::INVOKE_COMMAND, 0, INSTALL, vec![]);
    for name in [SEVERAL, STORED, STORED_KEPT_ALIVE] {
        for revision in [[4, 5], [4, 10]] {
            let first = open(name)
                .into_iter()
                .chain(open(PSEUDO))
                .chain([install.clone()]);
            let others = (0..100).flat_map(|_| open(name));
            play(revision, first.chain(others).collect());
        }
    }
}

/// What never is loaded out of secure storage for a session, because it runs on, is counted in each
/// life.
#[test]
fn applications_kept_alive_out_of_secure_storage_are_charged_to_the_next_life() {
    let close = || Step::About(command::CLOSE_SESSION, 0, 0, vec![]);
    let open = || [Step::Open(STORED_KEPT_ALIVE), Step::Work(12)];
    let life = || {
        open()
            .into_iter()
            .chain([close()])
            .chain(open())
            .chain([close(), Step::Restart])
    };
    play([4, 10], (0..80).flat_map(|_| life()).collect());
}

/// Lives that leave applications that are kept alive, and a call by which the partition is not for
/// another life.
#[test]
fn applications_kept_alive_are_counted_in_lives_that_leave_more() {
    let close = || Step::About(command::CLOSE_SESSION, 0, 0, vec![]);
    let life = || {
        let used = |name| [Step::Open(name), Step::Work(12), close()];
        used(KEPT_ALIVE)
            .into_iter()
            .chain(used(STORED_KEPT_ALIVE))
            .chain([Step::Open(SEVERAL), Step::Restart])
    };
    for revision in [[4, 5], [4, 10]] {
        play(revision, (0..80).flat_map(|_| life()).collect());
    }
}

/// A guest that ends in the middle of opening a session, before OP-TEE came to ask for anything.
#[test]
fn calls_cut_off_before_they_asked_for_anything_are_counted() {
    let life = || {
        [
            Step::Interrupt,
            Step::Open(SEVERAL),
            Step::Interrupt,
            Step::Open(SEVERAL),
            Step::Restart,
        ]
    };
    for revision in [[4, 5], [4, 10]] {
        play(revision, (0..80).flat_map(|_| life()).collect());
    }
}

/// A program tries names that nobody has: what it leaves in mind is nothing.
#[test]
fn names_that_nobody_has_leave_room_for_others() {
    let secure = Secure::new([4, 10]);
    let mut vm = Vm::new(&secure, 1);
    for number in 0..1000_u16 {
        let mut name = NOBODY;
        name[..2].copy_from_slice(&number.to_le_bytes());
        vm.call(&opening(name));
        // Memory, a file, then the application, then the memory back.
        for answer in [WELL, WELL, NOT_FOUND, WELL] {
            vm.answer(0, answer);
        }
        assert!(vm.waiting.is_empty());
    }
    works(&mut vm);
}

/// A life in which made-up names were loaded leaves the next ones as much room as it had.
#[test]
fn names_that_a_life_loads_leave_room_for_the_lives_after_it() {
    let secure = Secure::new([4, 10]);
    let mut vm = Vm::new(&secure, 1);
    for life in 0..20_u8 {
        for number in 0..16 {
            let mut name = NOBODY;
            name[..2].copy_from_slice(&[life, number]);
            vm.call(&opening(name));
            // The guest has each of them, as far as it says.
            (0..12).for_each(|_| vm.answer(0, WELL));
            assert!(vm.waiting.is_empty());
        }
        vm.restart();
    }
    works(&mut vm);
}

/// A kernel that takes the place of another one ends while a buffer of its own is shared.
#[test]
fn a_kernel_that_follows_another_and_ends_while_it_registers_is_renewed() {
    let stored = |pages| Answer {
        result: result::SUCCESS,
        pages,
    };
    play(
        [4, 10],
        vec![
            Step::Open(SEVERAL),
            Step::Open(SEVERAL),
            Step::Answer(0, stored(0)),
            Step::Answer(0, stored(0)),
            Step::ProbeAnew,
            Step::Register(4, 1),
            Step::Restart,
        ],
    );
}
