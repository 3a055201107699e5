//! From a guest's call to the first entry into OP-TEE.

use optee_abi::message::{CAPACITY, command, size_with};
use optee_abi::result;
use optee_abi::smc::{self, status};

use super::Action;
use crate::optee::applications::NoIdentifier;
use crate::optee::call::{Argument, Call, Caller};
use crate::optee::partition::Partition;
use crate::optee::request::{self, Unusable};
use crate::optee::sessions::{Closing, Used};
use crate::optee::shm::handle::{Handle, Kind};
use crate::optee::shm::location::Location;
use crate::optee::shm::message_area::unregister_message;
use crate::optee::stage::{Errand, Purpose, Release, Stage, Start, Task, Thread};
use crate::ports::{Cpu, Platform};
use crate::ta_access::{TaAccess, Uuid};

impl<P: Platform> Partition<P> {
    /// Begins a call, or gives it its turn.
    #[inline]
    pub(super) fn admit(&self, call: &mut Call, start: Start) -> Action {
        let Some(throttle) = &self.throttle else {
            return self.begin(call, start);
        };
        let now = self.ports.cpu.now();
        let turn = throttle.turn(now);
        if turn > now {
            self.counters.paced.add(1);
        }
        self.begin_at(call, start, turn, now)
    }

    /// Begins a call if its turn has come, else sends the guest back once more.
    pub(super) fn await_turn(&self, call: &mut Call, start: Start, turn: u64) -> Action {
        self.begin_at(call, start, turn, self.ports.cpu.now())
    }

    fn begin_at(&self, call: &mut Call, start: Start, turn: u64, now: u64) -> Action {
        if turn <= now {
            return self.begin(call, start);
        }
        call.stage = Stage::Throttled { start, turn };
        Action::ASK_TO_TAKE_INTERRUPTS
    }

    /// Begins the call that a guest makes with one of the three functions that carry a message.
    fn begin(&self, call: &mut Call, start: Start) -> Action {
        call.begin();
        let Some(location) = request::locate(start, &self.buffers) else {
            return self.refuse_call(status::EBADADDR);
        };
        let count = match self.copy_message(call, &location) {
            Ok(count) => count,
            Err(Unusable::Elsewhere) => return self.refuse_call(status::EBADADDR),
            Err(Unusable::TooLong) => {
                call.caller = Some(Caller::at(location));
                return self.fail(call, result::BAD_PARAMETERS);
            }
        };
        call.parameters.count = count;
        let room = location.len();
        let caller = call.caller.insert(Caller::at(location));
        if start.function != smc::CALL_WITH_ARG {
            if size_with(count) + size_with(self.optee.rpc_parameters) > room {
                return self.refuse_call(status::EBADADDR);
            }
            caller.argument = Argument::Follows;
        } else if let Some(cached) = call.cached.take() {
            caller.argument = Argument::Allocated(cached);
        }
        self.counters.message(call.message.command());
        self.renew_or_dispatch(call)
    }

    /// Refuses a call that did not get as far as a message.
    fn refuse_call(&self, status: u32) -> Action {
        self.counters.refused.add(1);
        Action::Finish(status)
    }

    /// Copies the guest's message, the one time that it is read, with room for all the parameters
    /// that it can have, and tells how many it has.
    fn copy_message(&self, call: &mut Call, location: &Location) -> Result<usize, Unusable> {
        let room = call.message.bytes_mut(CAPACITY);
        let copied = location.len().min(room.len());
        let bytes = room.get_mut(..copied).ok_or(Unusable::Elsewhere)?;
        location
            .read(&self.ports.memory, bytes)
            .map_err(|_| Unusable::Elsewhere)?;
        self.counters.bytes_copied.add(copied as u64);
        request::count(&call.message, copied)
    }

    /// Does what the call's message says.
    pub(super) fn dispatch(&self, call: &mut Call) -> Action {
        match call.message.command() {
            command::OPEN_SESSION => self.open_session(call),
            command::CLOSE_SESSION => self.close_session(call),
            command::INVOKE_COMMAND | command::CANCEL => self.use_session(call),
            command::DO_BOTTOM_HALF | command::STOP_ASYNC_NOTIF => self.prepare(call, false),
            command::REGISTER_SHM => self.register(call),
            command::UNREGISTER_SHM => self.unregister(call),
            // As OP-TEE says to commands that it does not know.
            _ => {
                call.status = status::EBADCMD;
                self.counters.refused.add(1);
                self.complete(call)
            }
        }
    }

    /// The guest opens a session: that is where access to trusted applications is decided.
    #[inline(never)]
    fn open_session(&self, call: &mut Call) -> Action {
        if !self.sessions.has_room() {
            return self.fail(call, result::OUT_OF_MEMORY);
        }
        let name = call.message.application().map(Uuid);
        match name {
            _ if self.access == TaAccess::All => {}
            Some(name) if self.access.allows(name) => {}
            Some(_) => {
                self.counters.opens_denied.add(1);
                return self.fail(call, result::ACCESS_DENIED);
            }
            // As OP-TEE says (get_open_session_meta, core/tee/entry_std.c, 4.5.0).
            None => return self.fail(call, result::BAD_PARAMETERS),
        }
        let (may_open, loaded) = self.sessions.applications(|applications| {
            let loaded = name.is_some_and(|name| applications.is_loaded(name));
            (applications.may_open(name), loaded)
        });
        match may_open {
            Ok(()) => {
                call.task = Task::Open;
                self.prepare(call, loaded)
            }
            Err(NoIdentifier) => {
                self.counters.instances_refused.add(1);
                self.fail(call, result::OUT_OF_MEMORY)
            }
        }
    }

    /// The guest uses a session, which has to be open: OP-TEE gets no number that it did not give
    /// this guest.
    fn use_session(&self, call: &mut Call) -> Action {
        match self.sessions.hold(call.index, call.message.session()) {
            Some(Used { loaded }) => self.prepare(call, loaded),
            // As OP-TEE says (entry_invoke_command, entry_cancel, core/tee/entry_std.c, 4.5.0).
            None => self.fail_as_optee(call, result::BAD_PARAMETERS),
        }
    }

    /// The guest closes a session. The calls that use it come to their end before.
    #[inline(never)]
    fn close_session(&self, call: &mut Call) -> Action {
        // As OP-TEE says (entry_close_session, tee_ta_close_session, 4.5.0).
        if call.parameters.count != 0 {
            return self.fail_as_optee(call, result::BAD_PARAMETERS);
        }
        match self.sessions.begin_close(call.message.session()) {
            Some(closing) => self.close_when_unused(call, closing),
            None => self.fail_as_optee(call, result::ITEM_NOT_FOUND),
        }
    }

    /// Closes the session that the call has the right to close, or waits for the calls that use it.
    pub(super) fn close_when_unused(&self, call: &mut Call, closing: Closing) -> Action {
        if self.sessions.is_unused(closing) {
            call.task = Task::Close(closing);
            return self.prepare(call, false);
        }
        call.stage = Stage::AwaitsClose(closing);
        self.pause()
    }

    /// Makes the message that OP-TEE gets and finds what it refers to. A trusted application that
    /// was `loaded` has its parameters in an address space of its own; for others OP-TEE maps them.
    fn prepare(&self, call: &mut Call, loaded: bool) -> Action {
        let count = call.parameters.count;
        let prepared = match request::prepare(
            &call.message,
            count,
            &self.buffers,
            call.index,
            !loaded,
            &mut call.posted,
        ) {
            Ok(prepared) => prepared,
            Err(result) => return self.fail(call, result),
        };
        call.parameters.back = prepared.back;
        call.parameters.temporary = prepared.temporary;
        if !loaded && !prepared.mapping.is_empty() {
            call.core_share = self.window.take_for_call(prepared.mapping);
            if call.core_share.is_none() {
                return self.fail(call, result::OUT_OF_MEMORY);
            }
        }
        self.share_or_send(call)
    }

    /// Shares what temporary memory is not shared yet, then sends the message.
    ///
    /// Temporary memory is registered with OP-TEE for the time of the call: OP-TEE up to 4.10 takes
    /// lists of pages as parameters but never drops its reference to them (`cleanup_shm_refs`
    /// compares attributes without masking them).
    pub(super) fn share_or_send(&self, call: &mut Call) -> Action {
        if let Some(index) = call.parameters.to_share() {
            return self.share(call, index);
        }
        call.rpc_slot = self.post(call.index, &call.posted, call.parameters.count);
        call.stage = Stage::InOptee(Errand::Message, Thread::Wanted);
        Action::Enter
    }

    /// Begins to share the temporary memory of the parameter at `index`.
    #[inline(never)]
    fn share(&self, call: &mut Call, index: usize) -> Action {
        let Some(mut buffer) = request::temporary(&call.message, index) else {
            return self.fail(call, result::BAD_PARAMETERS);
        };
        // A reference to no bytes at some address is no null reference, and OP-TEE knows no buffer
        // without a page.
        buffer.size = buffer.size.max(1);
        match self.announce(call, Kind::Temporary, buffer) {
            Ok(handle) => {
                call.stage = Stage::Translates(handle, Purpose::Temporary(index));
                Action::Translate
            }
            Err(reason) => self.fail(call, reason.result()),
        }
    }

    /// The guest registers a buffer. One that it registered under the same cookie before, as a
    /// kernel that is gone may have, is taken back first.
    #[inline(never)]
    pub(super) fn register(&self, call: &mut Call) -> Action {
        let Some(buffer) = request::registers(&call.message, call.parameters.count) else {
            return self.fail(call, result::BAD_PARAMETERS);
        };
        if let Some(earlier) = self.buffers.release(buffer.reference) {
            return self.release_when_unused(call, earlier, Release::Replaced);
        }
        match self.announce(call, Kind::Registered, buffer) {
            Ok(handle) => {
                call.stage = Stage::Translates(handle, Purpose::Register);
                Action::Translate
            }
            Err(reason) => self.fail(call, reason.result()),
        }
    }

    /// The guest takes a buffer back. The calls that refer to it come to their end before.
    #[inline(never)]
    fn unregister(&self, call: &mut Call) -> Action {
        let cookie = request::unregisters(&call.message, call.parameters.count);
        match cookie.and_then(|cookie| self.buffers.release(cookie)) {
            Some(handle) => self.release_when_unused(call, handle, Release::Unregistered),
            None => self.fail(call, result::BAD_PARAMETERS),
        }
    }

    /// Has OP-TEE forget a buffer, or waits for the calls that refer to it.
    #[inline(never)]
    pub(super) fn release_when_unused(
        &self,
        call: &mut Call,
        handle: Handle,
        release: Release,
    ) -> Action {
        if !self.buffers.is_unused(handle) {
            call.stage = Stage::AwaitsRelease(handle, release);
            return self.pause();
        }
        let errand = match release {
            Release::Unregistered => {
                call.task = Task::Unregister(handle);
                Errand::Message
            }
            Release::Replaced => Errand::Replace(handle),
        };
        self.send(call, errand, &unregister_message(handle))
    }
}
