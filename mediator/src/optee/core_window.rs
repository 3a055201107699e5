//! Room in OP-TEE's own address space.
//!
//! OP-TEE maps some memory of a guest for itself: what it asked the guest for, which is a block of
//! a file or a trusted application, and the buffers of a call that it serves without a loaded
//! application (a pseudo-TA). It places each piece in a window at the first gap that is large
//! enough (`tee_mm_alloc`, `core/mm/tee_mm.c`), makes a translation table for each 2 MiB that it
//! reaches, never gives one back, and halts for all guests when it needs a twelfth
//! (`core_mmu_map_pages`, `core/mm/core_mmu.c`; `MAX_XLAT_TABLES`,
//! `core/arch/arm/mm/core_mmu_lpae.c`; OP-TEE 4.5 to 4.10). Up to eight of the eleven are in use
//! before, depending on where OP-TEE lies. From 4.6 on it takes them from the memory of the guest's
//! trusted applications, and halts when that is full; so the tables of the window are made when the
//! partition is.
//!
//! So it is not the sum of what is mapped that counts but how far up any of it may lie. That
//! depends on the order in which pieces come and go on all of a guest's CPUs, which is not known
//! here. Two things hold for each order, and the lower one bounds where a new piece ends:
//!
//! * it lies nowhere behind the piece that ends last, for behind that all is free;
//! * where it did not fit into a gap, each gap before it is smaller than it is, and there are no
//!   more gaps than pieces.
//!
//! Both only grow with pieces that are counted although OP-TEE has let go of them. A buffer that
//! several calls refer to is mapped once, and stays where the first of them had it placed.

use crate::sync::atomic::{AtomicBool, Ordering};
use alloc::vec::Vec;

use crate::sync::Mutex;

use super::error::NoHeap;

/// Pages that OP-TEE's mappings of a guest may span: two tables of the three that are always left.
pub(super) const WINDOW_PAGES: u64 = END as u64;
/// Where the window ends, in pages.
const END: u16 = 1024;

/// A piece of a file takes no more pages. For it there is always room: OP-TEE up to 4.9 does not
/// survive to be without (`docs/optee-versions.md`).
pub(super) const FILE_PAGES: u32 = 2;

/// Pages at the end of the window that are kept for files: their pages, and gaps that are too small
/// for them.
const fn kept_for_files(threads: usize) -> u16 {
    let pages = 16 * threads as u64;
    if pages < WINDOW_PAGES / 4 {
        pages as u16
    } else {
        END / 4
    }
}

/// For each of a guest's threads OP-TEE maps the page with its message and, for a time, a page of a
/// list; and the page of messages that all share in the beginning.
const fn small_pieces(threads: usize) -> u16 {
    2 * threads as u16 + 1
}

/// What OP-TEE maps at once for one purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Pages in all pieces.
    pages: u32,
    /// Pages in the largest piece.
    largest: u32,
    pieces: u16,
}

impl Mapping {
    /// One piece more, of `pages` pages.
    pub(super) fn add(&mut self, pages: u64) {
        /// What a piece takes at most: more than there are.
        const TOO_MANY: u32 = WINDOW_PAGES as u32 + 1;
        let pages = u32::try_from(pages).unwrap_or(TOO_MANY).min(TOO_MANY);
        self.pages = self.pages.saturating_add(pages);
        self.largest = self.largest.max(pages);
        self.pieces += 1;
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

/// Numbers are of pages or pieces. They are so small that sums and products of them fit into 64
/// bits.
#[derive(Debug)]
struct State {
    shares: Vec<Option<Placed>>,
    /// How many of them are taken, and what they have.
    taken: usize,
    pages: u32,
    pieces: u16,
    small_pieces: u16,
    /// No mapping but those for files ends farther up.
    end: u16,
    /// The most pages, other than small pieces, that were mapped at once since no call was under
    /// way: a small piece lies no farther up, for each of them fits into any gap.
    most: u32,
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    pages: u32,
    pieces: u16,
    /// It ends no farther up than this.
    end: u16,
    /// It is for a call, whose buffers others may refer to.
    of_call: bool,
}

impl CoreWindow {
    /// The window of a guest for which OP-TEE has `threads` threads.
    pub(super) fn new(threads: usize) -> Result<Self, NoHeap> {
        let mut shares = Vec::new();
        // Each thread maps for its call, for a file and for a trusted application; twice as many
        // for what else there is.
        let count = threads.saturating_mul(6);
        shares.try_reserve_exact(count).map_err(|_| NoHeap)?;
        shares.resize(count, None);
        Ok(Self {
            state: Mutex::new(State {
                shares,
                taken: 0,
                pages: 0,
                pieces: 0,
                small_pieces: small_pieces(threads),
                end: END - kept_for_files(threads),
                most: 0,
            }),
            settled: AtomicBool::new(true),
        })
    }

    /// Sets room apart for the buffers of a call. `None` where they might end behind the window.
    pub(super) fn take_for_call(&self, mapping: Mapping) -> Option<Share> {
        self.take(mapping, true)
    }

    /// Sets room apart for memory that the guest provides for an RPC. `None` where it might end
    /// behind the window.
    pub(super) fn take_for_rpc(&self, pages: u64) -> Option<Share> {
        let mut mapping = Mapping::default();
        mapping.add(pages);
        self.take(mapping, false)
    }

    fn take(&self, mapping: Mapping, of_call: bool) -> Option<Share> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let small_pieces = u64::from(state.small_pieces);
        let most = u64::from(state.most);
        // Small pieces lie below.
        let mut top = small_pieces + most;
        // A buffer of the call may be one of another call already.
        let mut already = 0;
        for placed in state.shares.iter().flatten().take(state.taken) {
            let end = u64::from(placed.end);
            top = top.max(end);
            if of_call && placed.of_call {
                already = already.max(end);
            }
        }
        let pages = u64::from(mapping.pages);
        let total = u64::from(state.pages) + pages;
        if total > WINDOW_PAGES {
            return None;
        }
        let gap = u64::from(mapping.largest.saturating_sub(1));
        let pieces_before = u64::from(state.pieces) + u64::from(mapping.pieces.saturating_sub(1));
        // Before small pieces there are gaps, too, or whatever was mapped there.
        let small_end = small_pieces + most.min(small_pieces * gap);
        let behind_gaps = small_end + total + pieces_before * gap;
        let end = (top + pages).min(behind_gaps).max(already);
        let most_far_up = match mapping.largest {
            ..=FILE_PAGES => END,
            _ => state.end,
        };
        if end > u64::from(most_far_up) {
            return None;
        }
        let mut shares = state.shares.iter_mut().enumerate();
        let (free, share) = shares.find(|(_, share)| share.is_none())?;
        *share = Some(Placed {
            pages: mapping.pages,
            pieces: mapping.pieces,
            end: end as u16,
            of_call,
        });
        state.taken += 1;
        state.pages = total as u32;
        state.pieces += mapping.pieces;
        state.most = state.most.max(state.pages);
        self.settled.store(false, Ordering::Relaxed);
        Some(Share(free))
    }

    /// OP-TEE has let go of a mapping.
    pub(super) fn give_back(&self, share: Share) {
        self.state.lock().give_back(share);
    }

    /// Whether all small pieces lie at the start, so that the end of a call changes nothing.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// OP-TEE is done with a call, which had `share`. `alone` says, when asked, whether it has no
    /// other call of the guest: then small pieces of later ones lie at the start again.
    pub(super) fn call_ends(&self, share: Option<Share>, alone: impl FnOnce() -> bool) {
        if share.is_none() && self.is_settled() {
            return;
        }
        let mut state = self.state.lock();
        if let Some(share) = share {
            state.give_back(share);
        }
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
        state.pages = 0;
        state.pieces = 0;
    }

    /// How many pages are mapped, other than small pieces.
    #[cfg(any(test, feature = "fakes"))]
    pub(super) fn pages(&self) -> u64 {
        self.state.lock().pages.into()
    }
}

impl State {
    fn give_back(&mut self, Share(index): Share) {
        if let Some(placed) = self.shares.get_mut(index).and_then(Option::take) {
            self.taken -= 1;
            self.pages -= placed.pages;
            self.pieces -= placed.pieces;
        }
    }
}

#[cfg(test)]
mod tests;
