//! The queues between EL2 and the SMMU (IHI0070F.b, 3.5): commands one way, events the other.
//!
//! An index has a bit more than the queue has room for: it says how often the end was passed, odd
//! or even, so that a full queue differs from an empty one.

use super::event::{EVENT_WORDS, Event};
use super::formats::Command;
use super::table::Table;

/// log2 of the entries of either queue: a page of commands, and two of events.
pub(super) const LOG2_ENTRIES: u32 = 8;
const ENTRIES: u32 = 1 << LOG2_ENTRIES;
/// Index and wrap bit.
const POSITION: u32 = 2 * ENTRIES - 1;
/// OVFLG and OVACKFLG: they differ where events were lost.
const OVERFLOW: u32 = 1 << 31;

fn base(table: &Table) -> u64 {
    /// RA or WA: accesses may allocate in caches.
    const ALLOCATE: u64 = 1 << 62;
    table.address().0 | ALLOCATE | u64::from(LOG2_ENTRIES)
}

fn next(position: u32) -> u32 {
    (position + 1) & POSITION
}

/// Commands for the SMMU. Never more are in it than one change needs.
pub(super) struct CommandQueue {
    entries: Table,
    producer: u32,
}

impl CommandQueue {
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            entries: Table::new(2 * ENTRIES as usize)?,
            producer: 0,
        })
    }

    /// SMMU_CMDQ_BASE.
    pub(super) fn base(&self) -> u64 {
        base(&self.entries)
    }

    pub(super) fn push(&mut self, command: Command) {
        let at = 2 * (self.producer % ENTRIES) as usize;
        for (n, word) in command.into_iter().enumerate() {
            self.entries.write(at + n, word);
        }
        self.producer = next(self.producer);
    }

    /// SMMU_CMDQ_PROD.
    pub(super) fn producer(&self) -> u32 {
        self.producer
    }

    /// Whether `count` commands can be pushed, where SMMU_CMDQ_CONS is `consumer`.
    pub(super) fn has_room(&self, consumer: u32, count: usize) -> bool {
        let waiting = self.producer.wrapping_sub(consumer) & POSITION;
        waiting as usize + count <= ENTRIES as usize
    }

    /// Whether all commands were consumed, as SMMU_CMDQ_CONS says.
    pub(super) fn is_empty(&self, consumer: u32) -> bool {
        consumer & POSITION == self.producer
    }
}

/// Events of the SMMU.
pub(super) struct EventQueue {
    entries: Table,
    /// SMMU_EVENTQ_CONS.
    consumer: u32,
}

impl EventQueue {
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            entries: Table::new(EVENT_WORDS * ENTRIES as usize)?,
            consumer: 0,
        })
    }

    /// SMMU_EVENTQ_BASE.
    pub(super) fn base(&self) -> u64 {
        base(&self.entries)
    }

    /// Whether there are events, where SMMU_EVENTQ_PROD is `producer`.
    pub(super) fn has_some(&self, producer: u32) -> bool {
        producer & POSITION != self.consumer & POSITION
    }

    /// The next event, and whether some were lost, where SMMU_EVENTQ_PROD is `producer`. Gives the
    /// new SMMU_EVENTQ_CONS, too.
    pub(super) fn take(&mut self, producer: u32) -> Option<(Event, bool, u32)> {
        if !self.has_some(producer) {
            return None;
        }
        let at = EVENT_WORDS * (self.consumer % ENTRIES) as usize;
        let words = core::array::from_fn(|n| self.entries.read(at + n));
        let lost = (producer ^ self.consumer) & OVERFLOW != 0;
        self.consumer = producer & OVERFLOW | next(self.consumer & POSITION);
        Some((Event::of(words), lost, self.consumer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_nobody_reads_is_full_in_the_end() {
        let mut queue = CommandQueue::new().expect("the heap has room");
        // Also where the end was passed.
        for start in [0, ENTRIES - 3, ENTRIES, POSITION] {
            queue.producer = start;
            assert!(queue.has_room(start, ENTRIES as usize));
            assert!(!queue.has_room(start, ENTRIES as usize + 1));
            for pushed in 0..ENTRIES {
                assert!(queue.has_room(start, 1), "after {pushed}");
                queue.push([0; 2]);
            }
            assert!(!queue.has_room(start, 1));
            assert!(queue.has_room(next(start), 1));
        }
    }
}
