//! What has the key and the memory.

use core::ops::Range;

use crate::Block;

/// Has a cipher with its key, a sample that is protected, and a place for the clear one, which is
/// as long. All ranges and offsets are bytes from the start of both; none goes beyond the sample.
///
/// The two places may be the same. Each byte is asked for before something else is put in its
/// place.
pub trait Engine {
    /// Why a step failed.
    type Error;

    /// Starts a stream (`cenc`) or a chain (`cbcs`) with this counter block or initialization
    /// vector.
    fn start(&mut self, iv: &Block) -> Result<(), Self::Error>;

    /// Copies clear bytes.
    fn copy(&mut self, range: Range<usize>);

    /// Decrypts bytes that go on with the stream or the chain. In a chain, these are whole blocks.
    fn decrypt(&mut self, range: Range<usize>) -> Result<(), Self::Error>;

    /// Gets protected bytes.
    fn read(&mut self, offset: usize, into: &mut [u8]);

    /// Decrypts whole blocks that go on with the chain, where they are.
    fn decrypt_blocks(&mut self, blocks: &mut [u8]) -> Result<(), Self::Error>;

    /// Puts clear bytes.
    fn write(&mut self, offset: usize, from: &[u8]);
}
