//! From OP-TEE's reply to the end of a call.

use crate::sync::atomic::Ordering;

use optee_abi::message::{Message, command};
use optee_abi::result;
use optee_abi::smc::{self, RpcFunction, status};

use super::Action;
use crate::optee::applications::Charge;
use crate::optee::call::{Argument, Call};
use crate::optee::partition::Partition;
use crate::optee::request::{name_shared, take_results};
use crate::optee::shm::message_area::{slot, unregister_message};
use crate::optee::stage::{Errand, Stage, Task, Thread};
use crate::ports::{Platform, ShadowMemory};
use crate::ta_access::Uuid;

impl<P: Platform> Partition<P> {
    /// Writes a message of the mediator's own, with one parameter, to the call's slot, for OP-TEE
    /// to be entered with.
    pub(super) fn send(&self, call: &mut Call, errand: Errand, message: &Message) -> Action {
        call.rpc_slot = self.post(call.index, message, 1);
        call.stage = Stage::InOptee(errand, Thread::Wanted);
        Action::Enter
    }

    /// Writes a message with `count` parameters to the slot at `index`. Gives the shadow page and
    /// the offset in it where OP-TEE has the RPC argument then, which is behind the message.
    #[inline]
    #[must_use]
    pub(super) fn post(&self, index: usize, message: &Message, count: usize) -> (usize, usize) {
        let (page, offset) = slot(index);
        let bytes = message.bytes(count);
        self.ports.shadow.write(page, offset, bytes);
        (page, offset + bytes.len())
    }

    /// OP-TEE is done with its errand.
    #[inline]
    pub(super) fn returned(&self, call: &mut Call, status: u32) -> Action {
        if !call.is_at_message() {
            return self.errand_returned(call, status);
        }
        let back = call.parameters.back;
        self.read_reply(call, back.count());
        call.status = status;
        if !matches!(call.task, Task::Other) {
            self.note_task(call, status);
        }
        take_results(&mut call.message, &call.request, back);
        self.settle(call)
    }

    /// OP-TEE is done with what comes before the guest's message or after it.
    #[inline(never)]
    fn errand_returned(&self, call: &mut Call, status: u32) -> Action {
        let Stage::InOptee(errand, _) = call.stage else {
            return self.settle(call);
        };
        self.read_reply(call, 0);
        let done = status == status::OK && call.request.result() == result::SUCCESS;
        self.note_errand(call, errand, done);
        match errand {
            Errand::Renew(handle) => self.renewed(call, handle, done),
            Errand::Retire => self.dispatch_if_wanted(call),
            // Nobody waits for the message any more.
            _ if call.caller.is_none() => self.settle(call),
            Errand::Replace(_) if done => self.register(call),
            Errand::Replace(_) => self.fail(call, result::BAD_PARAMETERS),
            Errand::Share(index, handle) if done => {
                name_shared(&call.message, index, handle, &mut call.posted);
                self.share_or_send(call)
            }
            Errand::Share(..) => self.fail(call, result::OUT_OF_MEMORY),
            Errand::Unshare(_) | Errand::Message => self.settle(call),
        }
    }

    /// Copies OP-TEE's reply with `count` parameters. No request of OP-TEE waits for an answer any
    /// more, so there is room.
    #[inline]
    fn read_reply(&self, call: &mut Call, count: usize) {
        let (page, offset) = slot(call.index);
        let reply = call.request.bytes_mut(count);
        self.ports.shadow.read(page, offset, reply);
    }

    /// Takes note of the buffer or session that a message was for, according to the reply.
    #[inline(never)]
    fn note_task(&self, call: &mut Call, status: u32) {
        let result = call.request.result();
        let done = status == status::OK && result == result::SUCCESS;
        let unknown = status == status::OK && result == result::ITEM_NOT_FOUND;
        match core::mem::replace(&mut call.task, Task::Other) {
            Task::Close(closing) if done || unknown => self.sessions.closed(closing),
            Task::Close(closing) => self.sessions.not_closed(closing),
            Task::Register(handle) if done => self.buffers.commit(handle),
            Task::Unregister(handle) if !done => self.buffers.keep(handle),
            Task::Register(handle) | Task::Unregister(handle) => self.forget(handle),
            Task::Open | Task::FindOut(_) if done => {
                let charge = core::mem::take(&mut call.charge);
                let application = call.message.application().map(Uuid);
                self.sessions
                    .opened(call.request.session(), application, charge);
            }
            // OP-TEE refused a session with an application that it did not have to load.
            Task::FindOut(name) if call.charge == Charge::default() => self
                .sessions
                .applications(|applications| applications.note_kept_alive(name)),
            Task::Open | Task::FindOut(_) | Task::Other => {}
        }
    }

    /// The message comes back with an error, and OP-TEE does not get it.
    #[inline(never)]
    pub(super) fn fail(&self, call: &mut Call, result: u32) -> Action {
        self.fail_as(call, result, result::ORIGIN_COMMS)
    }

    /// The same as OP-TEE itself would have it.
    #[inline(never)]
    pub(super) fn fail_as_optee(&self, call: &mut Call, result: u32) -> Action {
        self.fail_as(call, result, result::ORIGIN_TEE)
    }

    fn fail_as(&self, call: &mut Call, result: u32, origin: u32) -> Action {
        self.counters.refused.add(1);
        call.message.set_result(result, origin);
        if call.message.command() == command::OPEN_SESSION {
            call.message.set_session(0);
        }
        self.settle(call)
    }

    /// Takes temporary memory back from OP-TEE that it still knows, then ends the call.
    #[inline]
    pub(super) fn settle(&self, call: &mut Call) -> Action {
        if let Some(handle) = call.parameters.take_shared() {
            return self.send(call, Errand::Unshare(handle), &unregister_message(handle));
        }
        if let Some(caller) = &call.caller
            && call.status == status::OK
        {
            let bytes = call.message.bytes(call.parameters.back.count());
            self.counters.bytes_copied.add(bytes.len() as u64);
            if caller.location.write(&self.ports.memory, bytes).is_err() {
                call.status = status::EBADADDR;
            }
        }
        self.complete(call)
    }

    /// Ends the call. Memory that the guest provided for RPCs goes back to it, unless it lets the
    /// mediator keep it.
    #[inline]
    pub(super) fn complete(&self, call: &mut Call) -> Action {
        self.optee_is_done(call);
        if let Some(caller) = &mut call.caller
            && let Argument::Allocated(argument) = caller.argument
        {
            caller.argument = Argument::Missing;
            if self.shm_cache.load(Ordering::Relaxed) {
                call.cached = Some(argument);
            } else {
                call.stage = Stage::FreesArgument;
                return Action::Ask(RpcFunction::Free, smc::split(argument.cookie));
            }
        }
        Action::Finish(call.status)
    }

    /// OP-TEE is done with the call: it has nothing mapped for it any more, and the session may be
    /// closed, and the buffers taken back.
    #[inline]
    pub(super) fn optee_is_done(&self, call: &mut Call) {
        self.sessions.let_go(call.index);
        self.buffers.let_go(call.index);
        if call.core_share.is_some()
            || call.charge != Charge::default()
            || !self.window.is_settled()
        {
            self.give_back_all(call);
        }
    }

    #[inline(never)]
    fn give_back_all(&self, call: &mut Call) {
        let share = call.core_share.take();
        self.window.call_ends(share, || self.is_alone());
        if call.charge != Charge::default() {
            let charge = core::mem::take(&mut call.charge);
            self.sessions
                .applications(|applications| applications.give_back(charge));
        }
    }

    /// Whether no call but the one at hand is under way.
    pub(super) fn is_alone(&self) -> bool {
        self.slots.in_flight() <= 1
    }
}
