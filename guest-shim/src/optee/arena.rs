//! Memory for what a guest shares with OP-TEE.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;

use super::page::PAGE;
use crate::arch::memory::SpareMemory;
use crate::runtime::environment::Environment;

/// Bytes of a part of an arena.
const PART: u64 = 1 << 20;

/// Pages of the spare memory, handed out one after the other and never taken back: each case has an
/// arena of its own.
#[derive(Debug)]
pub struct Arena {
    memory: SpareMemory,
    next: AtomicU64,
}

/// Some contiguous pages of the guest.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    memory: SpareMemory,
    /// Where they start, in IPA.
    pub address: u64,
    /// How many bytes they have.
    pub len: u64,
}

impl Arena {
    /// All pages of the spare memory.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let memory = SpareMemory::of(environment.memory);
        Self {
            memory,
            next: AtomicU64::new(memory.bounds().0.next_multiple_of(PAGE)),
        }
    }

    /// A part of it that it does not hand out itself.
    #[must_use]
    pub fn part(&self) -> Self {
        let start = self.next.fetch_add(PART, Ordering::Relaxed);
        Self {
            memory: self.memory,
            next: AtomicU64::new(start),
        }
    }

    /// `count` contiguous pages, all zeros. The page behind them has no use.
    #[must_use]
    pub fn pages(&self, count: u64) -> Area {
        let len = count * PAGE;
        let area = Area {
            memory: self.memory,
            address: self.next.fetch_add(len + PAGE, Ordering::Relaxed),
            len,
        };
        area.fill(0);
        area
    }
}

impl Area {
    /// The address of page `index`.
    #[must_use]
    pub fn page(&self, index: u64) -> u64 {
        self.address + index * PAGE
    }

    /// The addresses of all its pages.
    pub fn addresses(&self) -> impl DoubleEndedIterator<Item = u64> + use<> {
        let address = self.address;
        (0..self.len / PAGE).map(move |index| address + index * PAGE)
    }

    /// The word at `offset`, a multiple of 8.
    #[must_use]
    pub fn read(&self, offset: u64) -> u64 {
        self.memory.read(self.address + offset)
    }

    /// Stores a word at `offset`, a multiple of 8.
    pub fn write(&self, offset: u64, value: u64) {
        self.memory.write(self.address + offset, value);
    }

    /// The byte at `offset`.
    #[must_use]
    pub fn byte(&self, offset: u64) -> u8 {
        self.read(offset & !7).to_le_bytes()[(offset & 7) as usize]
    }

    /// Stores the same word everywhere.
    pub fn fill(&self, value: u64) {
        for offset in (0..self.len).step_by(8) {
            self.write(offset, value);
        }
    }

    /// Stores words from `offset` on.
    pub fn store(&self, offset: u64, words: &[u64]) {
        for (offset, word) in (offset..).step_by(8).zip(words) {
            self.write(offset, *word);
        }
    }

    /// Loads `count` words from `offset` on.
    #[must_use]
    pub fn load(&self, offset: u64, count: usize) -> Vec<u64> {
        (offset..)
            .step_by(8)
            .take(count)
            .map(|offset| self.read(offset))
            .collect()
    }
}

/// A cookie that was never used before.
#[must_use]
pub fn fresh_cookie() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0xc00c_1e00_0000_0001);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
