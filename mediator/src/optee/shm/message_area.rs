//! The memory for messages: which part of it each slot has, how OP-TEE knows it, and messages of
//! the mediator's own.

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;

use super::handle::Handle;

/// Bytes that a slot has for its message and RPC argument.
pub(in crate::optee) const SLOT_BYTES: usize = 512;
/// Slots in a page of messages.
pub(in crate::optee) const MESSAGE_PAGE_SLOTS: usize = 4096 / SLOT_BYTES;

/// How OP-TEE knows a slot's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) struct Known {
    pub(in crate::optee) handle: Handle,
    /// Where in the memory with this handle the slot is, in bytes.
    pub(in crate::optee) offset: u64,
    /// No more buffers stand before it than were registered after this many.
    pub(in crate::optee) at_most_since: u64,
}

impl Known {
    /// The slot at `index` in the memory that was registered when the partition was created.
    pub(in crate::optee) fn from_creation(index: usize) -> Self {
        Self {
            handle: Handle::MESSAGES,
            offset: (index * SLOT_BYTES) as u64,
            at_most_since: 0,
        }
    }
}

/// The shadow page and the offset in it where the message of a slot lies.
pub(in crate::optee) const fn slot(index: usize) -> (usize, usize) {
    (
        index / MESSAGE_PAGE_SLOTS,
        index % MESSAGE_PAGE_SLOTS * SLOT_BYTES,
    )
}

/// The message that takes a buffer back.
pub(in crate::optee) fn unregister_message(handle: Handle) -> Message {
    let buffer = Parameter::Registered {
        direction: Direction::Input,
        offset: 0,
        size: 0,
        reference: handle.get(),
    };
    message_of(command::UNREGISTER_SHM, &[buffer])
}

/// A message of the mediator's own, with a result that is none until OP-TEE has written one.
pub(in crate::optee) fn message_of(command: u32, parameters: &[Parameter]) -> Message {
    let mut message = Message::new(command, parameters);
    message.set_result(result::GENERIC, result::ORIGIN_COMMS);
    message
}
