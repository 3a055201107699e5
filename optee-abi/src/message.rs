//! Messages and their parameters (`struct optee_msg_arg`, `struct optee_msg_param`; `optee_msg.h`,
//! OP-TEE 4.5.0).

mod parameter;

use core::mem::offset_of;

use static_assertions::const_assert_eq;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use parameter::RawParameter;
pub use parameter::{Direction, Parameter, UnknownAttributes};

// Fields are native integers: aligned ones cost a load, and both worlds are little endian.
const _: () = assert!(cfg!(target_endian = "little"));

/// Commands (`OPTEE_MSG_CMD_*`).
pub mod command {
    /// `OPTEE_MSG_CMD_OPEN_SESSION`
    pub const OPEN_SESSION: u32 = 0;
    /// `OPTEE_MSG_CMD_INVOKE_COMMAND`
    pub const INVOKE_COMMAND: u32 = 1;
    /// `OPTEE_MSG_CMD_CLOSE_SESSION`
    pub const CLOSE_SESSION: u32 = 2;
    /// `OPTEE_MSG_CMD_CANCEL`
    pub const CANCEL: u32 = 3;
    /// `OPTEE_MSG_CMD_REGISTER_SHM`
    pub const REGISTER_SHM: u32 = 4;
    /// `OPTEE_MSG_CMD_UNREGISTER_SHM`
    pub const UNREGISTER_SHM: u32 = 5;
    /// `OPTEE_MSG_CMD_DO_BOTTOM_HALF`
    pub const DO_BOTTOM_HALF: u32 = 6;
    /// `OPTEE_MSG_CMD_STOP_ASYNC_NOTIF`
    pub const STOP_ASYNC_NOTIF: u32 = 7;
}

/// The most parameters a message may name (`OPTEE_MSG_MAX_NUM_PARAMS`): more do not fit a page.
pub const PARAMETERS_MAX: u32 = 127;

/// The most parameters that a [`Message`] holds: two meta parameters and the four of
/// GlobalPlatform. Every message and RPC that OP-TEE serves or sends fits.
pub const CAPACITY: usize = 6;

/// Bytes of a message with `parameters` parameters (`OPTEE_MSG_GET_ARG_SIZE`).
#[must_use]
pub const fn size_with(parameters: usize) -> usize {
    HEADER_SIZE + parameters * PARAMETER_SIZE
}

/// Bytes of a message without parameters.
pub const HEADER_SIZE: usize = size_of::<Header>();
/// Bytes of a parameter.
pub const PARAMETER_SIZE: usize = size_of::<RawParameter>();

/// `struct optee_msg_arg` without its parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    command: u32,
    function: u32,
    session: u32,
    cancel_id: u32,
    pad: u32,
    result: u32,
    origin: u32,
    parameters: u32,
}

const_assert_eq!(HEADER_SIZE, 32);
const_assert_eq!(offset_of!(Header, session), 8);
const_assert_eq!(offset_of!(Header, result), 20);
const_assert_eq!(offset_of!(Header, origin), 24);
const_assert_eq!(offset_of!(Header, parameters), 28);

/// The octets of a UUID, in the order of its text, out of the first two words of the value that
/// holds it.
#[must_use]
pub fn uuid_octets(first: u64, second: u64) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&first.to_le_bytes());
    octets[8..].copy_from_slice(&second.to_le_bytes());
    octets
}

/// The first two words of the value that holds a UUID with these octets.
#[must_use]
pub fn uuid_words(octets: [u8; 16]) -> [u64; 2] {
    let value = u128::from_le_bytes(octets);
    [value as u64, (value >> 64) as u64]
}

/// A message names more parameters than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooManyParameters {
    /// More than fit a page ([`PARAMETERS_MAX`]): no message at all.
    ForAPage(u32),
    /// More than any command takes ([`CAPACITY`]).
    ForAnyCommand(u32),
}

impl core::fmt::Display for TooManyParameters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ForAPage(count) => write!(f, "{count} parameters do not fit a page"),
            Self::ForAnyCommand(count) => write!(f, "no command takes {count} parameters"),
        }
    }
}

impl core::error::Error for TooManyParameters {}

/// A message with room for [`CAPACITY`] parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Message {
    header: Header,
    parameters: [RawParameter; CAPACITY],
}

const_assert_eq!(size_of::<Message>(), 32 + 32 * CAPACITY);
const_assert_eq!(offset_of!(Message, parameters), 32);

impl Message {
    /// A message for `command` with `parameters`, of which there are at most [`CAPACITY`]; what
    /// goes beyond is left out.
    #[must_use]
    pub fn new(command: u32, parameters: &[Parameter]) -> Self {
        let mut message = Self::default();
        message.header.command = command;
        for (raw, parameter) in message.parameters.iter_mut().zip(parameters) {
            *raw = RawParameter::from(*parameter);
        }
        message.header.parameters = parameters.len().min(CAPACITY) as u32;
        message
    }

    /// How many parameters the header claims to have.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn count(&self) -> Result<usize, TooManyParameters> {
        match self.header.parameters {
            count if count > PARAMETERS_MAX => Err(TooManyParameters::ForAPage(count)),
            count if count as usize > CAPACITY => Err(TooManyParameters::ForAnyCommand(count)),
            count => Ok(count as usize),
        }
    }

    /// The bytes of the message with its first `count` parameters.
    #[must_use]
    pub fn bytes(&self, count: usize) -> &[u8] {
        let bytes = self.as_bytes();
        bytes.get(..size_with(count)).unwrap_or(bytes)
    }

    /// Takes over all of `other` but its parameters, with a result of its own.
    pub fn copy_header(&mut self, other: &Self, result: u32, origin: u32) {
        self.header = Header {
            result,
            origin,
            ..other.header
        };
    }

    /// Takes over the parameter of `other` at `index`, which is below [`CAPACITY`], else nothing
    /// happens.
    pub fn copy_parameter(&mut self, index: usize, other: &Self) {
        if let (Some(own), Some(other)) =
            (self.parameters.get_mut(index), other.parameters.get(index))
        {
            *own = *other;
        }
    }

    /// Room for the bytes of a message with `count` parameters.
    pub fn bytes_mut(&mut self, count: usize) -> &mut [u8] {
        let length = size_with(count.min(CAPACITY));
        &mut self.as_mut_bytes()[..length]
    }

    /// The parameter at `index`; those past the last are [`Parameter::None`].
    ///
    /// # Errors
    ///
    /// Its attributes are none that the ABI defines.
    pub fn parameter(&self, index: usize) -> Result<Parameter, UnknownAttributes> {
        self.parameters
            .get(index)
            .map_or(Ok(Parameter::None), RawParameter::parse)
    }

    /// The trusted application that a message to open a session names: the octets of its UUID, in
    /// the order of its text, in the first parameter (`get_open_session_meta`,
    /// `core/tee/entry_std.c`). `None` where it names none.
    #[must_use]
    pub fn application(&self) -> Option<[u8; 16]> {
        let Ok(1..) = self.count() else {
            return None;
        };
        let Ok(Parameter::Value {
            direction: Direction::Input,
            meta: true,
            words: [first, second, _],
        }) = self.parameter(0)
        else {
            return None;
        };
        Some(uuid_octets(first, second))
    }

    /// Replaces the parameter at `index`, which is below [`CAPACITY`], else nothing happens.
    pub fn set_parameter(&mut self, index: usize, parameter: Parameter) {
        if let Some(raw) = self.parameters.get_mut(index) {
            *raw = RawParameter::from(parameter);
        }
    }

    /// The words of the parameter at `index` (a, b and c of a value), whatever its type.
    #[must_use]
    pub fn words(&self, index: usize) -> [u64; 3] {
        self.parameters.get(index).map_or([0; 3], |raw| raw.words)
    }

    /// Replaces the words of the parameter at `index` and leaves its attributes.
    pub fn set_words(&mut self, index: usize, words: [u64; 3]) {
        if let Some(raw) = self.parameters.get_mut(index) {
            raw.words = words;
        }
    }

    /// Replaces the size of the memory reference at `index`: it has the same place in all of them.
    pub fn set_size(&mut self, index: usize, size: u64) {
        if let Some(raw) = self.parameters.get_mut(index) {
            raw.words[1] = size;
        }
    }

    /// Has the memory reference at `index` name another buffer (`shm_ref`): it has the same place
    /// in all of them.
    pub fn set_reference(&mut self, index: usize, reference: u64) {
        if let Some(raw) = self.parameters.get_mut(index) {
            raw.words[2] = reference;
        }
    }

    /// `cmd`, one of [`command`] or of [`rpc`](crate::rpc).
    #[must_use]
    pub fn command(&self) -> u32 {
        self.header.command
    }

    /// `func`, the command of a trusted application.
    #[must_use]
    pub fn function(&self) -> u32 {
        self.header.function
    }

    /// Sets `func`.
    pub fn set_function(&mut self, function: u32) {
        self.header.function = function;
    }

    /// `session`
    #[must_use]
    pub fn session(&self) -> u32 {
        self.header.session
    }

    /// Sets `session`.
    pub fn set_session(&mut self, session: u32) {
        self.header.session = session;
    }

    /// `ret`, one of [`result`](crate::result)
    #[must_use]
    pub fn result(&self) -> u32 {
        self.header.result
    }

    /// `ret_origin`
    #[must_use]
    pub fn origin(&self) -> u32 {
        self.header.origin
    }

    /// Sets `ret` and `ret_origin`.
    pub fn set_result(&mut self, result: u32, origin: u32) {
        self.header.result = result;
        self.header.origin = origin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_parameters_are_told_apart() {
        let mut message = Message::default();
        message.header.parameters = 6;
        assert_eq!(message.count(), Ok(6));
        message.header.parameters = 7;
        assert_eq!(message.count(), Err(TooManyParameters::ForAnyCommand(7)));
        message.header.parameters = 127;
        assert_eq!(message.count(), Err(TooManyParameters::ForAnyCommand(127)));
        message.header.parameters = 128;
        assert_eq!(message.count(), Err(TooManyParameters::ForAPage(128)));
    }

    #[test]
    fn sizes_stay_within_the_message() {
        let mut message = Message::default();
        assert_eq!(message.bytes(0).len(), 32);
        assert_eq!(message.bytes(6).len(), 224);
        assert_eq!(message.bytes(1000).len(), 224);
        assert_eq!(message.bytes_mut(1000).len(), 224);
        assert_eq!(message.parameter(6), Ok(Parameter::None));
    }

    #[test]
    fn references_lie_where_they_are_said_to_lie() {
        for parameter in [
            Parameter::Registered {
                direction: Direction::Input,
                offset: 1,
                size: 2,
                reference: 3,
            },
            Parameter::Temporary {
                direction: Direction::Input,
                list: true,
                address: 1,
                size: 2,
                reference: 3,
            },
        ] {
            let mut message = Message::new(command::INVOKE_COMMAND, &[Parameter::None, parameter]);
            message.set_reference(1, 4);
            assert_eq!(message.words(1), [1, 2, 4]);
            assert_eq!(message.bytes(2)[88..96], 4_u64.to_le_bytes());
        }
    }

    #[test]
    fn an_octet_string_lies_where_the_header_puts_it() {
        let mut message = Message::new(command::OPEN_SESSION, &[Parameter::None]);
        message.set_words(0, [0x0706_0504_0302_0100, 0, 0]);
        assert_eq!(message.bytes(1)[40..48], [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
