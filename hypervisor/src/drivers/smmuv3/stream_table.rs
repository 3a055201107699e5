//! The stream table: which translation each stream has (IHI0070F.b, 3.3.1 and 5.1).
//!
//! Two levels, split by bus: stream IDs are a bus number and eight bits of device and function, and
//! a bus without streams in use costs eight bytes.

use super::formats::{ABORT, StreamEntry};
use super::table::Table;
use addresses::Pa;
use alloc::vec::Vec;

/// Bits of a stream ID that a table of the second level resolves.
const SPLIT: u32 = 8;
const STREAMS_OF_A_BUS: usize = 1 << SPLIT;
/// Bits of a stream ID at most, so that the upper level fits into a block of a [`Table`].
pub(super) const BITS_MAX: u32 = 16;
/// Words of an entry.
const ENTRY: usize = 8;

/// The table, with context descriptors for what stage 1 translates.
pub(super) struct StreamTable {
    top: Table,
    /// log2 of the streams that there are.
    bits: u32,
    /// By bus: entries and, after them, a context descriptor for each.
    buses: Vec<Option<Table>>,
}

impl StreamTable {
    /// A table for streams up to and with `last`, in which none is there. `None` where the heap is
    /// full.
    pub(super) fn new(last: u32) -> Option<Self> {
        let bits = (u32::BITS - last.leading_zeros()).max(SPLIT + 1);
        let count = 1 << (bits - SPLIT);
        let mut buses = Vec::new();
        buses.try_reserve_exact(count).ok()?;
        buses.resize_with(count, || None);
        Some(Self {
            top: Table::new(count)?,
            bits,
            buses,
        })
    }

    /// SMMU_STRTAB_BASE.
    pub(super) fn base(&self) -> u64 {
        /// RA: reads may allocate in caches.
        const READ_ALLOCATE: u64 = 1 << 62;
        self.top.address().0 | READ_ALLOCATE
    }

    /// SMMU_STRTAB_BASE_CFG.
    pub(super) fn configuration(&self) -> u32 {
        /// FMT: two levels.
        const TWO_LEVELS: u32 = 1 << 16;
        TWO_LEVELS | SPLIT << 6 | self.bits
    }

    /// Makes room for the streams of the bus of `stream`, all of which are aborted. `None` where
    /// there is no such bus, or no memory.
    pub(super) fn make_room(&mut self, stream: u32) -> Option<()> {
        let bus = (stream >> SPLIT) as usize;
        let slot = self.buses.get_mut(bus)?;
        if slot.is_none() {
            let table = Table::new(2 * STREAMS_OF_A_BUS * ENTRY)?;
            for index in 0..STREAMS_OF_A_BUS {
                set(&table, index, &ABORT);
            }
            // Span: 2^(Span − 1) entries.
            self.top
                .write(bus, table.address().0 | u64::from(SPLIT + 1));
            *slot = Some(table);
        }
        Some(())
    }

    /// Where the context descriptor of `stream` lies, which is made `words`. There is
    /// [room](Self::make_room) for it, and the stream is aborted.
    pub(super) fn set_context(&mut self, stream: u32, words: &[u64; 8]) -> Option<Pa> {
        let (table, index) = self.place(stream)?;
        let index = STREAMS_OF_A_BUS + index;
        set(table, index, words);
        table.address().checked_add((8 * ENTRY * index) as u64)
    }

    /// Sets the entry of `stream`, which is aborted, and for which there is
    /// [room](Self::make_room).
    pub(super) fn set_entry(&mut self, stream: u32, entry: &StreamEntry) -> Option<()> {
        let (table, index) = self.place(stream)?;
        set(table, index, entry);
        Some(())
    }

    /// Has `stream`, for which there is [room](Self::make_room), aborted. The SMMU may read the
    /// entry meanwhile: the first word says so alone, and the others stay.
    pub(super) fn abort(&mut self, stream: u32) -> Option<()> {
        let (table, index) = self.place(stream)?;
        let [first, ..] = ABORT;
        table.write(ENTRY * index, first);
        Some(())
    }

    fn place(&self, stream: u32) -> Option<(&Table, usize)> {
        let table = self.buses.get((stream >> SPLIT) as usize)?.as_ref()?;
        Some((table, stream as usize % STREAMS_OF_A_BUS))
    }
}

/// Writes an entry or a descriptor; the word that makes it valid comes last.
fn set(table: &Table, index: usize, words: &[u64; ENTRY]) {
    for (n, &word) in words.iter().enumerate().rev() {
        table.write(ENTRY * index + n, word);
    }
}
