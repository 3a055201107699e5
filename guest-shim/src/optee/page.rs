//! A page of the guest that OP-TEE reads.

use crate::arch::memory::SpareMemory;
use crate::runtime::environment::Environment;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// A page of the guest that messages, lists or buffers lie in; cleared when it is not used any
/// more.
#[derive(Debug)]
pub struct Page {
    memory: SpareMemory,
    /// Its address.
    pub address: u64,
}

impl Page {
    /// Page number `index` of the spare memory.
    #[must_use]
    pub fn of(environment: &Environment, index: u64) -> Self {
        let memory = SpareMemory::of(environment.memory);
        let (start, _) = memory.bounds();
        Self {
            memory,
            address: start.next_multiple_of(PAGE) + index * PAGE,
        }
    }

    /// The page of spare memory at `address`.
    #[must_use]
    pub fn of_address(environment: &Environment, address: u64) -> Self {
        Self {
            memory: SpareMemory::of(environment.memory),
            address,
        }
    }

    /// Writes to its start. The length is a multiple of 8.
    pub fn store(&self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty(), "messages and lists consist of words");
        for (n, word) in words.iter().enumerate() {
            let address = self.address + n as u64 * 8;
            self.memory.write(address, u64::from_le_bytes(*word));
        }
    }

    /// Reads from its start. The length is a multiple of 8.
    pub fn load(&self, bytes: &mut [u8]) {
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (n, word) in words.iter_mut().enumerate() {
            let value = self.memory.read(self.address + n as u64 * 8);
            *word = value.to_le_bytes();
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        for address in (self.address..self.address + PAGE).step_by(8) {
            self.memory.write(address, 0);
        }
    }
}
