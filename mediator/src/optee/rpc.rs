//! What OP-TEE asks of a guest in the middle of a call, and the guest's answers.

use optee_abi::message::{Direction, Message, Parameter, command, size_with, uuid_octets};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction};

use super::applications::{Charge, NoIdentifier};
use super::call::{Allocated, Argument, Back, Call, Paused, Waiting};
use super::flow::Flow;
use super::partition::Partition;
use super::sharing::Refused;
use super::shm::handle::Handle;
use super::shm::location::Location;
use super::shm::message_area::slot;
use super::shm::page_list::{Memory, Purpose};
use crate::ports::{Cpu, Platform, ShadowMemory};
use crate::ta_access::Uuid;
use addresses::Ipa;

/// Which parameters of [`rpc::SUPP_PLUGIN`] are the memory and, in the second word, how much of it
/// the plugin wrote (`tee_invoke_supp_plugin_rpc`, `core/tee/tee_supp_plugin_rpc.c`, OP-TEE 4.5.0).
const PLUGIN_MEMORY: usize = 3;
const PLUGIN_LENGTH: usize = 2;

/// How long a call waits for room in OP-TEE's address space that other calls of the guest have.
const ROOM_SECONDS_MAX: u64 = 2;

impl<P: Platform> Partition<P> {
    /// OP-TEE has a command for the guest: copies it once and makes the one that the guest gets.
    pub(super) fn take_request(&self, call: &mut Call) -> Flow {
        self.counters.rpcs.add(1);
        let (page, offset) = rpc_slot(call);
        let room = self.optee.rpc_parameters;
        self.ports
            .shadow
            .read(page, offset, call.request.bytes_mut(room));
        call.request_count = match call.request.count() {
            Ok(count) if count <= room => count,
            _ => 0,
        };
        call.request_back = Back::default();
        let translated = match call.request.command() {
            _ if call.request.count() != Ok(call.request_count) => Err(result::BAD_PARAMETERS),
            rpc::SHM_FREE => self.request_to_free(call),
            rpc::LOAD_TA => match self.note_load(call) {
                Ok(()) => self.request_to_do(call),
                Err(NoIdentifier) => {
                    self.counters.instances_refused.add(1);
                    Err(result::OUT_OF_MEMORY)
                }
            },
            rpc::SHM_ALLOC | rpc::RPMB | rpc::FS => {
                self.note_files(call);
                self.request_to_do(call)
            }
            rpc::GET_TIME
            | rpc::NOTIFICATION
            | rpc::SUSPEND
            | rpc::GPROF
            | rpc::SOCKET
            | rpc::FTRACE
            | rpc::SUPP_PLUGIN
            | rpc::I2C_TRANSFER
            | rpc::RPMB_PROBE_RESET
            | rpc::RPMB_PROBE_NEXT
            | rpc::RPMB_FRAMES => self.request_to_do(call),
            // What the values of a command mean that is not known here, nobody knows: they may be
            // physical addresses, as those of BENCH_REG are.
            _ => Err(result::NOT_SUPPORTED),
        };
        match translated {
            Ok(()) => self.deliver(call),
            Err(result) => self.answer(call, result),
        }
    }

    /// OP-TEE has the guest load a trusted application, or a library of one: takes note of it, and
    /// of whether it is the one that the call opens. Of what is not loaded OP-TEE lets go, on all
    /// versions.
    fn note_load(&self, call: &mut Call) -> Result<(), NoIdentifier> {
        let [first, second, _] = call.request.words(0);
        let asked = Uuid(uuid_octets(first, second));
        let opens = call.message.command() == command::OPEN_SESSION
            && call.message.application().map(Uuid) == Some(asked);
        let asks_for_size = matches!(
            call.request.parameter(1),
            Ok(Parameter::Temporary { address: 0, .. }
                | Parameter::Registered { reference: 0, .. })
        );
        self.sessions.applications(|applications| match opens {
            true => applications.note_own_loaded(&mut call.charge, asked, asks_for_size),
            false => applications.note_other_loaded(&mut call.charge, asked, asks_for_size),
        })
    }

    /// OP-TEE reads or writes files of the guest: for a call that opens a session, that takes an
    /// instance of a trusted application.
    pub(super) fn note_files(&self, call: &mut Call) {
        if call.message.command() == command::OPEN_SESSION && call.charge == Charge::default() {
            self.sessions
                .applications(|applications| applications.note_own(&mut call.charge));
        }
    }

    /// Makes the guest's version of a command whose memory references stand for buffers that the
    /// guest shares.
    fn request_to_do(&self, call: &mut Call) -> Result<(), u32> {
        call.command.copy_from(&call.request, call.request_count);
        for index in 0..call.request_count {
            let bit = 1 << index;
            match call.request.parameter(index) {
                Ok(Parameter::None) => {}
                Ok(Parameter::Value {
                    direction,
                    meta: false,
                    ..
                }) => call.request_back.note_value(bit, direction),
                Ok(
                    Parameter::Registered {
                        direction,
                        size,
                        reference: 0,
                        ..
                    }
                    | Parameter::Temporary {
                        direction,
                        address: 0,
                        size,
                        ..
                    },
                ) => {
                    call.request_back.note_memory(bit, direction);
                    call.command
                        .set_parameter(index, Parameter::null(direction, size));
                }
                Ok(Parameter::Registered {
                    direction,
                    offset,
                    size,
                    reference,
                }) => {
                    let cookie = Handle::claimed(reference)
                        .and_then(|handle| self.buffers.cookie(handle, offset, size))
                        .ok_or(result::BAD_PARAMETERS)?;
                    call.request_back.note_memory(bit, direction);
                    call.command.set_reference(index, cookie);
                }
                // Any other has an address that means nothing to the guest.
                _ => return Err(result::BAD_PARAMETERS),
            }
        }
        Ok(())
    }

    /// Makes the guest's version of the command to free memory that OP-TEE had asked for. The guest
    /// may use the cookie anew at once; the pages stay pinned until OP-TEE has gone on.
    pub(super) fn request_to_free(&self, call: &mut Call) -> Result<(), u32> {
        let Ok(Parameter::Value {
            direction: Direction::Input,
            meta: false,
            words: [kind, claimed, _],
        }) = call.request.parameter(0)
        else {
            return Err(result::BAD_PARAMETERS);
        };
        let handle = Handle::claimed(claimed).ok_or(result::BAD_PARAMETERS)?;
        let cookie = self.buffers.free(handle).ok_or(result::BAD_PARAMETERS)?;
        call.forgetting = Some(handle);
        call.command = free_command(kind, cookie);
        Ok(())
    }

    /// Gives the guest the command, and asks for memory to put it in first where there is none.
    fn deliver(&self, call: &mut Call) -> Flow {
        if call.argument == Argument::Follows {
            let size = size_with(self.optee.rpc_parameters);
            match call.location.part(size_with(call.count), size) {
                Some(location) => call.argument = Argument::Here(location),
                None => return self.answer(call, result::COMMUNICATION),
            }
        }
        let (location, cookie) = match call.argument {
            Argument::Here(location) => (location, 0),
            Argument::Allocated(Allocated { location, cookie }) => (location, cookie),
            Argument::Follows | Argument::Missing => {
                call.waiting = Waiting::ArgumentAlloc;
                let size = size_with(self.optee.rpc_parameters) as u64;
                return Flow::Ask(RpcFunction::Alloc, [size, 0]);
            }
        };
        let bytes = call.command.bytes(call.command.count().unwrap_or(0));
        if location.write(&self.ports.memory, bytes).is_err() {
            self.counters.refused.add(1);
            return match core::mem::replace(&mut call.argument, Argument::Missing) {
                Argument::Allocated(argument) => self.free_argument(call, argument.cookie),
                other => {
                    call.argument = other;
                    self.answer(call, result::COMMUNICATION)
                }
            };
        }
        self.counters.bytes_copied.add(bytes.len() as u64);
        call.waiting = Waiting::Command;
        Flow::Ask(RpcFunction::Command, smc::split(cookie))
    }

    /// The guest provides memory for RPCs, or none.
    pub(super) fn take_argument(&self, call: &mut Call, address: u64, cookie: u64) -> Flow {
        let start = Ipa(address);
        if address == 0 || !start.is_aligned(8) {
            self.counters.refused.add(1);
            return self.free_argument(call, cookie);
        }
        let location = Location::contiguous(start, size_with(self.optee.rpc_parameters));
        call.argument = Argument::Allocated(Allocated { location, cookie });
        self.deliver(call)
    }

    /// The guest's memory for RPCs is none: it gets it back, where it has a cookie, and OP-TEE gets
    /// an error.
    fn free_argument(&self, call: &mut Call, cookie: u64) -> Flow {
        if cookie == 0 {
            return self.answer(call, result::OUT_OF_MEMORY);
        }
        call.waiting = Waiting::BadArgumentFree;
        Flow::Ask(RpcFunction::Free, smc::split(cookie))
    }

    /// The guest has done what it was commanded: copies the answer once and takes over what
    /// OP-TEE's request says that it brings back.
    pub(super) fn take_reply(&self, call: &mut Call) -> Flow {
        let location = match call.argument {
            Argument::Here(location) | Argument::Allocated(Allocated { location, .. }) => location,
            Argument::Follows | Argument::Missing => {
                return self.answer(call, result::COMMUNICATION);
            }
        };
        let provides_memory = call.request.command() == rpc::SHM_ALLOC;
        let count = if provides_memory {
            call.request_count
        } else {
            call.request_back.count()
        };
        let reply = &mut call.command;
        let bytes = reply.bytes_mut(count);
        if location.read(&self.ports.memory, bytes).is_err() {
            return self.answer(call, result::COMMUNICATION);
        }
        self.counters.bytes_copied.add(bytes.len() as u64);
        if provides_memory && reply.result() == result::SUCCESS {
            return self.take_provided(call);
        }
        let [_, room, _] = call.request.words(PLUGIN_MEMORY);
        call.request_back.take_within(&mut call.request, reply);
        if call.request.command() == rpc::SUPP_PLUGIN {
            let [a, written, c] = call.request.words(PLUGIN_LENGTH);
            call.request
                .set_words(PLUGIN_LENGTH, [a, written.min(room), c]);
        }
        call.request.set_result(reply.result(), reply.origin());
        self.write_answer(call, call.request_back.count())
    }

    /// The guest says that it provides memory that OP-TEE asked for.
    fn take_provided(&self, call: &mut Call) -> Flow {
        let count = call.command.count();
        let Ok(Parameter::Temporary {
            direction: Direction::Output,
            list,
            address,
            size,
            reference,
        }) = call.command.parameter(0)
        else {
            self.counters.refused.add(1);
            return self.answer(call, result::BAD_PARAMETERS);
        };
        let [kind, wanted, _] = call.request.words(0);
        // In case it has to go back.
        call.command = free_command(kind, reference);
        if count != Ok(1) || address == 0 || size == 0 || size < wanted {
            return self.free_refused(call);
        }
        let memory = Memory {
            list,
            address,
            // Guests round up to their pages, or give what they like; OP-TEE would map all of it.
            size: wanted.max(1),
            reference,
        };
        self.take_memory(call, memory, None)
    }

    /// Shares memory that the guest provides. Where OP-TEE has no room for it beside what other
    /// calls of the guest have mapped, those get some time to end.
    pub(super) fn take_memory(&self, call: &mut Call, memory: Memory, until: Option<u64>) -> Flow {
        match self.announce(call, Purpose::RpcAlloc, memory) {
            Ok(()) => Flow::Translate,
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
                    return self.pause(call, Paused::Room(memory, until));
                }
                self.free_refused(call)
            }
            Err(Refused::Malformed | Refused::Limit) => self.free_refused(call),
        }
    }

    /// Has the guest free memory that it provided and that can't be used. OP-TEE gets an error
    /// then.
    pub(super) fn free_refused(&self, call: &mut Call) -> Flow {
        self.counters.refused.add(1);
        match self.deliver(call) {
            Flow::Ask(RpcFunction::Command, registers) => {
                call.waiting = Waiting::RefusedFree;
                Flow::Ask(RpcFunction::Command, registers)
            }
            other => other,
        }
    }

    /// Tells OP-TEE of the memory that the guest provided.
    pub(super) fn answer_with_memory(
        &self,
        call: &mut Call,
        handle: Handle,
        memory: Parameter,
    ) -> Flow {
        self.buffers.commit(handle);
        call.request.set_parameter(0, memory);
        call.request
            .set_result(result::SUCCESS, result::ORIGIN_COMMS);
        self.write_answer(call, 1)
    }

    /// Answers OP-TEE's request with nothing but a result.
    pub(super) fn answer(&self, call: &mut Call, result: u32) -> Flow {
        call.request.set_result(result, result::ORIGIN_COMMS);
        self.write_answer(call, 0)
    }

    /// Writes the answer, with `count` parameters, to where OP-TEE had its request.
    fn write_answer(&self, call: &Call, count: usize) -> Flow {
        let (page, offset) = rpc_slot(call);
        self.ports
            .shadow
            .write(page, offset, call.request.bytes(count));
        self.back_to_optee(call)
    }
}

/// The shadow page and the offset in it where OP-TEE has the RPC argument of a call: behind the
/// message that it was sent.
pub(super) const fn rpc_slot(call: &Call) -> (usize, usize) {
    let (page, offset) = slot(call.index);
    (page, offset + size_with(call.sent_count))
}

/// The command to free memory.
fn free_command(kind: u64, cookie: u64) -> Message {
    let buffer = Parameter::Value {
        direction: Direction::Input,
        meta: false,
        words: [kind, cookie, 0],
    };
    Message::new(rpc::SHM_FREE, &[buffer])
}
