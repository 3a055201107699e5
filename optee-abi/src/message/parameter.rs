//! The parameters of messages.

use core::mem::offset_of;

use static_assertions::const_assert_eq;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct optee_msg_param`: the attributes and the three words that all members of its union
/// consist of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct RawParameter {
    pub(super) attributes: u64,
    pub(super) words: [u64; 3],
}

const_assert_eq!(size_of::<RawParameter>(), 32);
const_assert_eq!(offset_of!(RawParameter, words), 8);

/// Which way a parameter goes, as seen from whom the message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `*_INPUT`
    Input,
    /// `*_OUTPUT`
    Output,
    /// `*_INOUT`
    InOut,
}

impl Direction {
    /// Whether the parameter brings something back.
    #[must_use]
    pub const fn brings_back(self) -> bool {
        matches!(self, Self::Output | Self::InOut)
    }

    const fn code(self) -> u64 {
        match self {
            Self::Input => 1,
            Self::Output => 2,
            Self::InOut => 3,
        }
    }
}

/// A parameter, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `OPTEE_MSG_ATTR_TYPE_NONE`
    None,
    /// `OPTEE_MSG_ATTR_TYPE_VALUE_*`
    Value {
        /// Which way it goes.
        direction: Direction,
        /// Whether it is for OP-TEE and not for the TA (`OPTEE_MSG_ATTR_META`).
        meta: bool,
        /// a, b and c.
        words: [u64; 3],
    },
    /// `OPTEE_MSG_ATTR_TYPE_RMEM_*`: part of a registered buffer.
    Registered {
        /// Which way it goes.
        direction: Direction,
        /// Where the part starts in the buffer, in bytes.
        offset: u64,
        /// Bytes in the part.
        size: u64,
        /// Who the buffer is (`shm_ref`).
        reference: u64,
    },
    /// `OPTEE_MSG_ATTR_TYPE_TMEM_*`: memory named for this message alone.
    Temporary {
        /// Which way it goes.
        direction: Direction,
        /// Whether `address` is that of a list of pages, with the offset into the first page in its
        /// low bits (`OPTEE_MSG_ATTR_NONCONTIG`).
        list: bool,
        /// Where the memory or its list starts; 0 is a null reference.
        address: u64,
        /// Bytes of memory.
        size: u64,
        /// Who the memory is (`shm_ref`).
        reference: u64,
    },
}

impl Parameter {
    /// A reference to no memory, which can still ask for `size` bytes.
    #[must_use]
    pub const fn null(direction: Direction, size: u64) -> Self {
        Self::Temporary {
            direction,
            list: false,
            address: 0,
            size,
            reference: 0,
        }
    }
}

/// Attributes that are no combination that the ABI defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAttributes(pub u64);

impl core::fmt::Display for UnknownAttributes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "parameter attributes {:#x} are not defined", self.0)
    }
}

impl core::error::Error for UnknownAttributes {}

const TYPE_MASK: u64 = 0xff;
const META: u64 = 1 << 8;
const NONCONTIG: u64 = 1 << 9;
/// `OPTEE_MSG_ATTR_CACHE_MASK << OPTEE_MSG_ATTR_CACHE_SHIFT`: a hint for temporary memory that
/// OP-TEE ignores.
const CACHE: u64 = 7 << 16;
const REGISTERED: u64 = 4;
const TEMPORARY: u64 = 8;

impl RawParameter {
    pub(super) fn parse(&self) -> Result<Parameter, UnknownAttributes> {
        let attributes = self.attributes;
        let kind = attributes & TYPE_MASK;
        let flags = attributes & !TYPE_MASK;
        let [a, b, c] = self.words;
        let unknown = UnknownAttributes(attributes);
        let direction = match kind & 3 {
            1 => Direction::Input,
            2 => Direction::Output,
            3 => Direction::InOut,
            _ if attributes == 0 => return Ok(Parameter::None),
            _ => return Err(unknown),
        };
        match kind & !3 {
            0 if flags & !META == 0 => Ok(Parameter::Value {
                direction,
                meta: flags & META != 0,
                words: [a, b, c],
            }),
            REGISTERED if flags == 0 => Ok(Parameter::Registered {
                direction,
                offset: a,
                size: b,
                reference: c,
            }),
            TEMPORARY if flags & !(NONCONTIG | CACHE) == 0 => Ok(Parameter::Temporary {
                direction,
                list: flags & NONCONTIG != 0,
                address: a,
                size: b,
                reference: c,
            }),
            _ => Err(unknown),
        }
    }
}

impl From<Parameter> for RawParameter {
    fn from(parameter: Parameter) -> Self {
        let (attributes, words) = match parameter {
            Parameter::None => (0, [0; 3]),
            Parameter::Value {
                direction,
                meta,
                words,
            } => (direction.code() | if meta { META } else { 0 }, words),
            Parameter::Registered {
                direction,
                offset,
                size,
                reference,
            } => (REGISTERED | direction.code(), [offset, size, reference]),
            Parameter::Temporary {
                direction,
                list,
                address,
                size,
                reference,
            } => (
                TEMPORARY | direction.code() | if list { NONCONTIG } else { 0 },
                [address, size, reference],
            ),
        };
        Self { attributes, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, command};

    const DIRECTIONS: [Direction; 3] = [Direction::Input, Direction::Output, Direction::InOut];

    fn raw(attributes: u64) -> RawParameter {
        RawParameter {
            attributes,
            words: [1, 2, 3],
        }
    }

    #[test]
    fn every_parameter_survives_the_way_through_bytes() {
        for direction in DIRECTIONS {
            for parameter in [
                Parameter::None,
                Parameter::Value {
                    direction,
                    meta: false,
                    words: [1, 2, 3],
                },
                Parameter::Value {
                    direction,
                    meta: true,
                    words: [1, 2, 3],
                },
                Parameter::Registered {
                    direction,
                    offset: 1,
                    size: 2,
                    reference: 3,
                },
                Parameter::Temporary {
                    direction,
                    list: false,
                    address: 1,
                    size: 2,
                    reference: 3,
                },
                Parameter::Temporary {
                    direction,
                    list: true,
                    address: 1,
                    size: 2,
                    reference: 3,
                },
            ] {
                let message = Message::new(command::INVOKE_COMMAND, &[parameter]);
                let mut copy = Message::default();
                copy.bytes_mut(1).copy_from_slice(message.bytes(1));
                assert_eq!(copy.count(), Ok(1));
                assert_eq!(copy.parameter(0), Ok(parameter));
            }
        }
    }

    #[test]
    fn attributes_have_the_values_of_the_header() {
        let code = |parameter| RawParameter::from(parameter).attributes;
        let direction = Direction::Output;
        assert_eq!(
            code(Parameter::Value {
                direction,
                meta: true,
                words: [0; 3]
            }),
            0x102
        );
        assert_eq!(
            code(Parameter::Registered {
                direction,
                offset: 0,
                size: 0,
                reference: 0
            }),
            0x6
        );
        let list = Parameter::Temporary {
            direction,
            list: true,
            address: 0,
            size: 0,
            reference: 0,
        };
        assert_eq!(code(list), 0x20a);
    }

    #[test]
    fn undefined_attributes_are_refused() {
        for attributes in [
            4,
            8,
            0xc,
            0x11,
            0x100,
            0x105,
            0x109,
            0x205,
            0x201,
            0x401,
            0x1_0001,
            1 << 63,
        ] {
            assert_eq!(
                raw(attributes).parse(),
                Err(UnknownAttributes(attributes)),
                "{attributes:#x}"
            );
        }
    }

    #[test]
    fn a_cache_hint_on_temporary_memory_is_ignored() {
        assert!(matches!(
            raw(0x1_0009).parse(),
            Ok(Parameter::Temporary { address: 1, .. })
        ));
    }
}
