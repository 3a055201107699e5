//! What OP-TEE asks of a guest in the middle of a call: the command that the guest gets, and what
//! OP-TEE gets of the reply.

use optee_abi::message::{Direction, Message, Parameter, uuid_octets};
use optee_abi::result;
use optee_abi::rpc;

use super::back::Back;
use super::shm::buffers::Buffers;
use super::shm::handle::Handle;
use super::shm::page_list::Memory;
use crate::ta_access::Uuid;

/// Which parameters of [`rpc::SUPP_PLUGIN`] are the memory and, in the second word, how much of it
/// the plugin wrote (`tee_invoke_supp_plugin_rpc`, `core/tee/tee_supp_plugin_rpc.c`, OP-TEE 4.5.0).
const PLUGIN_MEMORY: usize = 3;
const PLUGIN_LENGTH: usize = 2;

/// Whether guests get this command. What the values of one mean that is not known here, nobody
/// knows: they may be physical addresses, as those of [`rpc::BENCH_REG`] are.
pub(super) fn is_known(command: u32) -> bool {
    matches!(
        command,
        rpc::LOAD_TA
            | rpc::RPMB
            | rpc::FS
            | rpc::GET_TIME
            | rpc::NOTIFICATION
            | rpc::SUSPEND
            | rpc::SHM_ALLOC
            | rpc::SHM_FREE
            | rpc::GPROF
            | rpc::SOCKET
            | rpc::FTRACE
            | rpc::SUPP_PLUGIN
            | rpc::I2C_TRANSFER
            | rpc::RPMB_PROBE_RESET
            | rpc::RPMB_PROBE_NEXT
            | rpc::RPMB_FRAMES
    )
}

/// Whether OP-TEE asks for this, where it opens a session, only with a trusted application that it
/// has to load.
pub(super) fn is_about_files(command: u32) -> bool {
    matches!(command, rpc::LOAD_TA | rpc::SHM_ALLOC | rpc::RPMB | rpc::FS)
}

/// Makes the guest's version of a request with `count` parameters, whose memory references stand
/// for buffers that the guest shares. Gives what the reply is to bring back.
///
/// # Errors
///
/// The result for OP-TEE, if a parameter means nothing to a guest.
#[inline]
pub(super) fn for_guest(
    request: &Message,
    count: usize,
    buffers: &Buffers,
    to: &mut Message,
) -> Result<Back, u32> {
    let mut back = Back::default();
    to.copy_header(request, request.result(), request.origin());
    for index in 0..count {
        let bit = 1 << index;
        to.copy_parameter(index, request);
        match request.parameter(index) {
            Ok(Parameter::None) => {}
            Ok(Parameter::Value {
                direction,
                meta: false,
                ..
            }) => back.note_value(bit, direction),
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
                back.note_memory(bit, direction);
                to.set_parameter(index, Parameter::null(direction, size));
            }
            Ok(Parameter::Registered {
                direction,
                offset,
                size,
                reference,
            }) => {
                let cookie = Handle::claimed(reference)
                    .and_then(|handle| buffers.cookie(handle, offset, size))
                    .ok_or(result::BAD_PARAMETERS)?;
                back.note_memory(bit, direction);
                to.set_reference(index, cookie);
            }
            // Any other has an address that means nothing to the guest.
            _ => return Err(result::BAD_PARAMETERS),
        }
    }
    Ok(back)
}

/// The kind of memory that OP-TEE has the guest free, and how OP-TEE knows it.
pub(super) fn frees(request: &Message) -> Option<(u64, Handle)> {
    match request.parameter(0) {
        Ok(Parameter::Value {
            direction: Direction::Input,
            meta: false,
            words: [kind, claimed, _],
        }) => Some((kind, Handle::claimed(claimed)?)),
        _ => None,
    }
}

/// The guest's version of the command to free memory.
pub(super) fn free_command(kind: u64, cookie: u64) -> Message {
    let buffer = Parameter::Value {
        direction: Direction::Input,
        meta: false,
        words: [kind, cookie, 0],
    };
    Message::new(rpc::SHM_FREE, &[buffer])
}

/// The trusted application, or a library of one, that OP-TEE has the guest load, and whether it
/// asks for the size alone.
pub(super) fn loads(request: &Message) -> (Uuid, bool) {
    let [first, second, _] = request.words(0);
    let asks_for_size = matches!(
        request.parameter(1),
        Ok(Parameter::Temporary { address: 0, .. } | Parameter::Registered { reference: 0, .. })
    );
    (Uuid(uuid_octets(first, second)), asks_for_size)
}

/// The value that the guest is to wait for, or to send, if that is `what` OP-TEE asks.
pub(super) fn notification(request: &Message, what: u64) -> Option<u32> {
    let [asked, value, _] = request.words(0);
    (request.command() == rpc::NOTIFICATION && asked == what).then_some(value as u32)
}

/// The kind of memory that OP-TEE asks for, and how many bytes.
pub(super) fn wants(request: &Message) -> (u64, u64) {
    let [kind, bytes, _] = request.words(0);
    (kind, bytes)
}

/// Memory that a guest says that it provides, and whether that is as much as `wanted`.
pub(super) fn provided(reply: &Message, wanted: u64) -> Option<(Memory, bool)> {
    let Ok(Parameter::Temporary {
        direction: Direction::Output,
        list,
        address,
        size,
        reference,
    }) = reply.parameter(0)
    else {
        return None;
    };
    let suffices = reply.count() == Ok(1) && address != 0 && size != 0 && size >= wanted;
    let memory = Memory {
        list,
        address,
        // Guests round up to their pages, or give what they like; OP-TEE would map all of it.
        size: wanted.max(1),
        reference,
    };
    Some((memory, suffices))
}

/// Takes over what the guest's reply brings back, as OP-TEE's request says.
#[inline(always)]
pub(super) fn take_reply(request: &mut Message, reply: &Message, back: Back) {
    let [_, room, _] = request.words(PLUGIN_MEMORY);
    back.take_within(request, reply);
    if request.command() == rpc::SUPP_PLUGIN {
        let [a, written, c] = request.words(PLUGIN_LENGTH);
        request.set_words(PLUGIN_LENGTH, [a, written.min(room), c]);
    }
    request.set_result(reply.result(), reply.origin());
}
