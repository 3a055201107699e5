//! Messages as the words that they consist of, so that anything can be said and all that changes is
//! seen (`struct optee_msg_arg`, `optee_msg.h`, OP-TEE 4.5.0).

use alloc::vec::Vec;

use optee_abi::message::{Message, Parameter};

/// Words of a message without parameters.
const HEADER: usize = 4;
/// Words of a parameter: its attributes and what they say of three more.
const PARAMETER: usize = 4;
/// The upper half is `ret`.
const RESULT: usize = 2;
/// The upper half is `num_params`, the lower half `ret_origin`.
const COUNT: usize = 3;

const UPPER: u64 = 0xffff_ffff << 32;

/// A message, word by word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<u64>);

impl Words {
    /// A message for `command` with these parameters.
    #[must_use]
    pub fn new(command: u32, parameters: &[Parameter]) -> Self {
        Self::of(&Message::new(command, parameters), parameters.len())
    }

    /// A message and its first `count` parameters.
    #[must_use]
    pub fn of(message: &Message, count: usize) -> Self {
        let (words, _) = message.bytes(count).as_chunks::<8>();
        Self(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// The same for another function of the trusted application, in this session.
    #[must_use]
    pub fn to(mut self, session: u32, function: u32) -> Self {
        self.0[0] = self.0[0] & !UPPER | u64::from(function) << 32;
        self.0[1] = self.0[1] & UPPER | u64::from(session);
        self
    }

    /// The same with `attributes` for the parameter at `index`.
    #[must_use]
    pub fn with_attributes(mut self, index: usize, attributes: u64) -> Self {
        self.0[HEADER + index * PARAMETER] = attributes;
        self
    }

    /// The same, claiming to have this number of parameters.
    #[must_use]
    pub fn claiming(mut self, count: u32) -> Self {
        self.0[COUNT] = self.0[COUNT] & !UPPER | u64::from(count) << 32;
        self
    }

    /// `cmd`
    #[must_use]
    pub fn command(&self) -> u32 {
        self.0[0] as u32
    }

    /// `session`
    #[must_use]
    pub fn session(&self) -> u32 {
        self.0[1] as u32
    }

    /// `ret`
    #[must_use]
    pub fn result(&self) -> u32 {
        (self.0[RESULT] >> 32) as u32
    }

    /// `ret_origin`
    #[must_use]
    pub fn origin(&self) -> u32 {
        self.0[COUNT] as u32
    }

    /// `num_params`
    #[must_use]
    pub fn count(&self) -> usize {
        (self.0[COUNT] >> 32) as usize
    }

    /// The attributes of the parameter at `index`.
    #[must_use]
    pub fn attributes(&self, index: usize) -> u64 {
        self.0[HEADER + index * PARAMETER]
    }

    /// The three words behind the attributes of the parameter at `index`.
    #[must_use]
    pub fn parameter(&self, index: usize) -> [u64; 3] {
        let first = HEADER + index * PARAMETER + 1;
        core::array::from_fn(|n| self.0[first + n])
    }

    /// Replaces these three words.
    pub fn set_parameter(&mut self, index: usize, words: [u64; 3]) {
        let first = HEADER + index * PARAMETER + 1;
        self.0[first..first + 3].copy_from_slice(&words);
    }

    /// Sets `session`.
    pub fn set_session(&mut self, session: u32) {
        self.0[1] = self.0[1] & UPPER | u64::from(session);
    }

    /// Sets `ret` and `ret_origin`.
    pub fn set_result(&mut self, result: u32, origin: u32) {
        self.0[RESULT] = self.0[RESULT] & !UPPER | u64::from(result) << 32;
        self.0[COUNT] = self.0[COUNT] & UPPER | u64::from(origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use optee_abi::message::{Direction, command};

    #[test]
    fn a_message_is_taken_apart_where_the_header_puts_its_fields() {
        let value = Parameter::Value {
            direction: Direction::InOut,
            meta: false,
            words: [1, 2, 3],
        };
        let words = Words::new(command::INVOKE_COMMAND, &[Parameter::None, value]).to(7, 9);
        let mut message = Message::new(command::INVOKE_COMMAND, &[Parameter::None, value]);
        assert_eq!(words.0.len(), 12);
        assert_eq!((words.command(), words.count()), (1, 2));
        assert_eq!(words.session(), 7);
        assert_eq!((words.attributes(1), words.parameter(1)), (3, [1, 2, 3]));

        let mut changed = words.clone();
        changed.set_result(0xffff_0006, 2);
        changed.set_parameter(1, [4, 5, 6]);
        changed.set_session(8);
        message.set_result(0xffff_0006, 2);
        message.set_words(1, [4, 5, 6]);
        message.set_session(8);
        assert_eq!(changed, Words::of(&message, 2).to(8, 9));
        assert_eq!((changed.result(), changed.origin()), (0xffff_0006, 2));
        assert_eq!(changed.count(), 2);
    }

    #[test]
    fn anything_can_be_claimed() {
        let words = Words::new(command::CANCEL, &[Parameter::None]);
        assert_eq!(words.clone().claiming(128).count(), 128);
        assert_eq!(words.with_attributes(0, 0x401).attributes(0), 0x401);
    }
}
