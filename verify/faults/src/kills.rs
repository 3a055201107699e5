//! A guest is killed while a call of its is at any of its stages, and another one starts in its
//! place, 1,000 times; and a vCPU takes a call with it that never comes back.

use mediator::optee::fakes::attacker::{NOT_FOUND, Step, Vm, WELL, opening, play, works};
use mediator::optee::fakes::model::{
    ASK, KEPT_ALIVE, NEVER_END, NOBODY, SEVERAL, SINGLE, STORED, Secure,
};
use optee_abi::message::command;

use crate::held;

/// How often a guest is killed.
const KILLS: usize = 1_000;

#[test]
fn a_guest_is_killed_at_each_rpc_a_thousand_times() {
    for (name, application) in [
        ("an application", SEVERAL),
        ("one that all sessions share", SINGLE),
        ("one that nobody has", NOBODY),
        ("one out of secure storage", STORED),
    ] {
        let stages = 12;
        let lives = (0..KILLS / 4).flat_map(|life| {
            let answered = life % stages;
            let answer = if application == NOBODY {
                NOT_FOUND
            } else {
                WELL
            };
            let answers = (0..answered).map(move |_| Step::Answer(0, answer));
            core::iter::once(Step::Open(application))
                .chain(answers)
                .chain([Step::Restart])
        });
        play([4, 10], lives.collect());
        held(
            "kills",
            &format!(
                "{} kills while {name} is opened, at each of {stages} stages by turns",
                KILLS / 4
            ),
            "the neighbour works after each step",
        );
    }
}

#[test]
fn calls_that_never_end_are_their_guest_s_own() {
    for (name, function) in [
        ("computes for ever", NEVER_END),
        ("asks and is not answered", ASK),
    ] {
        let lives = (0..10).flat_map(|_| {
            [
                Step::Open(SEVERAL),
                Step::Work(12),
                Step::About(command::INVOKE_COMMAND, 0, function, vec![]),
                Step::About(command::INVOKE_COMMAND, 0, function, vec![]),
                Step::About(command::CLOSE_SESSION, 0, 0, vec![]),
                Step::Restart,
            ]
        });
        play([4, 10], lives.collect());
        held(
            "a vCPU that never comes back",
            &format!("10 lives end under two calls of an application that {name}"),
            "the neighbour works after each step",
        );
    }
}

#[test]
fn a_vcpu_that_never_comes_back_holds_up_nobody_else() {
    let secure = Secure::new([4, 10]);
    let [mut hostile, mut honest] = [1, 2].map(|client| Vm::new(&secure, client));
    // Both of the guest's threads wait for answers that nobody gives.
    for application in [SEVERAL, KEPT_ALIVE] {
        hostile.call(&opening(application));
    }
    for _ in 0..100 {
        works(&mut honest);
    }
    held(
        "a vCPU that never comes back",
        "both threads of a guest wait for it",
        "the neighbour opens, works and closes 100 times",
    );
}
