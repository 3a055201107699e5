//! The engine of yielding calls: what happened to a call leads it from one stage to the next, and
//! says what is to be done.
//!
//! A message takes one entry into OP-TEE, and two more for each parameter that is temporary memory:
//! the memory is registered before and unregistered after. Each entry can come back for the guest
//! to do something, and goes on when the guest returns; or when the guest is gone, which is an
//! event like others.
//!
//! The transitions stand in the order of a call's life: `beginning`, `renewal` of the slot's
//! memory, `sharing` of buffers, `requests` of OP-TEE, `completion`; and `solitude`, for calls
//! without a guest.

use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use super::partition::Partition;
use super::sessions::Closing;
use super::shm::handle::Handle;
use super::shm::page_list::{Progress, TranslateError};
use super::stage::{Stage, Start, Thread, Until};
use crate::optee::call::Call;
use crate::ports::{Platform, SecureWorld};
use crate::ta_access::Uuid;

mod beginning;
mod completion;
mod renewal;
mod requests;
mod sharing;
mod solitude;

/// What happened to a call.
#[derive(Debug)]
pub(super) enum Event {
    /// The guest made it.
    Made(Start),
    /// The guest returned from what it was asked for, with these values of a1 and a2, a4 and a5.
    GuestReturned([u64; 2], [u64; 2]),
    /// A translation came so far.
    Translated(Result<Progress, TranslateError>),
    /// OP-TEE was left, for this reason, by this thread.
    OpteeLeft(Returned, u64),
    /// The kernel that made it is gone: nobody does what OP-TEE asks, or takes the results.
    GuestGone,
    /// The mediator makes it itself.
    MadeHere(Own),
}

/// What the mediator itself has OP-TEE do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    CloseSession(Closing),
    Unregister(Handle),
    /// To open a session with an application that was loaded and that no session is with: if it is
    /// kept alive, OP-TEE does not have it loaded.
    FindOutWhetherKeptAlive(Uuid),
}

/// What is to be done next for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Its translation goes on.
    Translate,
    /// OP-TEE is entered.
    Enter,
    /// The guest is asked for this, with these values of a1 and a2.
    Ask(RpcFunction, [u64; 2]),
    /// It is over, with this in a0.
    Finish(u32),
}

impl Action {
    /// The guest is to take interrupts and come back.
    const ASK_TO_TAKE_INTERRUPTS: Self = Self::Ask(RpcFunction::ForeignInterrupt, [0, 0]);
}

/// Where a call stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The guest is asked for this, with these values of a1 and a2.
    Asks(RpcFunction, [u64; 2]),
    /// It is over, with this in a0.
    Over(u32),
}

impl<P: Platform> Partition<P> {
    /// Goes on with a call, to which `event` happened, until the guest is needed or it is over.
    #[inline(always)]
    pub(super) fn advance(&self, call: &mut Call, event: Event) -> Stop {
        let action = self.step(call, event);
        self.perform(call, action)
    }

    /// Does what is to be done, and what comes after that.
    fn perform(&self, call: &mut Call, mut action: Action) -> Stop {
        loop {
            action = match action {
                Action::Enter => {
                    let (returned, thread) = self.enter(call);
                    self.step(call, Event::OpteeLeft(returned, thread))
                }
                Action::Translate => {
                    let progress = self.translate(call);
                    self.step(call, Event::Translated(progress))
                }
                Action::Ask(function, values) => return Stop::Asks(function, values),
                Action::Finish(status) => return Stop::Over(status),
            };
        }
    }

    /// Leads a call to its next stage. Where it is called, the event is known, and only what
    /// follows from that is built.
    #[inline(always)]
    fn step(&self, call: &mut Call, event: Event) -> Action {
        match event {
            Event::Made(start) => self.admit(call, start),
            Event::GuestReturned(a1_a2, a4_a5) => self.guest_returned(call, a1_a2, a4_a5),
            Event::OpteeLeft(returned, thread) => self.optee_left(call, returned, thread),
            Event::Translated(progress) => self.translated(call, progress),
            Event::GuestGone => self.guest_is_gone(call),
            Event::MadeHere(own) => self.begin_own(call, own),
        }
    }

    /// Enters OP-TEE, in the guest's name, for what the call's stage says.
    #[inline(always)]
    fn enter(&self, call: &Call) -> (Returned, u64) {
        let registers = match &call.stage {
            Stage::InOptee(_, Thread::Suspended(thread, _)) => {
                self.yielding(smc::RETURN_FROM_RPC, [0, 0], *thread)
            }
            _ => {
                let handle = smc::split(call.known.handle.get());
                self.yielding(smc::CALL_WITH_REGD_ARG, handle, call.known.offset)
            }
        };
        let [a0, _, _, thread, ..] = self.ports.world.smc(registers);
        (Returned::from_a0(a0 as u32), thread)
    }

    fn translate(&self, call: &mut Call) -> Result<Progress, TranslateError> {
        call.translation.advance(
            &mut call.words,
            &mut call.lists,
            &self.ports,
            &self.pool,
            &self.counters,
        )
    }

    /// The guest returns from what it was asked for.
    #[inline(always)]
    fn guest_returned(&self, call: &mut Call, a1_a2: [u64; 2], a4_a5: [u64; 2]) -> Action {
        match &call.stage {
            Stage::InOptee(_, Thread::Suspended(_, until)) => match *until {
                Until::Now | Until::InterruptTaken => self.back_to_optee(call),
                Until::Done(asked) => self.take_reply(call, asked),
                Until::ArgumentProvided(asked) => {
                    let [address, cookie] =
                        [a1_a2, a4_a5].map(|[upper, lower]| smc::join(upper, lower));
                    self.take_argument(call, address, cookie, asked)
                }
                Until::ArgumentFreed => self.answer(call, result::OUT_OF_MEMORY),
                Until::Room(memory, until) => self.take_memory(call, memory, Some(until)),
                Until::Translated(_) => Action::Translate,
            },
            Stage::InOptee(_, Thread::Wanted) => Action::Enter,
            Stage::Translates(..) => Action::Translate,
            &Stage::AwaitsClose(closing) => self.close_when_unused(call, closing),
            &Stage::AwaitsRelease(handle, release) => {
                self.release_when_unused(call, handle, release)
            }
            &Stage::Throttled { start, turn } => self.await_turn(call, start, turn),
            Stage::FreesArgument => Action::Finish(call.status),
            Stage::Idle => Action::Finish(status::ERESUME),
        }
    }

    #[inline(always)]
    fn optee_left(&self, call: &mut Call, returned: Returned, thread: u64) -> Action {
        match returned {
            Returned::Rpc(function) => {
                if let Stage::InOptee(_, of_call) = &mut call.stage {
                    *of_call = Thread::Suspended(thread, Until::Now);
                }
                match function {
                    RpcFunction::ForeignInterrupt => {
                        self.counters.foreign_interrupts.add(1);
                        call.wait(Until::InterruptTaken);
                        Action::ASK_TO_TAKE_INTERRUPTS
                    }
                    RpcFunction::Command => {
                        self.went_on(call);
                        self.take_request(call)
                    }
                    // OP-TEE has its RPC argument in the slot and asks for none (get_rpc_arg,
                    // thread_optee_smc.c, 4.5.0). Zeros are the answer that there is no memory;
                    // what it asks else has no answer.
                    _ => {
                        self.went_on(call);
                        self.back_to_optee(call)
                    }
                }
            }
            // A slot is free only when OP-TEE's thread is, so this comes only where another guest's
            // calls are in the way. The guest may have no call that it could wait for, so it tries
            // again instead.
            Returned::Done(status::ETHREAD_LIMIT) => self.pause(),
            Returned::Done(status) => {
                self.went_on(call);
                self.returned(call, status)
            }
        }
    }

    /// Enters OP-TEE again where a thread of it is suspended.
    #[inline]
    fn back_to_optee(&self, call: &mut Call) -> Action {
        call.wait(Until::Now);
        Action::Enter
    }

    /// Lets the guest take an interrupt and then come back to what the stage says.
    fn pause(&self) -> Action {
        self.counters.pauses.add(1);
        Action::ASK_TO_TAKE_INTERRUPTS
    }

    /// OP-TEE has gone on since it was given lists or was told that a buffer is free, other than to
    /// an interrupt.
    #[inline]
    fn went_on(&self, call: &mut Call) {
        self.pool.give_back(&mut call.lists);
        if let Some(handle) = call.forgetting.take() {
            self.forget(handle);
        }
    }
}
