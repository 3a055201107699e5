//! A model of what becomes of a guest's calls: made, interrupted, asking for something, waiting for
//! a thread of OP-TEE or for others; while sessions open and close, OP-TEE notifies, the guest
//! starts another kernel, ends, and begins anew.
//!
//! [`model`] says what happens, in some hundred lines that know nothing of the mediator. All states
//! that it can come to are visited, what must always hold is looked at in each, and every step out
//! of each is done by the [`engine`] as well, which has to do what the model says.

#![cfg(test)]

mod engine;
mod model;

use model::{Life, State, Step};
use stateright::{Checker as _, Model as _, Path};

fn follow(path: Path<State, Step>) {
    let last = path.last_state().clone();
    let so_far = path.into_actions();
    engine::does(&so_far);
    let mut steps = Vec::new();
    Life.actions(&last, &mut steps);
    for step in steps {
        let mut path = so_far.clone();
        path.push(step);
        engine::does(&path);
    }
}

#[test]
fn the_engine_does_what_the_model_says_and_the_model_is_sound() {
    let checker = Life.checker().visitor(follow).spawn_bfs().join();
    println!(
        "{} states, {} steps, {} steps deep",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}
