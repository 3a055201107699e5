//! Room in OP-TEE's own address space.
//!
//! OP-TEE maps some memory of a guest for itself: what it asked the guest for, which is a block of a file or a trusted
//! application, and the buffers of a call that it serves without a loaded application (a pseudo-TA). It places each piece
//! in a window at the first gap that is large enough (`tee_mm_alloc`, `core/mm/tee_mm.c`), makes a translation table for
//! each 2 MiB that it reaches, never gives one back, and halts for all guests when it needs a twelfth
//! (`core_mmu_map_pages`, `core/mm/core_mmu.c`; `MAX_XLAT_TABLES`, `core/arch/arm/mm/core_mmu_lpae.c`; OP-TEE 4.5 to 4.10).
//! Up to eight of the eleven are in use before, depending on where OP-TEE lies. From 4.6 on it takes them from the memory of
//! the guest's trusted applications, and halts when that is full; so the tables of the window are made when the partition is.
//!
//! So it is not the sum of what is mapped that counts but how far up any of it may lie. That depends on the order in which
//! pieces come and go on all of a guest's CPUs, which is not known here. Two things hold for each order, and the lower one
//! bounds where a new piece ends:
//!
//! * it lies nowhere behind the piece that ends last, for behind that all is free;
//! * where it did not fit into a gap, each gap before it is smaller than it is, and there are no more gaps than pieces.
//!
//! Both only grow with pieces that are counted although OP-TEE has let go of them. A buffer that several calls refer to is
//! mapped once, and stays where the first of them had it placed.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use super::error::NoHeap;

/// Pages that OP-TEE's mappings of a guest may span: two tables of the three that are always left.
pub(super) const WINDOW_PAGES: u64 = 1024;

/// A piece of a file takes no more pages. For it there is always room: OP-TEE up to 4.9 does not survive to be without
/// (`docs/optee-versions.md`).
pub(super) const FILE_PAGES: u64 = 2;

/// Pages at the end of the window that are kept for files: their pages, and gaps that are too small for them.
const fn kept_for_files(threads: usize) -> u64 {
    let pages = 16 * threads as u64;
    if pages < WINDOW_PAGES / 4 {
        pages
    } else {
        WINDOW_PAGES / 4
    }
}

/// For each of a guest's threads OP-TEE maps the page with its message and, for a time, a page of a list; and the page of
/// messages that all share in the beginning.
const fn small_pieces(threads: usize) -> u64 {
    2 * threads as u64 + 1
}

/// What OP-TEE maps at once for one purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Pages in all pieces.
    pages: u64,
    pieces: u64,
    /// Pages in the largest piece.
    largest: u64,
}

impl Mapping {
    /// One piece more, of `pages` pages.
    pub(super) fn add(&mut self, pages: u64) {
        self.pages = self.pages.saturating_add(pages);
        self.pieces += 1;
        self.largest = self.largest.max(pages);
    }

    /// Whether nothing is mapped.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces == 0
    }
}

/// What a mapping holds of the window, to be given back when OP-TEE has let go of it.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Share(usize);

#[derive(Debug)]
pub(super) struct CoreWindow {
    state: Mutex<State>,
    /// Whether all small pieces lie at the start. Set only while the state is locked.
    settled: AtomicBool,
}

#[derive(Debug)]
struct State {
    shares: Vec<Option<Placed>>,
    /// How many of them are taken.
    taken: usize,
    small_pieces: u64,
    kept_for_files: u64,
    /// The most pages, other than small pieces, that were mapped at once since no call was under way: a small piece lies
    /// no farther up, for each of them fits into any gap.
    most: u64,
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    mapping: Mapping,
    /// It is for a call, whose buffers others may refer to.
    of_call: bool,
    /// It ends no farther up than this, in pages.
    end: u64,
}

impl CoreWindow {
    /// The window of a guest for which OP-TEE has `threads` threads.
    pub(super) fn new(threads: usize) -> Result<Self, NoHeap> {
        let mut shares = Vec::new();
        // Each thread maps for its call, for a file and for a trusted application; twice as many for what else there is.
        let count = threads.saturating_mul(6);
        shares.try_reserve_exact(count).map_err(|_| NoHeap)?;
        shares.resize(count, None);
        Ok(Self {
            state: Mutex::new(State {
                shares,
                taken: 0,
                small_pieces: small_pieces(threads),
                kept_for_files: kept_for_files(threads),
                most: 0,
            }),
            settled: AtomicBool::new(true),
        })
    }

    /// Sets room apart for the buffers of a call. `None` where they might end behind the window.
    pub(super) fn take_for_call(&self, mapping: Mapping) -> Option<Share> {
        self.take(mapping, true)
    }

    /// Sets room apart for memory that the guest provides for an RPC. `None` where it might end behind the window.
    pub(super) fn take_for_rpc(&self, pages: u64) -> Option<Share> {
        let mut mapping = Mapping::default();
        mapping.add(pages);
        self.take(mapping, false)
    }

    fn take(&self, mapping: Mapping, of_call: bool) -> Option<Share> {
        let mut state = self.state.lock();
        let (mut pages, mut pieces) = (0, mapping.pieces.saturating_sub(1));
        // Small pieces lie below.
        let small_end = state.small_pieces + state.most;
        let mut top = small_end;
        // A buffer of the call may be one of another call already.
        let mut already = 0;
        let all = match state.taken {
            0 => &[],
            _ => state.shares.as_slice(),
        };
        for placed in all.iter().flatten() {
            pages += placed.mapping.pages;
            pieces += placed.mapping.pieces;
            top = top.max(placed.end);
            if of_call && placed.of_call {
                already = already.max(placed.end);
            }
        }
        let total = pages
            .checked_add(mapping.pages)
            .filter(|&total| total <= WINDOW_PAGES)?;
        let gap = mapping.largest.saturating_sub(1);
        // Gaps between all pieces, or between those that are not below `small_end`.
        let gaps_from_start = (pieces + state.small_pieces).saturating_mul(gap);
        let from_start = (state.small_pieces + total).saturating_add(gaps_from_start);
        let from_small_end = (small_end + total).saturating_add(pieces.saturating_mul(gap));
        let end = top
            .saturating_add(mapping.pages)
            .min(from_start)
            .min(from_small_end)
            .max(already);
        let kept = match mapping.largest {
            ..=FILE_PAGES => 0,
            _ => state.kept_for_files,
        };
        if end > WINDOW_PAGES - kept {
            return None;
        }
        let free = state.shares.iter().position(Option::is_none)?;
        if let Some(share) = state.shares.get_mut(free) {
            *share = Some(Placed {
                mapping,
                of_call,
                end,
            });
            state.taken += 1;
        }
        state.most = state.most.max(total);
        self.settled.store(false, Ordering::Relaxed);
        Some(Share(free))
    }

    /// OP-TEE has let go of a mapping.
    pub(super) fn give_back(&self, share: Share) {
        let mut state = self.state.lock();
        let placed = state.shares.get_mut(share.0).and_then(Option::take);
        state.taken -= usize::from(placed.is_some());
    }

    /// Whether all small pieces lie at the start, so that the end of a call changes nothing.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// OP-TEE is done with a call. `alone` says, when asked, whether it has no other call of the guest: then small pieces of
    /// later ones lie at the start again.
    pub(super) fn call_ends(&self, alone: impl FnOnce() -> bool) {
        if self.is_settled() {
            return;
        }
        let mut state = self.state.lock();
        // Asked while the window is locked: what a call that begins later maps counts from now on.
        if state.taken == 0 && alone() {
            state.most = 0;
            self.settled.store(true, Ordering::Relaxed);
        }
    }

    /// OP-TEE has let go of everything.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.shares.fill(None);
        state.taken = 0;
    }

    /// How many pages are mapped, other than small pieces.
    #[cfg(test)]
    pub(super) fn pages(&self) -> u64 {
        let state = self.state.lock();
        let placed = state.shares.iter().flatten();
        placed.map(|placed| placed.mapping.pages).sum()
    }
}

#[cfg(test)]
mod tests;
