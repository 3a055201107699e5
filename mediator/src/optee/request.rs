//! A guest's message: where it lies, what it says, and the one that OP-TEE gets in its place.

use optee_abi::message::{CAPACITY, Message, Parameter, TooManyParameters, command, size_with};
use optee_abi::pagelist::{PAGE_SIZE, pages_spanned};
use optee_abi::result;
use optee_abi::smc;

use super::back::Back;
use super::core_window::Mapping;
use super::shm::buffers::{Buffers, ReferenceError};
use super::shm::handle::Handle;
use super::shm::location::Location;
use super::shm::message_area::SLOT_BYTES;
use super::shm::page_list::Memory;
use super::stage::Start;
use addresses::Ipa;

/// Where the message of a call lies; `None` where none can lie.
pub(super) fn locate(start: Start, buffers: &Buffers) -> Option<Location> {
    let [a1, a2, a3] = start.arguments;
    let named = smc::join(a1, a2);
    match start.function {
        smc::CALL_WITH_REGD_ARG => {
            let offset = u64::from(a3 as u32);
            buffers
                .location(named, offset, SLOT_BYTES)
                .filter(|location| location.is_aligned(8))
        }
        // OP-TEE takes only whole pages, too (std_entry_with_parg, thread_optee_smc.c, 4.5.0).
        _ if Ipa(named).is_aligned(PAGE_SIZE) => {
            Some(Location::contiguous(Ipa(named), PAGE_SIZE as usize))
        }
        _ => None,
    }
}

/// Why a message can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It does not lie where the guest says.
    Elsewhere,
    /// It has more parameters than any command takes.
    TooLong,
}

/// How many parameters a message has of which `copied` bytes could be copied.
pub(super) fn count(message: &Message, copied: usize) -> Result<usize, Unusable> {
    if copied < size_with(0) {
        return Err(Unusable::Elsewhere);
    }
    match message.count() {
        Ok(count) if size_with(count) <= copied => Ok(count),
        Ok(_) | Err(TooManyParameters::ForAPage(_)) => Err(Unusable::Elsewhere),
        Err(TooManyParameters::ForAnyCommand(_)) => Err(Unusable::TooLong),
    }
}

/// What is known of the parameters of a message that was made for OP-TEE.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prepared {
    /// What they bring back.
    pub(super) back: Back,
    /// A bit for each that is temporary memory, which is to be shared first.
    pub(super) temporary: u8,
    /// What it takes OP-TEE to map them, if it does.
    pub(super) mapping: Mapping,
}

/// Makes the message that OP-TEE gets: what refers to buffers refers to them by handle, and what is
/// temporary memory to none yet. The call of the slot at `slot` refers to them until it lets go of
/// them; OP-TEE itself `maps` them, or a trusted application has them in its own address space.
///
/// # Errors
///
/// The result for the guest, if something is wrong with one of the `count` parameters.
pub(super) fn prepare(
    message: &Message,
    count: usize,
    buffers: &Buffers,
    slot: usize,
    maps: bool,
    posted: &mut Message,
) -> Result<Prepared, u32> {
    let mut prepared = Prepared::default();
    let mut registered = None;
    let mut named_before = 0_u8;
    let (result, origin) = match message.command() {
        command::DO_BOTTOM_HALF | command::STOP_ASYNC_NOTIF => (message.result(), message.origin()),
        // An OP-TEE that says that all went well, and wrote nothing, does not count as success. To
        // messages about notifications it writes nothing.
        _ => (result::GENERIC, result::ORIGIN_COMMS),
    };
    posted.copy_header(message, result, origin);
    for index in (0..CAPACITY).take(count) {
        let bit = 1 << index;
        posted.copy_parameter(index, message);
        match message.parameter(index) {
            Ok(Parameter::None) => {}
            Ok(Parameter::Value { direction, .. }) => prepared.back.note_value(bit, direction),
            Ok(Parameter::Registered {
                direction,
                offset,
                size,
                reference,
            }) => {
                let (handle, of_buffer) = registered
                    .get_or_insert_with(|| buffers.registered(slot))
                    .refer(index, reference, offset, size)
                    // As OP-TEE says (set_rmem_param, core/tee/entry_std.c, 4.5.0).
                    .map_err(|reason| match reason {
                        ReferenceError::Unknown => result::BAD_PARAMETERS,
                        ReferenceError::OutOfBounds => result::SECURITY,
                    })?;
                // OP-TEE maps a buffer once, however often it is referred to.
                let named = |earlier: usize| {
                    named_before & (1 << earlier) != 0 && posted.words(earlier)[2] == handle.get()
                };
                if maps && !(0..index).any(named) {
                    prepared.mapping.add(of_buffer);
                }
                named_before |= bit;
                posted.set_reference(index, handle.get());
                prepared.back.note_memory(bit, direction);
            }
            Ok(Parameter::Temporary {
                direction,
                address,
                size,
                ..
            }) => {
                posted.set_parameter(index, Parameter::null(direction, size));
                if address != 0 {
                    prepared.temporary |= bit;
                    if maps {
                        // What spans no number of pages is refused when it is to be shared.
                        let spanned = pages_spanned(Ipa(address).page_offset(), size.max(1));
                        prepared.mapping.add(spanned.unwrap_or(0));
                    }
                }
                prepared.back.note_memory(bit, direction);
            }
            Err(_) => return Err(result::BAD_PARAMETERS),
        }
    }
    if let Some(registered) = registered {
        registered.hold(named_before);
    }
    Ok(prepared)
}

/// The temporary memory of the parameter at `index`.
pub(super) fn temporary(message: &Message, index: usize) -> Option<Memory> {
    match message.parameter(index) {
        Ok(Parameter::Temporary {
            list,
            address,
            size,
            reference,
            ..
        }) => Some(Memory {
            list,
            address,
            size,
            reference,
        }),
        _ => None,
    }
}

/// Has the message for OP-TEE name the temporary memory of the parameter at `index`, which OP-TEE
/// knows by `handle` now.
pub(super) fn name_shared(message: &Message, index: usize, handle: Handle, posted: &mut Message) {
    if let Ok(Parameter::Temporary {
        direction, size, ..
    }) = message.parameter(index)
    {
        let buffer = Parameter::Registered {
            direction,
            offset: 0,
            size,
            reference: handle.get(),
        };
        posted.set_parameter(index, buffer);
    }
}

/// The buffer that a message registers.
pub(super) fn registers(message: &Message, count: usize) -> Option<Memory> {
    let buffer = temporary(message, 0)?;
    (count == 1 && buffer.address != 0 && buffer.size != 0).then_some(buffer)
}

/// The cookie of the buffer that a message unregisters.
pub(super) fn unregisters(message: &Message, count: usize) -> Option<u64> {
    match message.parameter(0) {
        Ok(Parameter::Registered { reference, .. }) if count == 1 => Some(reference),
        _ => None,
    }
}

/// Takes over what OP-TEE's reply brings back, field by field, each as the guest's message itself
/// says: the result, the session that was opened, values that go out, and sizes of memory that goes
/// out.
pub(super) fn take_results(message: &mut Message, reply: &Message, back: Back) {
    message.set_result(reply.result(), reply.origin());
    if message.command() == command::OPEN_SESSION {
        message.set_session(reply.session());
    }
    back.take(message, reply);
}
