//! A new yielding call: copying the guest's message, checking it, and making the one that OP-TEE
//! gets.

use optee_abi::message::{CAPACITY, Parameter, TooManyParameters, command, size_with};
use optee_abi::pagelist::{PAGE_SIZE, pages_spanned};
use optee_abi::result;
use optee_abi::smc::{self, status};

use super::applications::NoIdentifier;
use super::call::{Argument, Call, Paused, Stage, Waiting};
use super::core_window::Mapping;
use super::flow::{Flow, Start};
use super::partition::Partition;
use super::sessions::Used;
use super::shm::buffers::ReferenceError;
use super::shm::handle::Handle;
use super::shm::location::Location;
use super::shm::message_area::{SLOT_BYTES, unregister_message};
use super::shm::page_list::{Memory, Purpose};
use crate::ports::{Cpu, Platform};
use crate::ta_access::{TaAccess, Uuid};
use addresses::Ipa;

impl<P: Platform> Partition<P> {
    /// Begins a call, or gives it its turn.
    pub(super) fn admit(&self, call: &mut Call, start: Start) -> Flow {
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
    pub(super) fn await_turn(&self, call: &mut Call, start: Start, turn: u64) -> Flow {
        self.begin_at(call, start, turn, self.ports.cpu.now())
    }

    fn begin_at(&self, call: &mut Call, start: Start, turn: u64, now: u64) -> Flow {
        if turn <= now {
            return self.begin(call, start);
        }
        call.waiting = Waiting::Pause(Paused::Turn(start, turn));
        Flow::ASK_TO_TAKE_INTERRUPTS
    }

    /// Begins the call that a guest makes with one of the three functions that carry a message.
    pub(super) fn begin(&self, call: &mut Call, start: Start) -> Flow {
        call.begin();
        let Start {
            function,
            arguments: [a1, a2, a3],
        } = start;
        let named = smc::join(a1, a2);
        let location = match function {
            smc::CALL_WITH_REGD_ARG => {
                let offset = u64::from(a3 as u32);
                self.buffers
                    .location(named, offset, SLOT_BYTES)
                    .filter(|location| location.is_aligned(8))
            }
            // OP-TEE takes only whole pages, too (std_entry_with_parg, thread_optee_smc.c, 4.5.0).
            _ if Ipa(named).is_aligned(PAGE_SIZE) => {
                Some(Location::contiguous(Ipa(named), PAGE_SIZE as usize))
            }
            _ => None,
        };
        let Some(location) = location else {
            return self.refuse_call(status::EBADADDR);
        };
        let Ok(count) = self.copy_message(call, &location) else {
            return self.refuse_call(status::EBADADDR);
        };
        call.location = location;
        let Some(count) = count else {
            return self.fail(call, result::BAD_PARAMETERS);
        };
        call.count = count;
        if function != smc::CALL_WITH_ARG {
            if size_with(count) + size_with(self.optee.rpc_parameters) > location.len() {
                return self.refuse_call(status::EBADADDR);
            }
            call.argument = Argument::Follows;
        } else if let Some(cached) = call.cached.take() {
            call.argument = Argument::Allocated(cached);
        }
        self.counters.message(call.message.command());
        self.renew_or_dispatch(call)
    }

    /// Does what the call's message says.
    pub(super) fn dispatch(&self, call: &mut Call) -> Flow {
        call.stage = Stage::Message;
        match call.message.command() {
            command::OPEN_SESSION => self.open_session(call),
            command::CLOSE_SESSION => self.close_session(call),
            command::INVOKE_COMMAND | command::CANCEL => self.use_session(call),
            command::DO_BOTTOM_HALF | command::STOP_ASYNC_NOTIF => {
                self.check_parameters(call, false)
            }
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
    fn open_session(&self, call: &mut Call) -> Flow {
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
            Ok(()) => self.check_parameters(call, loaded),
            Err(NoIdentifier) => {
                self.counters.instances_refused.add(1);
                self.fail(call, result::OUT_OF_MEMORY)
            }
        }
    }

    /// The guest uses a session, which has to be open: OP-TEE gets no number that it did not give
    /// this guest.
    fn use_session(&self, call: &mut Call) -> Flow {
        match self.sessions.hold(call.index, call.message.session()) {
            Some(Used { loaded }) => self.check_parameters(call, loaded),
            // As OP-TEE says (entry_invoke_command, entry_cancel, core/tee/entry_std.c, 4.5.0).
            None => self.fail_as_optee(call, result::BAD_PARAMETERS),
        }
    }

    /// Refuses a call that did not get as far as a message.
    fn refuse_call(&self, status: u32) -> Flow {
        self.counters.refused.add(1);
        Flow::Finished(status)
    }

    /// Copies the guest's message, the one time that it is read, with room for all the parameters
    /// that it can have, and tells how many it says it has. `None` if they are more than any
    /// command takes.
    fn copy_message(&self, call: &mut Call, location: &Location) -> Result<Option<usize>, ()> {
        let room = call.message.bytes_mut(CAPACITY);
        let copied = location.len().min(room.len());
        let bytes = room.get_mut(..copied).ok_or(())?;
        location.read(&self.ports.memory, bytes).map_err(|_| ())?;
        self.counters.bytes_copied.add(copied as u64);
        if copied < size_with(0) {
            return Err(());
        }
        match call.message.count() {
            Ok(count) if size_with(count) <= copied => Ok(Some(count)),
            Ok(_) | Err(TooManyParameters::ForAPage(_)) => Err(()),
            Err(TooManyParameters::ForAnyCommand(_)) => Ok(None),
        }
    }

    /// The guest closes a session. The calls that use it come to their end before.
    #[inline(never)]
    fn close_session(&self, call: &mut Call) -> Flow {
        // As OP-TEE says (entry_close_session, tee_ta_close_session, 4.5.0).
        if call.count != 0 {
            return self.fail_as_optee(call, result::BAD_PARAMETERS);
        }
        call.closing = self.sessions.begin_close(call.message.session());
        self.close_when_unused(call)
    }

    /// Closes the session that the call has the right to close, or waits for the calls that use it.
    pub(super) fn close_when_unused(&self, call: &mut Call) -> Flow {
        match call.closing {
            None => self.fail_as_optee(call, result::ITEM_NOT_FOUND),
            Some(closing) if self.sessions.is_unused(closing) => self.check_parameters(call, false),
            Some(_) => self.pause(call, Paused::CloseSession),
        }
    }

    /// Checks the parameters of a message, finds what they refer to, and notes what they bring
    /// back. A trusted application that was `loaded` has them in an address space of its own; for
    /// others OP-TEE maps them.
    fn check_parameters(&self, call: &mut Call, loaded: bool) -> Flow {
        let mapping = match self.follow_references(call) {
            Ok(mapping) => mapping,
            Err(result) => return self.fail(call, result),
        };
        if !loaded && !mapping.is_empty() {
            call.core_share = self.window.take_for_call(mapping);
            if call.core_share.is_none() {
                return self.fail(call, result::OUT_OF_MEMORY);
            }
        }
        self.proceed(call)
    }

    /// Makes the message that OP-TEE gets: what refers to buffers refers to them by handle, and
    /// what is temporary memory to none yet. Gives what it takes to map them, or what is wrong with
    /// one.
    fn follow_references(&self, call: &mut Call) -> Result<Mapping, u32> {
        let Call {
            message, posted, ..
        } = call;
        let mut mapping = Mapping::default();
        let mut registered = None;
        let mut named_before = 0_u8;
        posted.copy_header(message);
        if !matches!(
            message.command(),
            command::DO_BOTTOM_HALF | command::STOP_ASYNC_NOTIF
        ) {
            // An OP-TEE that says that all went well, and wrote nothing, does not count as success.
            // To messages about notifications it writes nothing.
            posted.set_result(result::GENERIC, result::ORIGIN_COMMS);
        }
        for index in (0..CAPACITY).take(call.count) {
            let bit = 1 << index;
            posted.copy_parameter(index, message);
            match message.parameter(index) {
                Ok(Parameter::None) => {}
                Ok(Parameter::Value { direction, .. }) => {
                    call.back.note_value(bit, direction);
                }
                Ok(Parameter::Registered {
                    direction,
                    offset,
                    size,
                    reference,
                }) => {
                    let (handle, of_buffer) = registered
                        .get_or_insert_with(|| self.buffers.registered())
                        .refer(reference, offset, size)
                        // As OP-TEE says (set_rmem_param, core/tee/entry_std.c, 4.5.0).
                        .map_err(|reason| match reason {
                            ReferenceError::Unknown => result::BAD_PARAMETERS,
                            ReferenceError::OutOfBounds => result::SECURITY,
                        })?;
                    // OP-TEE maps a buffer once, however often it is referred to.
                    let named = |earlier: usize| {
                        named_before & (1 << earlier) != 0
                            && posted.words(earlier)[2] == handle.get()
                    };
                    if !(0..index).any(named) {
                        mapping.add(of_buffer);
                    }
                    named_before |= bit;
                    posted.set_reference(index, handle.get());
                    call.back.note_memory(bit, direction);
                }
                Ok(Parameter::Temporary {
                    direction,
                    address,
                    size,
                    ..
                }) => {
                    posted.set_parameter(index, Parameter::null(direction, size));
                    if address != 0 {
                        call.temporary |= bit;
                        // What spans no number of pages is refused when it is to be shared.
                        let spanned = pages_spanned(Ipa(address).page_offset(), size.max(1));
                        mapping.add(spanned.unwrap_or(0));
                    }
                    call.back.note_memory(bit, direction);
                }
                Err(_) => return Err(result::BAD_PARAMETERS),
            }
        }
        Ok(mapping)
    }

    /// Shares what temporary memory is not shared yet, then sends the message.
    ///
    /// Temporary memory is registered with OP-TEE for the time of the call: OP-TEE up to 4.10 takes
    /// lists of pages as parameters but never drops its reference to them (`cleanup_shm_refs`
    /// compares attributes without masking them).
    pub(super) fn proceed(&self, call: &mut Call) -> Flow {
        let left = call.temporary & !call.shared;
        if left != 0 {
            return self.share(call, left.trailing_zeros() as usize);
        }
        call.stage = Stage::Message;
        self.post(call.index, &call.posted, call.count);
        self.sent(call, call.count)
    }

    /// OP-TEE knows the temporary memory of the parameter at `index` now: the message names it by
    /// its handle.
    pub(super) fn shared(&self, call: &mut Call, index: usize, handle: Handle) -> Flow {
        let Ok(Parameter::Temporary {
            direction, size, ..
        }) = call.message.parameter(index)
        else {
            return self.fail(call, result::GENERIC);
        };
        let buffer = Parameter::Registered {
            direction,
            offset: 0,
            size,
            reference: handle.get(),
        };
        call.posted.set_parameter(index, buffer);
        self.proceed(call)
    }

    /// Begins to share the temporary memory of the parameter at `index`.
    #[inline(never)]
    fn share(&self, call: &mut Call, index: usize) -> Flow {
        call.stage = Stage::Share(index);
        let Ok(Parameter::Temporary {
            list,
            address,
            size,
            reference,
            ..
        }) = call.message.parameter(index)
        else {
            return self.fail(call, result::BAD_PARAMETERS);
        };
        // A reference to no bytes at some address is no null reference, and OP-TEE knows no buffer
        // without a page.
        let buffer = Memory {
            list,
            address,
            size: size.max(1),
            reference,
        };
        match self.announce(call, Purpose::Temporary(index), buffer) {
            Ok(()) => Flow::Translate,
            Err(reason) => self.fail(call, reason.result()),
        }
    }

    /// The guest registers a buffer. One that it registered under the same cookie before, as a
    /// kernel that is gone may have, is taken back first.
    #[inline(never)]
    pub(super) fn register(&self, call: &mut Call) -> Flow {
        let Ok(Parameter::Temporary {
            list,
            address,
            size,
            reference,
            ..
        }) = call.message.parameter(0)
        else {
            return self.fail(call, result::BAD_PARAMETERS);
        };
        if call.count != 1 || address == 0 || size == 0 {
            return self.fail(call, result::BAD_PARAMETERS);
        }
        if let Some(earlier) = self.buffers.release(reference) {
            call.stage = Stage::Replace(earlier);
            return self.send(call, &unregister_message(earlier), 1);
        }
        let buffer = Memory {
            list,
            address,
            size,
            reference,
        };
        match self.announce(call, Purpose::Register, buffer) {
            Ok(()) => Flow::Translate,
            Err(reason) => self.fail(call, reason.result()),
        }
    }

    /// The guest takes a buffer back. OP-TEE waits until no call refers to it any more.
    #[inline(never)]
    fn unregister(&self, call: &mut Call) -> Flow {
        let handle = match call.message.parameter(0) {
            Ok(Parameter::Registered { reference, .. }) if call.count == 1 => {
                self.buffers.release(reference)
            }
            _ => None,
        };
        let Some(handle) = handle else {
            return self.fail(call, result::BAD_PARAMETERS);
        };
        call.handles[0] = Some(handle);
        self.send(call, &unregister_message(handle), 1)
    }
}
