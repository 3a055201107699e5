//! The shadow pages of a VM that hold translated page lists while OP-TEE reads them.

use alloc::vec::Vec;

use crate::sync::Mutex;

use crate::optee::error::NoHeap;

/// Marks the end of a chain.
const END: u32 = u32::MAX;

/// Pages of one list, the first to the last. Must be given back: dropping it loses the pages.
#[derive(Debug)]
#[must_use]
pub(in crate::optee) struct Chain {
    head: u32,
    tail: u32,
}

impl Chain {
    /// A chain with no page.
    pub(in crate::optee) const fn new() -> Self {
        Self {
            head: END,
            tail: END,
        }
    }

    /// The page that was taken first.
    pub(in crate::optee) fn first(&self) -> Option<usize> {
        (self.head != END).then_some(self.head as usize)
    }

    /// The page that was taken last.
    pub(in crate::optee) fn last(&self) -> Option<usize> {
        (self.tail != END).then_some(self.tail as usize)
    }
}

/// Free pages, chained by index, so that a whole list is given back in one step however long it is.
#[derive(Debug)]
pub(in crate::optee) struct PagePool {
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    /// For each page the one that follows it, in the list of free ones or in the chain it belongs
    /// to.
    next: Vec<u32>,
    head: u32,
}

impl PagePool {
    /// A pool of the shadow pages from `first` up to but not including `end`.
    pub(in crate::optee) fn new(first: usize, end: usize) -> Result<Self, NoHeap> {
        let end = u32::try_from(end).unwrap_or(END);
        let first = u32::try_from(first).unwrap_or(END).min(end);
        let mut next = Vec::new();
        next.try_reserve_exact(end as usize).map_err(|_| NoHeap)?;
        next.extend((0..end).map(|page| if page + 1 < end { page + 1 } else { END }));
        let head = if first < end { first } else { END };
        Ok(Self {
            free: Mutex::new(Free { next, head }),
        })
    }

    /// Appends a free page to `chain` and says which; `None` if there is none.
    pub(in crate::optee) fn take(&self, chain: &mut Chain) -> Option<usize> {
        let mut free = self.free.lock();
        let page = free.head;
        let link = free.next.get_mut(page as usize)?;
        let following = core::mem::replace(link, END);
        free.head = following;
        if chain.tail == END {
            chain.head = page;
        } else if let Some(link) = free.next.get_mut(chain.tail as usize) {
            *link = page;
        }
        chain.tail = page;
        Some(page as usize)
    }

    /// Gives all pages of `chain` back and leaves it empty.
    pub(in crate::optee) fn give_back(&self, chain: &mut Chain) {
        let Chain { head, tail } = core::mem::replace(chain, Chain::new());
        if head == END {
            return;
        }
        let mut free = self.free.lock();
        let before = free.head;
        if let Some(link) = free.next.get_mut(tail as usize) {
            *link = before;
        }
        free.head = head;
    }

    #[cfg(any(test, feature = "fakes"))]
    pub(in crate::optee) fn free_pages(&self) -> usize {
        let free = self.free.lock();
        let follow = |page: &u32| {
            free.next
                .get(*page as usize)
                .copied()
                .filter(|page| *page != END)
        };
        core::iter::successors(Some(free.head).filter(|page| *page != END), follow).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_from_the_range_and_go_back() {
        let pool = PagePool::new(2, 5).unwrap();
        let mut chain = Chain::new();
        assert_eq!(chain.first(), None);
        assert_eq!(
            [(); 3].map(|()| pool.take(&mut chain)),
            [Some(2), Some(3), Some(4)]
        );
        assert_eq!(pool.take(&mut chain), None);
        assert_eq!((chain.first(), chain.last()), (Some(2), Some(4)));
        pool.give_back(&mut chain);
        assert_eq!(chain.first(), None);
        assert_eq!(pool.free_pages(), 3);
        pool.give_back(&mut chain);
        assert_eq!(pool.free_pages(), 3);
    }

    #[test]
    fn interleaved_chains_keep_their_pages() {
        let pool = PagePool::new(0, 6).unwrap();
        let (mut one, mut other) = (Chain::new(), Chain::new());
        for _ in 0..3 {
            assert!(pool.take(&mut one).is_some());
            assert!(pool.take(&mut other).is_some());
        }
        pool.give_back(&mut one);
        assert_eq!(pool.free_pages(), 3);
        pool.give_back(&mut other);
        assert_eq!(pool.free_pages(), 6);
    }

    #[test]
    fn an_empty_pool_gives_nothing() {
        let pool = PagePool::new(3, 3).unwrap();
        assert_eq!(pool.take(&mut Chain::new()), None);
    }
}
