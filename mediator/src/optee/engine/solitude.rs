//! Calls for which there is no guest: those of a kernel that is gone, and the mediator's own.

use optee_abi::message::{Direction, Message, Parameter, command, uuid_words};
use optee_abi::result;
use optee_abi::smc::status;

use super::{Action, Own};
use crate::optee::call::Call;
use crate::optee::partition::Partition;
use crate::optee::shm::message_area::{message_of, unregister_message};
use crate::optee::stage::{Errand, Stage, Task, Thread, Until};
use crate::ports::Platform;
use crate::ta_access::Uuid;

impl<P: Platform> Partition<P> {
    /// Nobody does what OP-TEE asks for any more: it gets errors, and ends the call. What did not
    /// reach it does not begin, but for what ends something.
    #[inline(never)]
    pub(super) fn guest_is_gone(&self, call: &mut Call) -> Action {
        call.caller = None;
        match call.stage {
            Stage::InOptee(_, Thread::Suspended(_, until)) => match until {
                Until::Now | Until::InterruptTaken => self.back_to_optee(call),
                Until::Done(_) | Until::ArgumentProvided(_) | Until::ArgumentFreed => {
                    self.answer(call, result::COMMUNICATION)
                }
                Until::Room(..) => self.answer(call, result::OUT_OF_MEMORY),
                Until::Translated(handle) => {
                    self.stop_translation(call, handle);
                    self.answer(call, result::OUT_OF_MEMORY)
                }
            },
            Stage::InOptee(Errand::Unshare(_) | Errand::Retire, _) => Action::Enter,
            Stage::InOptee(Errand::Message, _) if ends_something(call.task) => Action::Enter,
            _ => {
                self.drop_unentered(call);
                // What OP-TEE knows of its memory by now, it is to forget.
                self.settle(call)
            }
        }
    }

    /// Ends a call for which OP-TEE has no thread, without entering OP-TEE.
    pub(in crate::optee) fn drop_unentered(&self, call: &mut Call) {
        match call.stage {
            Stage::Translates(handle, _) => self.stop_translation(call, handle),
            Stage::AwaitsClose(closing) => self.sessions.not_closed(closing),
            Stage::AwaitsRelease(handle, _) => self.buffers.keep(handle),
            Stage::InOptee(errand, _) => self.note_errand(call, errand, false),
            Stage::Throttled { .. } | Stage::FreesArgument | Stage::Idle => {}
        }
        match core::mem::replace(&mut call.task, Task::Other) {
            Task::Register(handle) => self.forget(handle),
            Task::Unregister(handle) => self.buffers.keep(handle),
            Task::Close(closing) => self.sessions.not_closed(closing),
            Task::Open | Task::FindOut(_) | Task::Other => {}
        }
        self.pool.give_back(&mut call.lists);
        self.optee_is_done(call);
    }

    /// Begins a call of the mediator's own.
    #[inline(never)]
    pub(super) fn begin_own(&self, call: &mut Call, own: Own) -> Action {
        call.begin();
        call.caller = None;
        let (task, message, count) = match own {
            Own::CloseSession(closing) => {
                let mut message = message_of(command::CLOSE_SESSION, &[]);
                message.set_session(closing.session());
                (Task::Close(closing), message, 0)
            }
            Own::Unregister(handle) => (Task::Unregister(handle), unregister_message(handle), 1),
            Own::FindOutWhetherKeptAlive(name) => {
                (Task::FindOut(name), opening(name), OPENING_PARAMETERS)
            }
        };
        call.task = task;
        call.message = message;
        call.parameters.count = count;
        call.status = status::OK;
        call.rpc_slot = self.post(call.index, &message, count);
        call.stage = Stage::InOptee(Errand::Message, Thread::Wanted);
        Action::Enter
    }
}

/// Whether a call leaves less than there was before.
fn ends_something(task: Task) -> bool {
    match task {
        Task::Close(_) | Task::Unregister(_) | Task::FindOut(_) => true,
        Task::Open | Task::Register(_) | Task::Other => false,
    }
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
