//! Which parameters of a message bring something back, and taking over what they bring.

use optee_abi::message::{Direction, Message};

/// Which parameters of a message bring something back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Back {
    /// A bit for each that is a value.
    values: u8,
    /// A bit for each that is memory, of which the size comes back.
    sizes: u8,
}

impl Back {
    /// The value with this bit goes in `direction`.
    pub(super) fn note_value(&mut self, bit: u8, direction: Direction) {
        if direction.brings_back() {
            self.values |= bit;
        }
    }

    /// The memory with this bit goes in `direction`.
    pub(super) fn note_memory(&mut self, bit: u8, direction: Direction) {
        if direction.brings_back() {
            self.sizes |= bit;
        }
    }

    /// How many parameters there are up to the last one that brings something back.
    pub(super) fn count(self) -> usize {
        (u8::BITS - (self.values | self.sizes).leading_zeros()) as usize
    }

    /// Takes over from `reply` what they bring back, field by field, and nothing else.
    pub(super) fn take(self, message: &mut Message, reply: &Message) {
        self.take_values(message, reply);
        for index in indices(self.sizes) {
            message.set_size(index, reply.words(index)[1]);
        }
    }

    /// The same for a reply of the guest: OP-TEE takes a size for that of what there is in a
    /// buffer, so that it gets none that is larger than the buffer. Of a reference to nothing the
    /// size says how much there would be.
    pub(super) fn take_within(self, message: &mut Message, reply: &Message) {
        self.take_values(message, reply);
        for index in indices(self.sizes) {
            let [_, size, reference] = message.words(index);
            let [_, replied, _] = reply.words(index);
            let most = if reference == 0 { u64::MAX } else { size };
            message.set_size(index, replied.min(most));
        }
    }

    fn take_values(self, message: &mut Message, reply: &Message) {
        for index in indices(self.values) {
            message.set_words(index, reply.words(index));
        }
    }
}

/// The indices of the bits that are set in `bits`, from the lowest on.
fn indices(mut bits: u8) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let index = bits.trailing_zeros() as usize;
        bits &= bits.checked_sub(1)?;
        Some(index)
    })
}
