//! The slots for yielding calls: as many as OP-TEE has threads for a guest.
//!
//! A slot is free, in the hands of the CPU that works on its call, or parked while the guest does something for the call.
//! The guest gets a thread ID for a parked call, good for one return: the slot's number and a generation that changes
//! each time.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::call::Call;
use super::partition::NoHeap;

/// Bytes that a slot has for its message and RPC argument.
pub(super) const SLOT_BYTES: usize = 512;
/// Slots in a page of messages.
pub(super) const MESSAGE_PAGE_SLOTS: usize = 4096 / SLOT_BYTES;
/// The most slots a partition can have: a bit each.
pub(super) const SLOTS_MAX: usize = 64;

const INDEX_BITS: u32 = 6;
const _: () = assert!(1 << INDEX_BITS == SLOTS_MAX);

#[derive(Debug)]
pub(super) struct Slots {
    /// A bit for each slot that no call has.
    free: AtomicU64,
    all: u64,
    slots: Vec<Mutex<Option<Parked>>>,
}

#[derive(Debug)]
struct Parked {
    call: Box<Call>,
    /// The thread ID that a return has to name; a free slot has none.
    id: Option<u32>,
}

impl Slots {
    /// `count` free slots, at most [`SLOTS_MAX`].
    pub(super) fn new(count: usize) -> Result<Self, NoHeap> {
        let count = count.min(SLOTS_MAX);
        let mut slots = Vec::new();
        slots.try_reserve_exact(count).map_err(|_| NoHeap)?;
        slots.extend((0..count).map(|index| {
            let call = Box::new(Call::new(index));
            Mutex::new(Some(Parked { call, id: None }))
        }));
        let all = u64::MAX >> (SLOTS_MAX - count.max(1));
        Ok(Self {
            free: AtomicU64::new(all),
            all,
            slots,
        })
    }

    /// Takes a free slot for a new call.
    pub(super) fn claim(&self) -> Option<Box<Call>> {
        let lowest = |free: u64| (free != 0).then(|| free & (free - 1));
        let free = self
            .free
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, lowest)
            .ok()?;
        let slot = self.slots.get(free.trailing_zeros() as usize)?;
        slot.lock().take().map(|parked| parked.call)
    }

    /// The call is over: its slot is free again.
    pub(super) fn release(&self, call: Box<Call>) {
        let index = call.index;
        if let Some(slot) = self.slots.get(index) {
            *slot.lock() = Some(Parked { call, id: None });
            self.free.fetch_or(1 << index, Ordering::Release);
        }
    }

    /// Parks a call while the guest does something for it, and gives the thread ID.
    pub(super) fn park(&self, mut call: Box<Call>) -> u32 {
        call.generation = call.generation.wrapping_add(1);
        let index = call.index;
        let id = (call.generation << INDEX_BITS) | index as u32;
        if let Some(slot) = self.slots.get(index) {
            *slot.lock() = Some(Parked { call, id: Some(id) });
        }
        id
    }

    /// Takes back the call that was parked with this thread ID. Of several that try, one gets it.
    pub(super) fn resume(&self, id: u32) -> Option<Box<Call>> {
        let index = (id as usize) & (SLOTS_MAX - 1);
        self.slots
            .get(index)?
            .lock()
            .take_if(|parked| parked.id == Some(id))
            .map(|parked| parked.call)
    }

    /// Takes the call that is parked in the slot at `index`, if one is.
    pub(super) fn take_parked(&self, index: usize) -> Option<Box<Call>> {
        let mut slot = self.slots.get(index)?.lock();
        let parked = slot.take_if(|parked| parked.id.is_some())?;
        Some(parked.call)
    }

    /// Whether no call is under way.
    pub(super) fn idle(&self) -> bool {
        self.free.load(Ordering::Acquire) == self.all
    }

    /// How many calls are under way.
    pub(super) fn in_flight(&self) -> u32 {
        (self.all & !self.free.load(Ordering::Relaxed)).count_ones()
    }

    /// Looks at the calls of free slots, one after the other, until `look` gives something.
    pub(super) fn find_free<T>(&self, mut look: impl FnMut(&mut Call) -> Option<T>) -> Option<T> {
        self.slots.iter().find_map(|slot| {
            let mut slot = slot.lock();
            let parked = slot.as_mut().filter(|parked| parked.id.is_none())?;
            look(&mut parked.call)
        })
    }

    /// Drops all parked calls: no thread ID is good any more.
    pub(super) fn clear(&self, mut end: impl FnMut(&mut Call)) {
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(parked) = slot.lock().as_mut() {
                end(&mut parked.call);
                parked.id = None;
                self.free.fetch_or(1 << index, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_slots_as_asked_for() {
        for count in [1, 2, 64] {
            let slots = Slots::new(count).unwrap();
            let calls: Vec<_> = core::iter::from_fn(|| slots.claim()).collect();
            assert_eq!(calls.len(), count);
            assert_eq!(slots.in_flight() as usize, count);
            calls.into_iter().for_each(|call| slots.release(call));
            assert!(slots.idle());
        }
    }

    #[test]
    fn a_thread_id_is_good_once() {
        let slots = Slots::new(2).unwrap();
        let id = slots.park(slots.claim().unwrap());
        let call = slots.resume(id).unwrap();
        assert!(slots.resume(id).is_none(), "another CPU works on it");
        let next = slots.park(call);
        assert_ne!(id, next);
        assert!(slots.resume(id).is_none(), "it is stale");
        slots.release(slots.resume(next).unwrap());
        assert!(slots.resume(next).is_none(), "the call is over");
        assert!(slots.resume(0).is_none(), "no call was ever there");
        assert!(slots.resume(63).is_none(), "there is no such slot");
    }

    #[test]
    fn clearing_frees_what_is_parked() {
        let slots = Slots::new(2).unwrap();
        let id = slots.park(slots.claim().unwrap());
        slots.clear(|_| ());
        assert!(slots.idle());
        assert!(slots.resume(id).is_none());
    }
}
