//! What OP-TEE asks for in the middle of a call: asking the guest, and answering OP-TEE.

use optee_abi::message::{Parameter, command, size_with};
use optee_abi::result;
use optee_abi::rpc as commands;
use optee_abi::smc::{self, RpcFunction};

use super::Action;
use super::sharing::Refused;
use crate::optee::applications::{Charge, NoIdentifier};
use crate::optee::back::Back;
use crate::optee::call::{Allocated, Argument, Call};
use crate::optee::partition::Partition;
use crate::optee::rpc;
use crate::optee::shm::handle::{Handle, Kind};
use crate::optee::shm::location::Location;
use crate::optee::shm::page_list::Memory;
use crate::optee::stage::{Asked, Task, Until};
use crate::ports::{Cpu, Platform, ShadowMemory};
use crate::ta_access::Uuid;
use addresses::Ipa;

/// How long a call waits for room in OP-TEE's address space that other calls of the guest have.
const ROOM_SECONDS_MAX: u64 = 2;

impl<P: Platform> Partition<P> {
    /// OP-TEE has a command for the guest: copies it once and makes the one that the guest gets.
    #[inline(always)]
    pub(super) fn take_request(&self, call: &mut Call) -> Action {
        self.counters.rpcs.add(1);
        let (page, offset) = call.rpc_slot;
        let room = self.optee.rpc_parameters;
        self.ports
            .shadow
            .read(page, offset, call.request.bytes_mut(room));
        match self.translate_request(call, room) {
            Ok(asked) => self.deliver(call, asked),
            Err(result) => self.answer(call, result),
        }
    }

    /// Makes the guest's version of a request that has `room` parameters at most. An error is the
    /// result for OP-TEE.
    #[inline(always)]
    fn translate_request(&self, call: &mut Call, room: usize) -> Result<Asked, u32> {
        let count = match call.request.count() {
            Ok(count) if count <= room => count,
            _ => return Err(result::BAD_PARAMETERS),
        };
        let command = call.request.command();
        if !rpc::is_known(command) {
            return Err(result::NOT_SUPPORTED);
        }
        if command == commands::SHM_FREE {
            self.free_provided(call)?;
            return Ok(Asked::Command(Back::default()));
        }
        if let Err(NoIdentifier) = self.note_applications(call, command) {
            self.counters.instances_refused.add(1);
            return Err(result::OUT_OF_MEMORY);
        }
        let back = rpc::for_guest(&call.request, count, &self.buffers, &mut call.command)?;
        match command {
            commands::SHM_ALLOC if count == 0 => Err(result::BAD_PARAMETERS),
            commands::SHM_ALLOC => Ok(Asked::Memory),
            _ => Ok(Asked::Command(back)),
        }
    }

    /// Takes note of what a request says about trusted applications. A call that opens a session
    /// takes an instance of one where OP-TEE reads files for it; and of what the guest is to load,
    /// there is a record. Of what is not loaded OP-TEE lets go, on all versions.
    #[inline(always)]
    fn note_applications(&self, call: &mut Call, command: u32) -> Result<(), NoIdentifier> {
        let opens = match call.task {
            Task::Open => true,
            Task::FindOut(_) => {
                // What OP-TEE reads files for, it did not have.
                if rpc::is_about_files(command) {
                    self.note_instance(call);
                }
                return Ok(());
            }
            _ => false,
        };
        match command {
            // Where nobody is left to load it, nothing will be.
            commands::LOAD_TA if call.caller.is_some() => self.note_load(call),
            _ if opens && rpc::is_about_files(command) => {
                self.note_instance(call);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// OP-TEE has taken an instance of a trusted application for the call.
    fn note_instance(&self, call: &mut Call) {
        if call.charge == Charge::default() {
            self.sessions
                .applications(|applications| applications.note_own(&mut call.charge));
        }
    }

    /// OP-TEE has the guest load a trusted application, or a library of one: takes note of it, and
    /// of whether it is the one that the call opens.
    #[inline(never)]
    fn note_load(&self, call: &mut Call) -> Result<(), NoIdentifier> {
        let (asked, asks_for_size) = rpc::loads(&call.request);
        let opens = call.message.command() == command::OPEN_SESSION
            && call.message.application().map(Uuid) == Some(asked);
        self.sessions.applications(|applications| match opens {
            true => applications.note_own_loaded(&mut call.charge, asked, asks_for_size),
            false => applications.note_other_loaded(&mut call.charge, asked, asks_for_size),
        })
    }

    /// OP-TEE frees memory that the guest had provided. The guest may use the cookie anew at once;
    /// the pages stay pinned until OP-TEE has gone on.
    fn free_provided(&self, call: &mut Call) -> Result<(), u32> {
        let (kind, handle) = rpc::frees(&call.request).ok_or(result::BAD_PARAMETERS)?;
        let cookie = self.buffers.free(handle).ok_or(result::BAD_PARAMETERS)?;
        call.forgetting = Some(handle);
        call.command = rpc::free_command(kind, cookie);
        Ok(())
    }

    /// Gives the guest the command, and asks for memory to put it in first where there is none.
    #[inline(always)]
    fn deliver(&self, call: &mut Call, asked: Asked) -> Action {
        let Some(caller) = &mut call.caller else {
            // There is nobody to read it; the call is parked all the same, so that others get their
            // turns.
            call.wait(Until::Done(asked));
            return Action::Ask(RpcFunction::Command, [0, 0]);
        };
        if caller.argument == Argument::Follows {
            let sent = size_with(call.parameters.count);
            match caller.location.part(sent, self.rpc_size()) {
                Some(location) => caller.argument = Argument::Here(location),
                None => return self.answer(call, result::COMMUNICATION),
            }
        }
        let (location, cookie) = match &caller.argument {
            Argument::Here(location) => (location, 0),
            Argument::Allocated(Allocated { location, cookie }) => (location, *cookie),
            Argument::Follows | Argument::Missing => {
                call.wait(Until::ArgumentProvided(asked));
                return Action::Ask(RpcFunction::Alloc, [self.rpc_size() as u64, 0]);
            }
        };
        let bytes = call.command.bytes(call.command.count().unwrap_or(0));
        if location.write(&self.ports.memory, bytes).is_err() {
            self.counters.refused.add(1);
            if let Argument::Allocated(Allocated { cookie, .. }) = caller.argument {
                caller.argument = Argument::Missing;
                return self.free_argument(call, cookie);
            }
            return self.answer(call, result::COMMUNICATION);
        }
        self.counters.bytes_copied.add(bytes.len() as u64);
        call.wait(Until::Done(asked));
        Action::Ask(RpcFunction::Command, smc::split(cookie))
    }

    /// Bytes that a guest has for what OP-TEE asks of it.
    fn rpc_size(&self) -> usize {
        size_with(self.optee.rpc_parameters)
    }

    /// The guest provides memory for RPCs, or none.
    #[inline(never)]
    pub(super) fn take_argument(
        &self,
        call: &mut Call,
        address: u64,
        cookie: u64,
        asked: Asked,
    ) -> Action {
        let start = Ipa(address);
        if address == 0 || !start.is_aligned(8) {
            self.counters.refused.add(1);
            return self.free_argument(call, cookie);
        }
        let location = Location::contiguous(start, self.rpc_size());
        if let Some(caller) = &mut call.caller {
            caller.argument = Argument::Allocated(Allocated { location, cookie });
        }
        self.deliver(call, asked)
    }

    /// The guest's memory for RPCs is none: it gets it back, where it has a cookie, and OP-TEE gets
    /// an error.
    fn free_argument(&self, call: &mut Call, cookie: u64) -> Action {
        if cookie == 0 {
            return self.answer(call, result::OUT_OF_MEMORY);
        }
        call.wait(Until::ArgumentFreed);
        Action::Ask(RpcFunction::Free, smc::split(cookie))
    }

    /// The guest has done what it was commanded: copies the reply once and takes over what OP-TEE's
    /// request says that it brings back.
    #[inline(always)]
    pub(super) fn take_reply(&self, call: &mut Call, asked: Asked) -> Action {
        let back = match asked {
            Asked::Command(back) => back,
            Asked::Memory => Back::default(),
            Asked::FreeRefused => return self.answer(call, result::OUT_OF_MEMORY),
        };
        let location = match call.caller.as_ref().map(|caller| &caller.argument) {
            Some(Argument::Here(location) | Argument::Allocated(Allocated { location, .. })) => {
                location
            }
            _ => return self.answer(call, result::COMMUNICATION),
        };
        let count = match asked {
            Asked::Memory => 1,
            _ => back.count(),
        };
        let reply = &mut call.command;
        let bytes = reply.bytes_mut(count);
        if location.read(&self.ports.memory, bytes).is_err() {
            return self.answer(call, result::COMMUNICATION);
        }
        self.counters.bytes_copied.add(bytes.len() as u64);
        if asked == Asked::Memory && reply.result() == result::SUCCESS {
            return self.take_provided(call);
        }
        rpc::take_reply(&mut call.request, reply, back);
        self.write_answer(call, back.count())
    }

    /// The guest says that it provides memory that OP-TEE asked for.
    #[inline(never)]
    fn take_provided(&self, call: &mut Call) -> Action {
        let (kind, wanted) = rpc::wants(&call.request);
        let Some((memory, suffices)) = rpc::provided(&call.command, wanted) else {
            self.counters.refused.add(1);
            return self.answer(call, result::BAD_PARAMETERS);
        };
        // In case it has to go back.
        call.command = rpc::free_command(kind, memory.reference);
        if suffices {
            self.take_memory(call, memory, None)
        } else {
            self.free_refused(call)
        }
    }

    /// Shares memory that the guest provides. Where OP-TEE has no room for it beside what other
    /// calls of the guest have mapped, those get some time to end.
    pub(super) fn take_memory(
        &self,
        call: &mut Call,
        memory: Memory,
        until: Option<u64>,
    ) -> Action {
        match self.announce(call, Kind::Rpc, memory) {
            Ok(handle) => {
                call.wait(Until::Translated(handle));
                Action::Translate
            }
            // To have the guest free it would pull it from under whom it belongs to.
            Err(Refused::CookieInUse) => {
                self.counters.refused.add(1);
                self.answer(call, result::BAD_PARAMETERS)
            }
            Err(Refused::NoRoom) => {
                let now = self.ports.cpu.now();
                let until = until.unwrap_or_else(|| {
                    let wait = ROOM_SECONDS_MAX.saturating_mul(self.ports.cpu.ticks_per_second());
                    now.saturating_add(wait)
                });
                if now < until && !self.is_alone() {
                    call.wait(Until::Room(memory, until));
                    return self.pause();
                }
                self.free_refused(call)
            }
            Err(Refused::Malformed | Refused::Limit) => self.free_refused(call),
        }
    }

    /// Has the guest free memory that it provided and that can't be used. OP-TEE gets an error
    /// then.
    #[inline(never)]
    pub(super) fn free_refused(&self, call: &mut Call) -> Action {
        self.counters.refused.add(1);
        self.deliver(call, Asked::FreeRefused)
    }

    /// Tells OP-TEE of the memory that the guest provided.
    #[inline(never)]
    pub(super) fn answer_with_memory(
        &self,
        call: &mut Call,
        handle: Handle,
        memory: Parameter,
    ) -> Action {
        self.buffers.commit(handle);
        call.request.set_parameter(0, memory);
        call.request
            .set_result(result::SUCCESS, result::ORIGIN_COMMS);
        self.write_answer(call, 1)
    }

    /// Answers OP-TEE's request with nothing but a result.
    #[inline(never)]
    pub(super) fn answer(&self, call: &mut Call, result: u32) -> Action {
        call.request.set_result(result, result::ORIGIN_COMMS);
        self.write_answer(call, 0)
    }

    /// Writes the answer, with `count` parameters, to where OP-TEE had its request.
    #[inline(always)]
    fn write_answer(&self, call: &mut Call, count: usize) -> Action {
        let (page, offset) = call.rpc_slot;
        self.ports
            .shadow
            .write(page, offset, call.request.bytes(count));
        self.back_to_optee(call)
    }
}
