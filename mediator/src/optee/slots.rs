//! The slots for yielding calls.
//!
//! A guest has as many calls under way as OP-TEE has threads for it. A slot is free, in the hands
//! of the CPU that works on its call, or parked while the guest does something for the call. The
//! guest gets a thread ID for a parked call, good for one return: the slot's number and a
//! generation that changes each time.
//!
//! There are twice as many slots: the calls of a kernel that is gone, because another one was
//! started in its place, keep theirs until OP-TEE is done with them. They are not the new kernel's,
//! and do not count as such.

use crate::sync::atomic::{AtomicU64, Ordering};
use alloc::vec::Vec;

use crate::sync::Mutex;

use super::call::Call;
use super::error::NoHeap;
use super::fallible_box::FallibleBox;

/// The most slots a partition can have: a bit each.
pub(super) const SLOTS_MAX: usize = 64;

const INDEX_BITS: u32 = 6;
const _: () = assert!(1 << INDEX_BITS == SLOTS_MAX);

#[derive(Debug)]
pub(super) struct Slots {
    /// A bit for each slot that no call has.
    free: AtomicU64,
    /// A bit for each slot whose call is an orphan: its kernel is gone.
    orphans: AtomicU64,
    all: u64,
    /// How many calls that are no orphans can be under way.
    calls_max: u32,
    slots: Vec<Mutex<Option<Parked>>>,
}

#[derive(Debug)]
struct Parked {
    call: FallibleBox<Call>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// A return has to name this thread ID.
    Waiting(u32),
    Orphan,
}

/// How many slots there are for `threads` threads of OP-TEE.
pub(super) const fn slots_for(threads: usize) -> usize {
    if threads > SLOTS_MAX / 2 {
        SLOTS_MAX
    } else {
        2 * threads
    }
}

impl Slots {
    /// Free slots for a guest for which OP-TEE has `threads` threads, at most [`SLOTS_MAX`].
    pub(super) fn new(threads: usize) -> Result<Self, NoHeap> {
        let count = slots_for(threads);
        let mut slots = Vec::new();
        slots.try_reserve_exact(count).map_err(|_| NoHeap)?;
        for index in 0..count {
            let call = FallibleBox::new(Call::new(index)?)?;
            slots.push(Mutex::new(Some(Parked {
                call,
                state: State::Free,
            })));
        }
        let all = u64::MAX >> (SLOTS_MAX - count.max(1));
        Ok(Self {
            free: AtomicU64::new(all),
            orphans: AtomicU64::new(0),
            all,
            calls_max: threads.min(SLOTS_MAX) as u32,
            slots,
        })
    }

    /// Takes a free slot for a new call.
    pub(super) fn claim(&self) -> Option<FallibleBox<Call>> {
        let lowest = |free: u64| {
            let under_way = self.all & !(free | self.orphans.load(Ordering::Relaxed));
            let one_more = free != 0 && under_way.count_ones() < self.calls_max;
            one_more.then(|| free & (free - 1))
        };
        let free = self
            .free
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, lowest)
            .ok()?;
        let slot = self.slots.get(free.trailing_zeros() as usize)?;
        slot.lock().take().map(|parked| parked.call)
    }

    /// The call is over: its slot is free again.
    pub(super) fn release(&self, call: FallibleBox<Call>) {
        let index = call.index;
        if let Some(slot) = self.slots.get(index) {
            let mut slot = slot.lock();
            let state = State::Free;
            *slot = Some(Parked { call, state });
            self.free.fetch_or(1 << index, Ordering::Release);
            // While the slot is locked: who claims it meanwhile waits until it is no orphan's any
            // more.
            if self.has_orphans() {
                self.orphans.fetch_and(!(1 << index), Ordering::Relaxed);
            }
        }
    }

    /// Parks a call while the guest does something for it, and gives the thread ID.
    pub(super) fn park(&self, mut call: FallibleBox<Call>) -> u32 {
        call.generation = call.generation.wrapping_add(1);
        let index = call.index;
        let id = (call.generation << INDEX_BITS) | index as u32;
        let orphan = self.orphans.load(Ordering::Relaxed) & 1 << index != 0;
        let state = if orphan {
            State::Orphan
        } else {
            State::Waiting(id)
        };
        if let Some(slot) = self.slots.get(index) {
            *slot.lock() = Some(Parked { call, state });
        }
        id
    }

    /// Takes back the call that was parked with this thread ID. Of several that try, one gets it.
    pub(super) fn resume(&self, id: u32) -> Option<FallibleBox<Call>> {
        let index = (id as usize) & (SLOTS_MAX - 1);
        self.slots
            .get(index)?
            .lock()
            .take_if(|parked| parked.state == State::Waiting(id))
            .map(|parked| parked.call)
    }

    /// Takes the call that is parked in the slot at `index`, if one is and `is` holds for it.
    pub(super) fn take_parked_if(
        &self,
        index: usize,
        is: impl FnOnce(&Call) -> bool,
    ) -> Option<FallibleBox<Call>> {
        let mut slot = self.slots.get(index)?.lock();
        let parked = slot.take_if(|parked| parked.state != State::Free && is(&parked.call))?;
        Some(parked.call)
    }

    /// Takes the call that is parked in the slot at `index`, if it is one of a kernel that is gone.
    pub(super) fn take_orphan(&self, index: usize) -> Option<FallibleBox<Call>> {
        let mut slot = self.slots.get(index)?.lock();
        let parked = slot.take_if(|parked| parked.state == State::Orphan)?;
        Some(parked.call)
    }

    /// The guest's kernel is gone: no thread ID that it knows is good any more. Its parked calls
    /// are orphans where they `stay`, because OP-TEE has something of them, and others are over.
    pub(super) fn orphan_parked(&self, mut stay: impl FnMut(&mut Call) -> bool) {
        for (index, slot) in self.slots.iter().enumerate() {
            let mut slot = slot.lock();
            let Some(parked) = slot
                .as_mut()
                .filter(|parked| matches!(parked.state, State::Waiting(_)))
            else {
                continue;
            };
            if stay(&mut parked.call) {
                parked.state = State::Orphan;
                self.orphans.fetch_or(1 << index, Ordering::Relaxed);
            } else {
                parked.state = State::Free;
                self.free.fetch_or(1 << index, Ordering::Release);
            }
        }
    }

    /// Whether there are calls of a kernel that is gone.
    pub(super) fn has_orphans(&self) -> bool {
        self.orphans.load(Ordering::Relaxed) != 0
    }

    /// How many slots there are.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Whether no call of the guest's present kernel is under way.
    pub(super) fn idle(&self) -> bool {
        self.free.load(Ordering::Acquire) | self.orphans.load(Ordering::Relaxed) == self.all
    }

    /// How many calls are under way, orphans among them.
    pub(super) fn in_flight(&self) -> u32 {
        (self.all & !self.free.load(Ordering::Relaxed)).count_ones()
    }

    /// Looks at the calls of free slots, one after the other, until `look` gives something.
    pub(super) fn find_free<T>(&self, mut look: impl FnMut(&mut Call) -> Option<T>) -> Option<T> {
        self.slots.iter().find_map(|slot| {
            let mut slot = slot.lock();
            let parked = slot.as_mut().filter(|parked| parked.state == State::Free)?;
            look(&mut parked.call)
        })
    }

    /// Drops all parked calls: no thread ID is good any more.
    pub(super) fn clear(&self, mut end: impl FnMut(&mut Call)) {
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(parked) = slot.lock().as_mut() {
                end(&mut parked.call);
                parked.state = State::Free;
                self.orphans.fetch_and(!(1 << index), Ordering::Relaxed);
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
        for threads in [1, 2, 64] {
            let slots = Slots::new(threads).unwrap();
            let calls: Vec<_> = core::iter::from_fn(|| slots.claim()).collect();
            assert_eq!(calls.len(), threads);
            assert_eq!(slots.in_flight() as usize, threads);
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
    fn orphans_leave_their_slots_to_another_kernel() {
        let slots = Slots::new(2).unwrap();
        let ids = [(); 2].map(|()| slots.park(slots.claim().unwrap()));
        assert!(slots.claim().is_none());
        slots.orphan_parked(|_| true);
        assert!(slots.idle() && slots.has_orphans());
        assert!(ids.into_iter().all(|id| slots.resume(id).is_none()));
        let news = [(); 2].map(|()| slots.claim().unwrap());
        assert!(
            slots.claim().is_none(),
            "the new kernel has as many as the old one"
        );
        assert_eq!(slots.in_flight(), 4);
        let id = slots.park(news.into_iter().next().unwrap());
        for index in 0..4 {
            if let Some(orphan) = slots.take_orphan(index) {
                // OP-TEE asks for something more.
                slots.park(orphan);
                let orphan = slots.take_orphan(index).unwrap();
                slots.release(orphan);
            }
        }
        assert!(!slots.has_orphans());
        assert_eq!(slots.in_flight(), 2);
        assert!(slots.resume(id).is_some());
    }

    #[test]
    fn what_has_no_thread_of_op_tee_is_over() {
        let slots = Slots::new(2).unwrap();
        let ids = [(); 2].map(|()| slots.park(slots.claim().unwrap()));
        slots.orphan_parked(|call| call.index == 0);
        assert_eq!(slots.in_flight(), 1);
        assert!(ids.into_iter().all(|id| slots.resume(id).is_none()));
        for _ in 0..3 {
            assert!(slots.claim().is_some_and(|call| {
                slots.park(call);
                true
            }));
            slots.orphan_parked(|_| false);
            assert!(slots.idle());
        }
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
