//! Random numbers: from the kernel where they must be, else a sequence that comes out the same each
//! time.

use std::fs::File;
use std::io::{self, Read as _};

use crate::issuer::Chance;

impl Chance {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            secret: random()?,
            nonce: random()?,
        })
    }
}

/// Bytes that no one can guess.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A sequence of numbers without a pattern (xorshift64, Marsaglia 2003).
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number from `first` up to `last`.
    pub fn between(&mut self, first: u32, last: u32) -> u32 {
        let count = u64::from(last.saturating_sub(first)) + 1;
        first + (self.number() % count) as u32
    }

    /// Fills memory.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            for (byte, new) in chunk.iter_mut().zip(number) {
                *byte = new;
            }
        }
    }
}
