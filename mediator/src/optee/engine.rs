//! The steps of a yielding call: translating, entering OP-TEE, and doing what its return asks for.
//!
//! A message takes one entry into OP-TEE, and two more for each parameter that is temporary memory:
//! the memory is registered before and unregistered after. Each entry can come back for the guest
//! to do something, and goes on when the guest returns.

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use super::applications::Charge;
use super::call::{Argument, Call, Paused, Stage, Waiting};
use super::flow::{Entry, Flow};
use super::partition::Partition;
use super::shm::handle::Handle;
use super::shm::message_area::{message_of, slot, unregister_message};
use super::shm::page_list::{Progress, Purpose, TranslateError};
use crate::ports::{Platform, SecureWorld, ShadowMemory};
use crate::ta_access::Uuid;
use smccc::CallRegisters;

impl<P: Platform> Partition<P> {
    /// Goes on with a call until the guest is needed or it is over.
    pub(super) fn drive(&self, mut call: Box<Call>, mut flow: Flow, registers: &mut CallRegisters) {
        loop {
            flow = match flow {
                Flow::Translate => self.translate(&mut call),
                Flow::Enter(entry) => self.enter(&mut call, entry),
                Flow::Ask(function, [a1, a2]) => {
                    let id = self.slots.park(call);
                    registers[0] = u64::from(function.a0());
                    registers[1] = a1;
                    registers[2] = a2;
                    registers[3] = u64::from(id);
                    return;
                }
                Flow::Finished(status) => {
                    self.slots.release(call);
                    registers[0] = u64::from(status);
                    return;
                }
            }
        }
    }

    /// The guest returns from what it was asked for.
    pub(super) fn resume(&self, call: &mut Call, registers: &CallRegisters) -> Flow {
        match core::mem::replace(&mut call.waiting, Waiting::Nothing) {
            Waiting::Nothing => Flow::Finished(status::ERESUME),
            Waiting::Interrupt => self.back_to_optee(call),
            Waiting::Pause(Paused::Translation) => Flow::Translate,
            Waiting::Pause(Paused::Enter(entry)) => Flow::Enter(entry),
            Waiting::Pause(Paused::CloseSession) => self.close_when_unused(call),
            Waiting::Pause(Paused::Room(memory, until)) => {
                self.take_memory(call, memory, Some(until))
            }
            Waiting::Pause(Paused::Turn(start, turn)) => self.await_turn(call, start, turn),
            Waiting::Command => self.take_reply(call),
            Waiting::ArgumentAlloc => {
                let address = smc::join(registers[1], registers[2]);
                let cookie = smc::join(registers[4], registers[5]);
                self.take_argument(call, address, cookie)
            }
            Waiting::ArgumentFree => Flow::Finished(call.status),
            Waiting::BadArgumentFree | Waiting::RefusedFree => {
                self.answer(call, result::OUT_OF_MEMORY)
            }
        }
    }

    /// Enters OP-TEE again where a thread of it is suspended.
    pub(super) fn back_to_optee(&self, call: &Call) -> Flow {
        Flow::Enter(Entry {
            function: smc::RETURN_FROM_RPC,
            a1_a2: [0, 0],
            a3: call.thread,
        })
    }

    fn translate(&self, call: &mut Call) -> Flow {
        let Some(mut translation) = call.translation.take() else {
            return self.settle(call);
        };
        match translation.advance(&mut call.words, &self.ports, &self.pool, &self.counters) {
            Ok(Progress::Complete) => {
                let handle = translation.handle;
                let list = Parameter::Temporary {
                    direction: Direction::Output,
                    list: true,
                    address: translation.address(&self.ports.shadow),
                    size: translation.size,
                    reference: handle.get(),
                };
                if translation.purpose == Purpose::Register {
                    self.buffers.describe(handle, &translation.extents);
                }
                call.lists = translation.list;
                match translation.purpose {
                    Purpose::Register => call.handles[0] = Some(handle),
                    Purpose::Temporary(index) => call.handles[index] = Some(handle),
                    Purpose::RpcAlloc => return self.answer_with_memory(call, handle, list),
                }
                let message = message_of(command::REGISTER_SHM, &[list]);
                self.send(call, &message, 1)
            }
            Ok(Progress::Interrupted) => {
                call.translation = Some(translation);
                self.pause(call, Paused::Translation)
            }
            Err(error) => {
                self.pool.give_back(&mut translation.list);
                self.forget(translation.handle);
                match (translation.purpose, error) {
                    (Purpose::RpcAlloc, _) => self.free_refused(call),
                    (_, TranslateError::BadList) => self.fail(call, result::BAD_PARAMETERS),
                    (_, TranslateError::NoShadowPage) => self.fail(call, result::OUT_OF_MEMORY),
                }
            }
        }
    }

    /// Lets the guest take an interrupt and then come back to what was stopped.
    pub(super) fn pause(&self, call: &mut Call, at: Paused) -> Flow {
        self.counters.pauses.add(1);
        call.waiting = Waiting::Pause(at);
        Flow::ASK_TO_TAKE_INTERRUPTS
    }

    fn enter(&self, call: &mut Call, entry: Entry) -> Flow {
        let Entry {
            function,
            a1_a2,
            a3,
        } = entry;
        let [a0, _, _, thread, ..] = self.ports.world.smc(self.yielding(function, a1_a2, a3));
        let returned = Returned::from_a0(a0 as u32);
        match returned {
            Returned::Rpc(RpcFunction::ForeignInterrupt) => {
                self.counters.foreign_interrupts.add(1);
                call.thread = thread;
                call.waiting = Waiting::Interrupt;
                return Flow::ASK_TO_TAKE_INTERRUPTS;
            }
            // A slot is free only when OP-TEE's thread is, so this comes only where another guest's
            // calls are in the way. The guest may have no call that it could wait for, so it tries
            // again instead.
            Returned::Done(status::ETHREAD_LIMIT) => {
                return self.pause(call, Paused::Enter(entry));
            }
            _ => {}
        }
        self.went_on(call);
        match returned {
            Returned::Rpc(function) => {
                call.thread = thread;
                match function {
                    RpcFunction::Command => self.take_request(call),
                    // OP-TEE has its RPC argument in the slot and asks for none (get_rpc_arg,
                    // thread_optee_smc.c, 4.5.0). Zeros are the answer that there is no memory;
                    // what it asks else has no answer.
                    _ => self.back_to_optee(call),
                }
            }
            Returned::Done(status) => self.returned(call, status),
        }
    }

    /// OP-TEE has gone on since it was given lists or was told that a buffer is free, other than to
    /// an interrupt.
    pub(super) fn went_on(&self, call: &mut Call) {
        self.pool.give_back(&mut call.lists);
        if let Some(handle) = call.forgetting.take() {
            self.forget(handle);
        }
    }

    /// Copies OP-TEE's reply with `count` parameters. No request of OP-TEE waits for an answer any
    /// more, so there is room.
    pub(super) fn read_reply(&self, call: &mut Call, count: usize) {
        let (page, offset) = slot(call.index);
        let reply = call.request.bytes_mut(count);
        self.ports.shadow.read(page, offset, reply);
    }

    /// Takes note of the session that the guest's message opened or closed, if it did, according to
    /// the reply.
    #[inline]
    pub(super) fn note_session(&self, call: &mut Call, status: u32) {
        if call.closing.is_some() || call.message.command() == command::OPEN_SESSION {
            self.note_opened_or_closed(call, status);
        }
    }

    #[inline(never)]
    fn note_opened_or_closed(&self, call: &mut Call, status: u32) {
        let done = status == status::OK && call.request.result() == result::SUCCESS;
        let unknown = status == status::OK && call.request.result() == result::ITEM_NOT_FOUND;
        if let Some(closing) = call.closing.take() {
            match done || unknown {
                true => self.sessions.closed(closing),
                false => self.sessions.not_closed(closing),
            }
        }
        if done && call.message.command() == command::OPEN_SESSION {
            let charge = core::mem::take(&mut call.charge);
            let application = call.message.application().map(Uuid);
            self.sessions
                .opened(call.request.session(), application, charge);
        }
    }

    /// Takes note of which buffers OP-TEE knows, according to whether it has `done` what it was
    /// last sent.
    #[inline]
    pub(super) fn note_buffers(&self, call: &mut Call, done: bool) {
        let registers = matches!(
            call.message.command(),
            command::REGISTER_SHM | command::UNREGISTER_SHM
        );
        if registers || call.stage != Stage::Message {
            self.note_registered(call, done);
        }
    }

    #[inline(never)]
    fn note_registered(&self, call: &mut Call, done: bool) {
        match (call.stage, call.message.command()) {
            (Stage::Replace(handle), _) if done => self.forget(handle),
            (Stage::Replace(handle), _) => self.buffers.keep(handle),
            (Stage::Share(index), _) => {
                if done && let Some(handle) = call.handles[index] {
                    call.shared |= 1 << index;
                    self.buffers.commit(handle);
                } else if let Some(handle) = call.handles[index].take() {
                    self.forget(handle);
                }
            }
            // Memory that OP-TEE does not let go of stays pinned until the partition ends.
            (Stage::Unshare(index), _) => {
                if done && let Some(handle) = call.handles[index].take() {
                    self.forget(handle);
                }
            }
            (Stage::Message, command::REGISTER_SHM) => match call.handles[0] {
                Some(handle) if done => self.buffers.commit(handle),
                Some(handle) => self.forget(handle),
                None => {}
            },
            (Stage::Message, command::UNREGISTER_SHM) => match call.handles[0] {
                Some(handle) if done => self.forget(handle),
                Some(handle) => self.buffers.keep(handle),
                None => {}
            },
            (Stage::Renew(_) | Stage::Retire | Stage::Message, _) => {}
        }
    }

    /// OP-TEE is done with what it was last sent.
    fn returned(&self, call: &mut Call, status: u32) -> Flow {
        let stage = call.stage;
        let count = if stage == Stage::Message {
            call.back.count()
        } else {
            0
        };
        self.read_reply(call, count);
        let done = status == status::OK && call.request.result() == result::SUCCESS;
        self.note_buffers(call, done);
        match stage {
            Stage::Renew(known) => self.renewed(call, known, done),
            Stage::Retire => self.dispatch(call),
            Stage::Replace(_) if done => {
                call.stage = Stage::Message;
                self.register(call)
            }
            Stage::Replace(_) => self.fail(call, result::BAD_PARAMETERS),
            Stage::Share(index) => match call.handles[index] {
                Some(handle) => self.shared(call, index, handle),
                None => self.fail(call, result::OUT_OF_MEMORY),
            },
            Stage::Message => {
                call.status = status;
                self.note_session(call, status);
                take_results(call);
                self.settle(call)
            }
            Stage::Unshare(_) => self.settle(call),
        }
    }

    /// Writes a message with `count` parameters to the call's slot and enters OP-TEE with it.
    pub(super) fn send(&self, call: &mut Call, message: &Message, count: usize) -> Flow {
        self.post(call.index, message, count);
        self.sent(call, count)
    }

    /// Writes a message with `count` parameters to the slot at `index`.
    pub(super) fn post(&self, index: usize, message: &Message, count: usize) {
        let (page, offset) = slot(index);
        self.ports.shadow.write(page, offset, message.bytes(count));
    }

    /// Enters OP-TEE with the message with `count` parameters that lies in the call's slot.
    pub(super) fn sent(&self, call: &mut Call, count: usize) -> Flow {
        call.sent_count = count;
        Flow::Enter(Entry {
            function: smc::CALL_WITH_REGD_ARG,
            a1_a2: smc::split(call.known.handle.get()),
            a3: call.known.offset,
        })
    }

    /// The message comes back with an error, and OP-TEE does not get it.
    #[inline(never)]
    pub(super) fn fail(&self, call: &mut Call, result: u32) -> Flow {
        self.fail_as(call, result, result::ORIGIN_COMMS)
    }

    /// The same as OP-TEE itself would have it.
    #[inline(never)]
    pub(super) fn fail_as_optee(&self, call: &mut Call, result: u32) -> Flow {
        self.fail_as(call, result, result::ORIGIN_TEE)
    }

    fn fail_as(&self, call: &mut Call, result: u32, origin: u32) -> Flow {
        self.counters.refused.add(1);
        call.message.set_result(result, origin);
        if call.message.command() == command::OPEN_SESSION {
            call.message.set_session(0);
        }
        self.settle(call)
    }

    /// Takes temporary memory back from OP-TEE that it still knows, then ends the call.
    fn settle(&self, call: &mut Call) -> Flow {
        if let Some(handle) = self.next_to_unshare(call) {
            return self.send(call, &unregister_message(handle), 1);
        }
        if call.status == status::OK {
            let bytes = call.message.bytes(call.back.count());
            self.counters.bytes_copied.add(bytes.len() as u64);
            if call.location.write(&self.ports.memory, bytes).is_err() {
                call.status = status::EBADADDR;
            }
        }
        self.complete(call)
    }

    /// The next temporary memory that OP-TEE still knows, for the call to take it back.
    pub(super) fn next_to_unshare(&self, call: &mut Call) -> Option<Handle> {
        while call.shared != 0 {
            let index = call.shared.trailing_zeros() as usize;
            call.shared &= call.shared - 1;
            if let Some(handle) = call.handles[index] {
                call.stage = Stage::Unshare(index);
                return Some(handle);
            }
        }
        None
    }

    /// OP-TEE is done with the call: it has nothing mapped for it any more, and the session may be
    /// closed.
    #[inline]
    pub(super) fn optee_is_done(&self, call: &mut Call) {
        self.sessions.let_go(call.index);
        if call.core_share.is_some()
            || call.closing.is_some()
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
        if let Some(closing) = call.closing.take() {
            self.sessions.not_closed(closing);
        }
    }

    /// Whether no call but the one at hand is under way.
    pub(super) fn is_alone(&self) -> bool {
        self.slots.in_flight() <= 1
    }

    /// Ends the call. Memory that the guest provided for RPCs goes back to it, unless it lets the
    /// mediator keep it.
    pub(super) fn complete(&self, call: &mut Call) -> Flow {
        self.optee_is_done(call);
        if let Argument::Allocated(argument) =
            core::mem::replace(&mut call.argument, Argument::Missing)
        {
            if self.shm_cache.load(Ordering::Relaxed) {
                call.cached = Some(argument);
            } else {
                call.waiting = Waiting::ArgumentFree;
                return Flow::Ask(RpcFunction::Free, smc::split(argument.cookie));
            }
        }
        Flow::Finished(call.status)
    }
}

/// Takes over what a message brings back, field by field, each as the message itself says: the
/// result, the session that was opened, values that go out, and sizes of memory that goes out.
fn take_results(call: &mut Call) {
    let (message, reply) = (&mut call.message, &call.request);
    message.set_result(reply.result(), reply.origin());
    if message.command() == command::OPEN_SESSION {
        message.set_session(reply.session());
    }
    call.back.take(message, reply);
}
