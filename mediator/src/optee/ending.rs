//! The end of a guest, before OP-TEE forgets it: its calls are seen through and its sessions are closed.
//!
//! OP-TEE gives back the memory of a guest that goes without a word, but not what it took for it out of what all guests
//! share: each user TA with a session has one of 64 address space identifiers until its last session is closed (`g_asid`
//! in `core/arch/arm/mm/core_mmu.c` and `virt_put_guest` in `core/arch/arm/kernel/virtualization.c`, OP-TEE 4.5 to 4.10).
//! A guest that started again often enough would leave none to the others. (One that is kept alive without sessions, by
//! `TA_FLAG_INSTANCE_KEEP_ALIVE`, can't be ended from outside.)

use alloc::boxed::Box;

use optee_abi::message::{Message, command};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use super::call::{Call, Paused, Stage, Waiting};
use super::engine::{Entry, Flow};
use super::list::Purpose;
use super::partition::Partition;
use super::rpc::rpc_slot;
use crate::WindUp;
use crate::ports::{Cpu, GuestMemory, SecureWorld, ShadowMemory};

/// How long OP-TEE gets for what the guest left to it. A TA may take as long as it likes.
const SECONDS_MAX: u64 = 5;

/// How far a call was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// OP-TEE is done with it.
    Over,
    /// It asks for something, maybe to wait for another one.
    Asks,
    /// An interrupt has to be taken.
    Interrupted,
}

impl<W, M, S, C> Partition<W, M, S, C>
where
    W: SecureWorld,
    M: GuestMemory,
    S: ShadowMemory,
    C: Cpu,
{
    /// Goes on with the end of the guest, of which no call comes any more, until there is nothing to wind up or an
    /// interrupt has to be taken.
    pub(super) fn go_on_winding_up(&self) -> WindUp {
        let now = self.ports.cpu.now();
        let limit = SECONDS_MAX.saturating_mul(self.ports.cpu.ticks_per_second());
        let until = *self
            .winding_up_until
            .lock()
            .get_or_insert(now.saturating_add(limit));
        loop {
            if self.ports.cpu.now() >= until {
                let left = u64::from(self.slots.in_flight()) + self.sessions.count() as u64;
                return WindUp::Done { left };
            }
            if self.ports.cpu.interrupt_pending() {
                return WindUp::Interrupted;
            }
            if self.slots.idle() {
                let Some(session) = self.sessions.take() else {
                    return WindUp::Done { left: 0 };
                };
                if self.close(session) == Step::Interrupted {
                    return WindUp::Interrupted;
                }
            }
            // One may wait for what another one holds, so all of them get their turns.
            for index in 0..self.optee.threads {
                if let Some(call) = self.slots.take_parked(index)
                    && self.see_through(call) == Step::Interrupted
                {
                    return WindUp::Interrupted;
                }
            }
        }
    }

    fn close(&self, session: u32) -> Step {
        let Some(mut call) = self.slots.claim() else {
            return Step::Over;
        };
        call.begin();
        call.message = Message::new(command::CLOSE_SESSION, &[]);
        call.message.set_session(session);
        let message = call.message;
        match self.send(&mut call, &message, 0) {
            Flow::Enter(entry) => self.follow(call, entry),
            _ => Step::Over,
        }
    }

    /// Goes on with a call that was parked.
    fn see_through(&self, mut call: Box<Call>) -> Step {
        let for_rpc = |purpose| purpose == Purpose::RpcAlloc;
        let flow = match core::mem::replace(&mut call.waiting, Waiting::Nothing) {
            Waiting::Interrupt => self.back_to_optee(&call),
            Waiting::Command
            | Waiting::ArgumentAlloc
            | Waiting::BadArgumentFree
            | Waiting::RefusedFree => self.answer(&mut call, result::COMMUNICATION),
            Waiting::Pause(Paused::Translation)
                if call
                    .translation
                    .as_ref()
                    .is_some_and(|it| for_rpc(it.purpose)) =>
            {
                self.answer(&mut call, result::OUT_OF_MEMORY)
            }
            // OP-TEE knows nothing of it, or not any more.
            Waiting::Pause(_) | Waiting::ArgumentFree | Waiting::Nothing => {
                Flow::Finished(status::OK)
            }
        };
        match flow {
            Flow::Enter(entry) => self.follow(call, entry),
            _ => {
                self.optee_is_done(&mut call);
                self.slots.release(call);
                Step::Over
            }
        }
    }

    /// Enters OP-TEE, and leaves it again where it asks for something.
    fn follow(&self, mut call: Box<Call>, mut entry: Entry) -> Step {
        loop {
            let registers = self.yielding(entry.function, entry.a1_a2, entry.a3);
            let [a0, _, _, thread, ..] = self.ports.world.smc(registers);
            match Returned::from_a0(a0 as u32) {
                Returned::Done(status) => {
                    if call.stage == Stage::Message {
                        self.read_reply(&mut call, 0);
                        self.note_session(&call, status);
                    }
                    // Another guest's calls are in the way, of a session's end only: all else has its thread.
                    if status == status::ETHREAD_LIMIT {
                        self.sessions.opened(call.message.session(), None);
                    }
                    self.optee_is_done(&mut call);
                    self.slots.release(call);
                    return Step::Over;
                }
                Returned::Rpc(function) => {
                    call.thread = thread;
                    if function == RpcFunction::ForeignInterrupt {
                        call.waiting = Waiting::Interrupt;
                        self.slots.park(call);
                        return Step::Interrupted;
                    }
                    if function == RpcFunction::Command {
                        let (page, offset) = rpc_slot(&call);
                        let shadow = &self.ports.shadow;
                        shadow.read(page, offset, call.request.bytes_mut(0));
                        call.waiting = Waiting::Command;
                        self.slots.park(call);
                        return Step::Asks;
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
}
