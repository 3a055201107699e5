//! The end of a guest, before OP-TEE forgets it: its calls are seen through and its sessions are
//! closed. The same is done with the calls of a kernel that is gone because the guest started
//! another one in its place.
//!
//! OP-TEE gives back the memory of a guest that goes without a word, but not what it took for it
//! out of what all guests share: each instance of a trusted application has one of 64 address space
//! identifiers (`virt_put_guest`, `core/arch/arm/kernel/virtualization.c`, OP-TEE 4.5 to 4.10).
//! What can't be ended in time, or keeps running without a session (`TA_FLAG_INSTANCE_KEEP_ALIVE`),
//! is counted, for the guest to be charged with in its next life.

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use optee_abi::message::{Direction, Message, Parameter, command, uuid_words};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use super::applications::{Applications, Charge};
use super::call::{Call, Paused, Stage, Waiting};
use super::flow::{Entry, Flow};
use super::partition::{Partition, Teardown};
use super::rpc::rpc_slot;
use super::sessions::{Closing, Idle};
use super::shm::buffers::TakeBack;
use super::shm::handle::Handle;
use super::shm::message_area::{message_of, unregister_message};
use super::shm::page_list::Purpose;
use crate::WindUp;
use crate::ports::{Cpu, Platform, SecureWorld, ShadowMemory};
use crate::ta_access::Uuid;

/// How long OP-TEE gets for what the guest left to it. A TA may take as long as it likes.
const SECONDS_MAX: u64 = 5;

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
    /// to wind up or an interrupt has to be taken.
    pub(super) fn go_on_winding_up(&self, again: bool) -> WindUp {
        let mut teardown = self.teardown.lock();
        let limit = SECONDS_MAX.saturating_mul(self.ports.cpu.ticks_per_second());
        let now = self.ports.cpu.now();
        let until = *teardown.until.get_or_insert(now.saturating_add(limit));
        let mut all_wait = false;
        loop {
            if self.ports.cpu.now() >= until {
                return self.wound_up();
            }
            if self.ports.cpu.interrupt_pending() {
                return WindUp::Interrupted;
            }
            let started = match self.sessions.take_idle(&mut teardown.place) {
                Idle::Found(closing) => self.close(closing),
                Idle::LookOn => continue,
                // Calls may take theirs back themselves.
                Idle::None if again && !teardown.for_good && self.slots.in_flight() == 0 => {
                    match self.buffers.take_back(&mut teardown.buffer) {
                        TakeBack::Found(handle) => self.take_back(handle),
                        TakeBack::LookOn => continue,
                        TakeBack::None => None,
                    }
                }
                Idle::None => self.find_out_what_is_kept_alive(),
            };
            if started == Some(Step::Interrupted) {
                return WindUp::Interrupted;
            }
            let mut goes_on = matches!(started, Some(Step::Over | Step::Asks));
            let mut waits = matches!(started, Some(Step::Waits));
            // One may wait for what another one holds, so all of them get their turns; but one that
            // computes, for as long as it likes, only where nothing else goes on.
            for computes in [false, true] {
                if computes && goes_on {
                    break;
                }
                for _ in 0..self.slots.count() {
                    let index = teardown.turn;
                    teardown.turn = (index + 1) % self.slots.count();
                    let is_next = |call: &Call| call.computes() == computes;
                    let Some(call) = self.slots.take_parked_if(index, is_next) else {
                        continue;
                    };
                    match self.see_through(call) {
                        Step::Interrupted => return WindUp::Interrupted,
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
                    return self.wound_up();
                }
                if self.is_as_new() {
                    *teardown = Teardown::default();
                    self.renew();
                    return WindUp::Renewed;
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
    }

    /// The kernel that the guest ran is gone, and with it what its driver left.
    pub(super) fn forget_driver(&self) {
        self.slots.orphan_parked(|call| {
            let stays = call.is_in_optee();
            call.cached = None;
            if !stays {
                self.note_what_optee_never_got(call, call.waiting);
                self.let_go_of(call);
            }
            stays
        });
        self.buffers.begin_era();
        while self.slots.find_free(|call| call.cached.take()).is_some() {}
        self.shm_cache.store(false, Ordering::Relaxed);
    }

    /// Takes a buffer back. `None` if OP-TEE has no thread for that.
    fn take_back(&self, handle: Handle) -> Option<Step> {
        let Some(mut call) = self.slots.claim() else {
            self.buffers.keep(handle);
            return None;
        };
        call.begin();
        call.message = unregister_message(handle);
        call.handles[0] = Some(handle);
        Some(self.send_own(call, 1))
    }

    /// A call that stopped on its way into OP-TEE had something for it that has no effect now.
    fn note_what_optee_never_got(&self, call: &mut Call, waiting: Waiting) {
        if let Waiting::Pause(Paused::Enter(_)) = waiting {
            self.note_buffers(call, false);
        }
    }

    /// There is no more to do, or no more time.
    fn wound_up(&self) -> WindUp {
        let left = u64::from(self.slots.in_flight()) + u64::from(self.sessions.count());
        let lost = self.sessions.applications(|applications| {
            // An application that there was no time to ask about counts as one that is kept alive.
            while self.optee.survives_errors()
                && let Some(name) = applications.take_unsettled()
            {
                applications.note_kept_alive(name);
            }
            applications.identifiers()
        });
        WindUp::Done { left, lost }
    }

    /// Goes on with the calls of a kernel that is gone, each by a step. Says whether there is a
    /// notification for the kernel that took its place.
    #[inline(never)]
    pub(super) fn see_orphans_through(&self) -> bool {
        let mut notified = false;
        for index in 0..self.slots.count() {
            let Some(call) = self.slots.take_orphan(index) else {
                continue;
            };
            // A call of the new kernel may be what is to be woken up.
            if let Some(value) = notification(&call, rpc::NOTIFICATION_SEND) {
                notified |= self.notifications.pass_on(value);
            }
            self.see_through(call);
        }
        notified
    }

    /// Closes a session. `None` if OP-TEE has no thread for that.
    fn close(&self, closing: Closing) -> Option<Step> {
        let Some(mut call) = self.slots.claim() else {
            self.sessions.not_closed(closing);
            return None;
        };
        call.begin();
        call.message = message_of(command::CLOSE_SESSION, &[]);
        call.message.set_session(closing.session());
        call.closing = Some(closing);
        Some(self.send_own(call, 0))
    }

    /// Opens a session with an application that was loaded and that no session is with: if it is
    /// kept alive, OP-TEE does not have it loaded. `None` if there is none, or no thread for that.
    fn find_out_what_is_kept_alive(&self) -> Option<Step> {
        // An earlier OP-TEE does not survive what it is answered.
        if !self.optee.survives_errors() {
            return None;
        }
        let mut call = self.slots.claim()?;
        let unsettled = |applications: &mut Applications| applications.take_unsettled();
        let Some(name) = self.sessions.applications(unsettled) else {
            self.slots.release(call);
            return None;
        };
        call.begin();
        call.message = opening(name);
        call.finds_out = true;
        Some(self.send_own(call, OPENING_PARAMETERS))
    }

    /// Sends the message of a call of the mediator's own, with so many parameters.
    fn send_own(&self, mut call: Box<Call>, count: usize) -> Step {
        let message = call.message;
        match self.send(&mut call, &message, count) {
            Flow::Enter(entry) => self.follow(call, entry),
            _ => Step::Over,
        }
    }

    /// Goes on with a call that was parked.
    fn see_through(&self, mut call: Box<Call>) -> Step {
        let is_in_optee = call.is_in_optee();
        let flow = match core::mem::replace(&mut call.waiting, Waiting::Nothing) {
            waiting if self.must_be_answered(&call, waiting) => {
                call.waiting = waiting;
                self.slots.park(call);
                return Step::Stuck;
            }
            waiting if !is_in_optee => {
                self.note_what_optee_never_got(&mut call, waiting);
                return self.over(call);
            }
            Waiting::Interrupt => self.back_to_optee(&call),
            Waiting::Command
            | Waiting::ArgumentAlloc
            | Waiting::BadArgumentFree
            | Waiting::RefusedFree => self.answer(&mut call, result::COMMUNICATION),
            Waiting::Pause(_) | Waiting::ArgumentFree | Waiting::Nothing => {
                self.answer(&mut call, result::OUT_OF_MEMORY)
            }
        };
        match flow {
            Flow::Enter(entry) => self.follow(call, entry),
            _ => self.over(call),
        }
    }

    /// Whether OP-TEE might not survive an error as the answer to what a call waits for: what it
    /// asks of files, and memory for that, up to 4.9 (`docs/optee-versions.md`).
    fn must_be_answered(&self, call: &Call, waiting: Waiting) -> bool {
        let for_files = || matches!(call.request.command(), rpc::FS | rpc::SHM_ALLOC);
        let asks = match waiting {
            Waiting::Command | Waiting::Pause(Paused::Room(..)) => for_files(),
            Waiting::Pause(Paused::Translation) => call
                .translation
                .as_ref()
                .is_some_and(|it| it.purpose == Purpose::RpcAlloc),
            Waiting::ArgumentAlloc | Waiting::BadArgumentFree | Waiting::RefusedFree => true,
            Waiting::Nothing | Waiting::Interrupt | Waiting::Pause(_) | Waiting::ArgumentFree => {
                false
            }
        };
        asks && !self.optee.survives_errors()
    }

    /// Enters OP-TEE, and leaves it again where it asks for something.
    fn follow(&self, mut call: Box<Call>, mut entry: Entry) -> Step {
        loop {
            let registers = self.yielding(entry.function, entry.a1_a2, entry.a3);
            let [a0, _, _, thread, ..] = self.ports.world.smc(registers);
            match Returned::from_a0(a0 as u32) {
                Returned::Done(status::ETHREAD_LIMIT) => {
                    self.over(call);
                    return Step::Waits;
                }
                Returned::Done(status) => {
                    self.went_on(&mut call);
                    self.read_reply(&mut call, 0);
                    let done = status == status::OK && call.request.result() == result::SUCCESS;
                    self.note_buffers(&mut call, done);
                    if call.stage == Stage::Message {
                        self.note_session(&mut call, status);
                    }
                    let Some(handle) = self.next_to_unshare(&mut call) else {
                        return self.over(call);
                    };
                    match self.send(&mut call, &unregister_message(handle), 1) {
                        Flow::Enter(next) => entry = next,
                        _ => return self.over(call),
                    }
                }
                Returned::Rpc(function) => {
                    call.thread = thread;
                    if function == RpcFunction::ForeignInterrupt {
                        call.waiting = Waiting::Interrupt;
                        self.slots.park(call);
                        return Step::Interrupted;
                    }
                    self.went_on(&mut call);
                    if function == RpcFunction::Command {
                        let (page, offset) = rpc_slot(&call);
                        let shadow = &self.ports.shadow;
                        shadow.read(page, offset, call.request.bytes_mut(1));
                        // Its answer is an error, but until OP-TEE has it, and if it never does, it
                        // has an identifier.
                        if call.finds_out || is_about_files(call.request.command()) {
                            self.note_files(&mut call);
                        }
                        // What is no buffer of the guest's is none to forget.
                        if call.request.command() == rpc::SHM_FREE {
                            let _ = self.request_to_free(&mut call);
                        }
                        call.waiting = Waiting::Command;
                        let waits = notification(&call, rpc::NOTIFICATION_WAIT).is_some();
                        self.slots.park(call);
                        return if waits { Step::Waits } else { Step::Asks };
                    }
                    entry = Entry {
                        function: smc::RETURN_FROM_RPC,
                        a1_a2: [0, 0],
                        a3: thread,
                    };
                }
            }
        }
    }

    /// OP-TEE is done with a call.
    fn over(&self, mut call: Box<Call>) -> Step {
        // It refused a session with an application that it did not have to load.
        if call.finds_out
            && call.request.result() != result::SUCCESS
            && call.charge == Charge::default()
            && let Some(name) = call.message.application()
        {
            self.sessions
                .applications(|applications| applications.note_kept_alive(Uuid(name)));
        }
        self.let_go_of(&mut call);
        self.slots.release(call);
        Step::Over
    }

    /// OP-TEE has nothing to do with a call any more, and the guest's kernel does not ask for it.
    pub(super) fn let_go_of(&self, call: &mut Call) {
        if let Some(mut translation) = call.translation.take() {
            self.pool.give_back(&mut translation.list);
            self.forget(translation.handle);
        }
        self.pool.give_back(&mut call.lists);
        if let Some(handle) = call.forgetting.take() {
            self.forget(handle);
        }
        self.optee_is_done(call);
    }
}

/// Whether OP-TEE asks for this only where it opens a session with a trusted application that it
/// has to load.
fn is_about_files(command: u32) -> bool {
    matches!(command, rpc::LOAD_TA | rpc::SHM_ALLOC | rpc::RPMB | rpc::FS)
}

/// The value that a call waits for, or sends, if that is what it asks of the guest.
fn notification(call: &Call, what: u64) -> Option<u32> {
    let [asked, value, _] = call.request.words(0);
    let asks = call.waiting == Waiting::Command && call.request.command() == rpc::NOTIFICATION;
    (asks && asked == what).then_some(value as u32)
}

/// The application and the client, which is anybody (`TEE_LOGIN_PUBLIC`).
const OPENING_PARAMETERS: usize = 2;

/// The message that opens a session with an application.
fn opening(name: Uuid) -> Message {
    let meta = |words| Parameter::Value {
        direction: Direction::Input,
        meta: true,
        words,
    };
    let [first, second] = uuid_words(name.0);
    message_of(
        command::OPEN_SESSION,
        &[meta([first, second, 0]), meta([0; 3])],
    )
}
