//! The mediator, doing what the model does.

use mediator::optee::fakes::attacker::opening;
use mediator::optee::fakes::{
    ARG, Act as OpteeAct, Guest, READY, SESSION, World, assert_nothing_left, call_at, get, guest,
    invoke, put, smc_with, value,
};
use mediator::{Teardown, Tee as _};
use optee_abi::message::{Direction, Message, command};
use optee_abi::smc::{self, RpcFunction, notification, status};
use optee_abi::{result, rpc};
use smccc::CallRegisters;

use crate::model::{Act, Answer, Kind, SLOTS, State, Step};

/// The value that OP-TEE notifies of.
const VALUE: u32 = 65;

/// Where the message of the call in slot `index` is.
fn place(index: usize) -> u64 {
    ARG + index as u64 * 0x1000
}

struct Engine {
    world: World,
    guest: Guest,
    /// The thread ID that is good for the call in each slot.
    ids: [u64; SLOTS],
    /// One that is not good any more.
    stale: u64,
}

/// Does these steps, and compares what is seen with the model after each.
pub(crate) fn does(steps: &[Step]) {
    let (world, guest) = guest();
    world.optee().lenient = true;
    let mut engine = Engine {
        world,
        guest,
        ids: [0; SLOTS],
        stale: 0,
    };
    let mut state = State::new();
    for (index, &step) in steps.iter().enumerate() {
        let after = state.after(step).expect("the model can do it");
        let (answer, id) = engine.does(step, &after.acts, after.slot);
        let so_far = &steps[..=index];
        assert_eq!(answer, after.answer, "the answer after {so_far:?}");
        if let Some(slot) = after.slot {
            engine.stale = engine.ids[slot];
            engine.ids[slot] = id;
        }
        state = after.state;
        engine.is_as(&state, so_far);
    }
}

impl Engine {
    fn does(&mut self, step: Step, acts: &[Act], slot: Option<usize>) -> (Answer, u64) {
        for act in acts {
            match act {
                Act::Done => self.world.act(OpteeAct::Obey),
                Act::Interrupt => self.world.act(OpteeAct::Interrupt),
                Act::NoThread => self.world.act(OpteeAct::ThreadLimit),
                Act::Ask => {
                    let asks = Message::new(rpc::FS, &[value(Direction::Input, [1, 2, 3])]);
                    self.world.command(asks, |_| ());
                }
            }
        }
        let fast = |function: u32| smc_with(&self.guest, &[u64::from(function), 0]);
        let answer = match step {
            Step::Call(kind, ..) => {
                let message = self.message(kind);
                // Where it is parked, if it is.
                let at = place(slot.unwrap_or(SLOTS));
                put(&self.world, at, &message);
                let registers = call_at(&self.guest, at);
                return (self.answer(&registers, at), registers[3]);
            }
            Step::Return(index, ..) => {
                let registers = self.resume(self.ids[index]);
                return (self.answer(&registers, place(index)), registers[3]);
            }
            Step::ReturnAgain(_) => {
                let registers = self.resume(self.stale);
                self.answer(&registers, place(0))
            }
            Step::Probe => {
                fast(smc::EXCHANGE_CAPABILITIES);
                if let Some(id) = self.ids.iter().find(|id| **id != 0) {
                    self.stale = *id;
                }
                Answer::Nothing
            }
            Step::Enable => {
                let registers = fast(smc::ENABLE_ASYNC_NOTIF);
                assert_eq!(registers[0], u64::from(status::OK));
                Answer::Nothing
            }
            Step::Raise => {
                self.world.optee().notifications.push_back(VALUE);
                Answer::Nothing
            }
            Step::Poll => Answer::Notified(self.guest.poll_notifications()),
            Step::Fetch => {
                let registers = fast(smc::GET_ASYNC_NOTIF_VALUE);
                let valid = registers[2] & notification::VALID != 0;
                assert!(!valid || registers[1] == u64::from(VALUE));
                Answer::Fetched(valid)
            }
            Step::End(again) => {
                let mut done = self.guest.tear_down(again);
                while done == Teardown::Interrupted {
                    done = self.guest.tear_down(again);
                }
                match done {
                    Teardown::Renewed => Answer::BeginsAnew,
                    Teardown::Done { left: 0, .. } => {
                        self.guest.destroy();
                        assert_nothing_left(&self.world, &self.guest);
                        Answer::Ended
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        (answer, 0)
    }

    fn message(&self, kind: Kind) -> Message {
        let about = |command, session| {
            let mut message = Message::new(command, &[]);
            message.set_session(session);
            message
        };
        // One at a time is open, and the first one closes for good.
        let first = self.world.optee().sessions.contains(&READY);
        let session = if first { READY } else { SESSION };
        match kind {
            Kind::Invoke => {
                let mut message = invoke(&[]);
                message.set_session(session);
                message
            }
            Kind::Close => about(command::CLOSE_SESSION, session),
            Kind::Open => opening([1; 16]),
        }
    }

    fn resume(&self, id: u64) -> CallRegisters {
        smc_with(&self.guest, &[u64::from(smc::RETURN_FROM_RPC), 0, 0, id])
    }

    fn answer(&self, registers: &CallRegisters, at: u64) -> Answer {
        let is = |function: RpcFunction| registers[0] == u64::from(function.a0());
        if is(RpcFunction::ForeignInterrupt) {
            return Answer::TakesInterrupts;
        }
        if is(RpcFunction::Command) {
            return Answer::Asked;
        }
        match (registers[0] as u32, get(&self.world, at).result()) {
            (status::ETHREAD_LIMIT, _) => Answer::ThreadLimit,
            (status::ERESUME, _) => Answer::Resume,
            (status::OK, result::SUCCESS) => Answer::Success,
            (status::OK, result::BAD_PARAMETERS) => Answer::BadParameters,
            (status::OK, result::ITEM_NOT_FOUND) => Answer::ItemNotFound,
            (code, result) => panic!("{code:#x}, {result:#x}"),
        }
    }

    fn is_as(&self, state: &State, so_far: &[Step]) {
        let flight = self.guest.stats().calls_in_flight;
        assert_eq!(flight, state.in_flight() as u64, "calls after {so_far:?}");
        let suspended = self.world.suspended();
        assert_eq!(suspended, state.suspended(), "threads after {so_far:?}");
        let sessions = self.world.optee().sessions.len();
        let expected = usize::from(state.session != crate::model::Session::None);
        assert_eq!(sessions, expected, "sessions after {so_far:?}");
        assert!(
            self.world.optee().acts.is_empty(),
            "OP-TEE is entered as often after {so_far:?}"
        );
    }
}
