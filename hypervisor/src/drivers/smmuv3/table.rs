//! Memory of the heap that the SMMU reads or writes.

use addresses::Pa;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Words in a block.
const BLOCK: usize = 2048;

/// 16 KiB, aligned to that: the SMMU wants a table or queue aligned to its size, and none here is
/// larger.
#[repr(C, align(16384))]
struct Block([AtomicU64; BLOCK]);

/// Words of 64 bits that the SMMU reads or writes at any time.
pub(super) struct Table(Box<[Block]>);

impl Table {
    /// At least `words` words of zeros, or `None` where the heap is full.
    pub(super) fn new(words: usize) -> Option<Self> {
        let blocks = words.div_ceil(BLOCK);
        let mut table = Vec::new();
        table.try_reserve_exact(blocks).ok()?;
        table.resize_with(blocks, || Block([const { AtomicU64::new(0) }; BLOCK]));
        Some(Self(table.into_boxed_slice()))
    }

    /// Where it lies: EL2 maps memory one to one.
    pub(super) fn address(&self) -> Pa {
        Pa(self.0.as_ptr() as u64)
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.0.get(index / BLOCK)?.0.get(index % BLOCK)
    }

    /// Word `index`; zero beyond the end.
    pub(super) fn read(&self, index: usize) -> u64 {
        self.word(index)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Sets word `index`; nothing beyond the end.
    pub(super) fn write(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Release);
        }
    }
}
