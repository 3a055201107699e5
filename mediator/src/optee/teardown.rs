//! The end of a guest, before OP-TEE forgets it: its calls are seen through and its sessions are
//! closed. The same is done with the calls of a kernel that is gone because the guest started
//! another one in its place.
//!
//! OP-TEE gives back the memory of a guest that goes without a word, but not what it took for it
//! out of what all guests share: each instance of a trusted application has one of 64 address space
//! identifiers (`virt_put_guest`, `core/arch/arm/kernel/virtualization.c`, OP-TEE 4.5 to 4.10).
//! What can't be ended in time, or keeps running without a session (`TA_FLAG_INSTANCE_KEEP_ALIVE`),
//! is counted, for the guest to be charged with in its next life.

use crate::sync::atomic::Ordering;

use optee_abi::rpc as commands;

use super::applications::{Applications, Charge};
use super::call::Call;
use super::engine::{Event, Own, Stop};
use super::fallible_box::FallibleBox;
use super::partition::{Partition, TeardownProgress};
use super::rpc;
use super::sessions::Idle;
use super::shm::buffers::TakeBack;
use super::stage::{Asked, Stage, Task, Thread, Until};
use crate::Teardown;
use crate::ports::{Cpu, Platform};

/// How long OP-TEE gets for what the guest left to it. A TA may take as long as it likes.
const SECONDS_MAX: u64 = 5;

/// Rounds in which calls go on, while those that compute wait.
const ROUNDS_WITHOUT_COMPUTING: u32 = 64;

/// How far a call was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// OP-TEE is done with it.
    Over,
    /// It asks for something.
    Asks,
    /// It waits for another one: to be woken up by it, or for its thread.
    Waits,
    /// It asks for something that OP-TEE has to get, and nobody is there to give.
    Stuck,
    /// An interrupt has to be taken.
    Interrupted,
}

impl<P: Platform> Partition<P> {
    /// Goes on with the end of the guest, of which no call comes any more, until there is nothing
    /// to tear down or an interrupt has to be taken.
    pub(super) fn go_on_tearing_down(&self, again: bool) -> Teardown {
        let mut teardown = self.teardown.lock();
        let limit = SECONDS_MAX.saturating_mul(self.ports.cpu.ticks_per_second());
        let now = self.ports.cpu.now();
        let until = *teardown.until.get_or_insert(now.saturating_add(limit));
        let mut all_wait = false;
        loop {
            teardown.rounds = teardown.rounds.wrapping_add(1);
            if self.ports.cpu.now() >= until {
                return self.torn_down();
            }
            if self.ports.cpu.interrupt_pending() {
                return Teardown::Interrupted;
            }
            let started = match self.sessions.take_idle(&mut teardown.place) {
                Idle::Found(closing) => {
                    let end = || self.sessions.not_closed(closing);
                    self.make_own(Own::CloseSession(closing), end)
                }
                Idle::LookOn => continue,
                // Calls may take theirs back themselves.
                Idle::None if again && !teardown.for_good && self.slots.in_flight() == 0 => {
                    match self.buffers.take_back(&mut teardown.buffer) {
                        TakeBack::Found(handle) => {
                            self.make_own(Own::Unregister(handle), || self.buffers.keep(handle))
                        }
                        TakeBack::LookOn => continue,
                        TakeBack::None if self.sessions.applications(|known| known.are_many()) => {
                            self.find_out_what_is_kept_alive()
                        }
                        TakeBack::None => None,
                    }
                }
                Idle::None => self.find_out_what_is_kept_alive(),
            };
            if started == Some(Step::Interrupted) {
                return Teardown::Interrupted;
            }
            let mut goes_on = matches!(started, Some(Step::Over | Step::Asks));
            let mut waits = matches!(started, Some(Step::Waits));
            // One may wait for what another one holds, so all of them get their turns; but one that
            // computes, for as long as it likes, only where nothing else goes on, or now and then:
            // another one may ask for something again and again.
            let now_and_then = teardown.rounds.is_multiple_of(ROUNDS_WITHOUT_COMPUTING);
            for computes in [false, true] {
                if computes && goes_on && !now_and_then {
                    break;
                }
                for _ in 0..self.slots.count() {
                    let index = teardown.turn;
                    teardown.turn = (index + 1) % self.slots.count();
                    let is_next = |call: &Call| is_computing(call) == computes;
                    let Some(call) = self.slots.take_parked_if(index, is_next) else {
                        continue;
                    };
                    match self.see_through(call) {
                        Step::Interrupted => return Teardown::Interrupted,
                        Step::Asks => goes_on = true,
                        Step::Waits => waits = true,
                        Step::Stuck => {}
                        Step::Over => {
                            // It may have used a session, or opened one.
                            teardown.place = 0;
                            goes_on = true;
                        }
                    }
                }
            }
            if matches!(started, Some(Step::Over | Step::Waits)) {
                teardown.place = 0;
            }
            // What they wait for may have come in this round. Where nothing comes in two, nothing
            // does.
            let waited = core::mem::replace(&mut all_wait, waits && !goes_on);
            if !goes_on && (!waits || waited) {
                if !again || teardown.for_good {
                    return self.torn_down();
                }
                if self.is_as_new() {
                    *teardown = TeardownProgress::default();
                    self.renew();
                    return Teardown::Renewed;
                }
                teardown.for_good = true;
            }
        }
    }

    /// Whether nothing of the guest is left, but for applications that are kept alive.
    fn is_as_new(&self) -> bool {
        self.slots.in_flight() == 0 && self.sessions.count() == 0 && self.buffers.held() == (0, 0)
    }

    /// Gets the partition ready for the guest's next life. OP-TEE keeps it: it takes something for
    /// good for each that it makes.
    fn renew(&self) {
        self.notifications.forget();
        self.forget_driver();
        self.sessions.applications(Applications::begin_life);
        if let Some(throttle) = &self.throttle {
            throttle.begin_life(self.ports.cpu.now());
        }
    }

    /// The kernel that the guest ran is gone, and with it what its driver left.
    pub(super) fn forget_driver(&self) {
        self.slots.orphan_parked(|call| {
            let stays = call.has_left_something();
            call.cached = None;
            if !stays {
                self.drop_unentered(call);
            }
            stays
        });
        self.buffers.begin_era();
        while self.slots.find_free(|call| call.cached.take()).is_some() {}
        self.shm_cache.store(false, Ordering::Relaxed);
    }

    /// There is no more to do, or no more time.
    fn torn_down(&self) -> Teardown {
        let left = u64::from(self.slots.in_flight()) + u64::from(self.sessions.count());
        self.give_up_finding_out();
        let lost = self.sessions.applications(|known| known.identifiers());
        Teardown::Done { left, lost }
    }

    /// An application of which nobody knows whether it is kept alive counts as one that is: OP-TEE
    /// was not asked, or did not answer in time.
    fn give_up_finding_out(&self) {
        let note = |name| {
            self.sessions
                .applications(|known| known.note_kept_alive(name));
        };
        for index in 0..self.slots.count() {
            // One that OP-TEE asked files for is charged for already.
            self.slots.take_parked_if(index, |call| {
                if let Task::FindOut(name) = call.task
                    && call.charge == Charge::default()
                {
                    note(name);
                }
                false
            });
        }
        while let Some(name) = self.sessions.applications(Applications::take_unsettled) {
            note(name);
        }
    }

    /// Goes on with the calls of a kernel that is gone, each by a step. `true` if there is a
    /// notification for the kernel that took its place.
    #[inline(never)]
    pub(super) fn see_orphans_through(&self) -> bool {
        let mut notified = false;
        for index in 0..self.slots.count() {
            let Some(call) = self.slots.take_orphan(index) else {
                continue;
            };
            // A call of the new kernel may be what is to be woken up.
            if let Some(value) = notification(&call, commands::NOTIFICATION_SEND) {
                notified |= self.notifications.pass_on(value);
            }
            self.see_through(call);
        }
        notified
    }

    /// Has OP-TEE do something in the mediator's own name. `None` if there is no slot for that;
    /// then it comes to this `end`.
    fn make_own(&self, own: Own, end: impl FnOnce()) -> Option<Step> {
        let Some(call) = self.slots.claim() else {
            end();
            return None;
        };
        Some(self.go_on(call, Event::MadeHere(own)))
    }

    fn find_out_what_is_kept_alive(&self) -> Option<Step> {
        // An earlier OP-TEE does not survive what it is answered.
        if !self.optee.survives_errors() {
            return None;
        }
        let call = self.slots.claim()?;
        let unsettled = |applications: &mut Applications| applications.take_unsettled();
        match self.sessions.applications(unsettled) {
            Some(name) => {
                let own = Own::FindOutWhetherKeptAlive(name);
                Some(self.go_on(call, Event::MadeHere(own)))
            }
            None => {
                self.slots.release(call);
                None
            }
        }
    }

    /// Goes on with a call that was parked, and whose guest is gone.
    fn see_through(&self, call: FallibleBox<Call>) -> Step {
        if self.must_be_answered(&call) {
            self.slots.park(call);
            return Step::Stuck;
        }
        self.go_on(call, Event::GuestGone)
    }

    /// Goes on with a call until OP-TEE wants something of its guest, which is gone.
    fn go_on(&self, mut call: FallibleBox<Call>, event: Event) -> Step {
        match self.advance(&mut call, event) {
            Stop::Asks(..) => {
                let step = step_of_parked(&call);
                self.slots.park(call);
                step
            }
            Stop::Over(_) => {
                self.slots.release(call);
                Step::Over
            }
        }
    }

    /// Whether OP-TEE might not survive an error as the answer to what a call waits for: what it
    /// asks of files, and memory for that, up to 4.9 (`docs/optee-versions.md`).
    fn must_be_answered(&self, call: &Call) -> bool {
        let Stage::InOptee(_, Thread::Suspended(_, until)) = call.stage else {
            return false;
        };
        let asks = match until {
            Until::Done(Asked::Command(_)) => call.request.command() == commands::FS,
            Until::Done(Asked::Memory | Asked::FreeRefused)
            | Until::ArgumentProvided(_)
            | Until::ArgumentFreed
            | Until::Room(..)
            | Until::Translated(_) => true,
            Until::Now | Until::InterruptTaken => false,
        };
        asks && !self.optee.survives_errors()
    }
}

/// Whether OP-TEE was at work for a call, which is parked, on the guest's behalf, when an interrupt
/// came.
fn is_computing(call: &Call) -> bool {
    let own = matches!(call.task, Task::Close(_) | Task::FindOut(_));
    let interrupted = matches!(
        call.stage,
        Stage::InOptee(_, Thread::Suspended(_, Until::InterruptTaken))
    );
    interrupted && !own
}

/// How far a call was brought that is about to be parked.
fn step_of_parked(call: &Call) -> Step {
    match call.stage {
        Stage::InOptee(_, Thread::Suspended(_, until)) => match until {
            Until::InterruptTaken => Step::Interrupted,
            _ if notification(call, commands::NOTIFICATION_WAIT).is_some() => Step::Waits,
            _ => Step::Asks,
        },
        // OP-TEE has no thread for it.
        _ => Step::Waits,
    }
}

/// The value that a parked call waits for, or sends, if that is `what` OP-TEE asks of the guest.
fn notification(call: &Call, what: u64) -> Option<u32> {
    let Stage::InOptee(_, Thread::Suspended(_, Until::Done(Asked::Command(_)))) = call.stage else {
        return None;
    };
    rpc::notification(&call.request, what)
}
