//! Where in guest memory a message lies.

use core::ops::Range;

use crate::ports::{GuestMemory, NotGuestMemory};
use addresses::Ipa;

/// A stretch of guest memory that lies in one or two pieces: a message in a registered buffer may
/// cross into a page that is elsewhere. That the memory is the guest's, each access checks anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) struct Location {
    first: Ipa,
    /// Bytes in the first piece.
    first_len: usize,
    second: Ipa,
    /// Bytes in both.
    len: usize,
}

impl Location {
    /// `len` bytes in one piece.
    pub(in crate::optee) const fn contiguous(ipa: Ipa, len: usize) -> Self {
        Self {
            first: ipa,
            first_len: len,
            second: ipa,
            len,
        }
    }

    /// `first_len` bytes, then `second_len` bytes elsewhere.
    pub(in crate::optee) const fn split(
        first: Ipa,
        first_len: usize,
        second: Ipa,
        second_len: usize,
    ) -> Self {
        Self {
            first,
            first_len,
            second,
            len: first_len.saturating_add(second_len),
        }
    }

    /// Bytes in the location.
    pub(in crate::optee) const fn len(&self) -> usize {
        self.len
    }

    /// Whether the location starts at a multiple of `alignment`, a power of two.
    pub(in crate::optee) const fn is_aligned(&self, alignment: u64) -> bool {
        self.first.is_aligned(alignment)
    }

    /// The `len` bytes from `offset` on, if they lie within.
    pub(in crate::optee) fn part(&self, offset: usize, len: usize) -> Option<Self> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        match self.first_len.checked_sub(offset) {
            Some(rest) if rest > 0 => {
                let first = self.first.checked_add(offset as u64)?;
                let first_len = rest.min(len);
                Some(Self {
                    first,
                    first_len,
                    second: self.second,
                    len,
                })
            }
            _ => {
                let into_second = offset.checked_sub(self.first_len)?;
                Some(Self::contiguous(
                    self.second.checked_add(into_second as u64)?,
                    len,
                ))
            }
        }
    }

    /// Copies the first bytes of the location, as many as `into` has.
    #[inline]
    pub(in crate::optee) fn read<M: GuestMemory>(
        &self,
        memory: &M,
        into: &mut [u8],
    ) -> Result<(), NotGuestMemory> {
        if into.len() <= self.first_len {
            return memory.read(self.first, into);
        }
        self.read_both(memory, into)
    }

    #[cold]
    #[inline(never)]
    fn read_both<M: GuestMemory>(&self, memory: &M, into: &mut [u8]) -> Result<(), NotGuestMemory> {
        if into.len() > self.len {
            return Err(NotGuestMemory);
        }
        let (first, second) = into.split_at_mut(self.first_len);
        memory.read(self.first, first)?;
        memory.read(self.second, second)
    }

    /// Copies `from` to the start of the location.
    pub(in crate::optee) fn write<M: GuestMemory>(
        &self,
        memory: &M,
        from: &[u8],
    ) -> Result<(), NotGuestMemory> {
        if from.len() <= self.first_len {
            return memory.write(self.first, from);
        }
        self.write_both(memory, from)
    }

    #[cold]
    #[inline(never)]
    fn write_both<M: GuestMemory>(&self, memory: &M, from: &[u8]) -> Result<(), NotGuestMemory> {
        if from.len() > self.len {
            return Err(NotGuestMemory);
        }
        let (first, second) = from.split_at(self.first_len);
        memory.write(self.first, first)?;
        memory.write(self.second, second)
    }
}

/// How many stretches of a registered buffer are remembered for messages that lie in it.
pub(in crate::optee) const EXTENTS: usize = 4;

/// The first stretches of a buffer that are contiguous in IPA. A message may lie in any of them;
/// Linux puts messages into buffers of one page.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::optee) struct Extents {
    extents: [Extent; EXTENTS],
    used: usize,
    /// A page came that found no room: what follows it is not remembered either.
    full: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    start: u64,
    /// Where the next page would have to be to belong to it.
    end: u64,
}

impl Extents {
    /// Adds the next pages of the buffer, which are contiguous.
    pub(in crate::optee) fn push(&mut self, pages: Range<u64>) {
        if self.full || pages.is_empty() {
            return;
        }
        let Range { start, end } = pages;
        if let Some(last) = self
            .used
            .checked_sub(1)
            .and_then(|last| self.extents.get_mut(last))
            && last.end == start
        {
            last.end = end;
        } else if let Some(extent) = self.extents.get_mut(self.used) {
            *extent = Extent { start, end };
            self.used += 1;
        } else {
            self.full = true;
        }
    }

    /// The location of up to `len` bytes that start `offset` bytes after the start of the first
    /// page.
    pub(in crate::optee) fn location(&self, offset: u64, len: usize) -> Option<Location> {
        let mut skip = offset;
        let mut extents = self.extents.iter().take(self.used);
        loop {
            let extent = extents.next()?;
            let bytes = extent.end - extent.start;
            if skip >= bytes {
                skip -= bytes;
                continue;
            }
            let first = Ipa(extent.start + skip);
            let first_len = usize::try_from(bytes - skip).unwrap_or(usize::MAX).min(len);
            let rest = len - first_len;
            return Some(match extents.next() {
                Some(next) if rest > 0 => {
                    let next_len = usize::try_from(next.end - next.start).unwrap_or(usize::MAX);
                    Location::split(first, first_len, Ipa(next.start), rest.min(next_len))
                }
                _ => Location::contiguous(first, first_len),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_split_place_lie_where_they_should() {
        let location = Location::split(Ipa(0x1ff0), 16, Ipa(0x8000), 64);
        assert_eq!(
            location.part(8, 8),
            Some(Location {
                first: Ipa(0x1ff8),
                first_len: 8,
                second: Ipa(0x8000),
                len: 8
            })
        );
        assert_eq!(
            location.part(8, 24),
            Some(Location::split(Ipa(0x1ff8), 8, Ipa(0x8000), 16))
        );
        assert_eq!(
            location.part(16, 64),
            Some(Location::contiguous(Ipa(0x8000), 64))
        );
        assert_eq!(
            location.part(20, 4),
            Some(Location::contiguous(Ipa(0x8004), 4))
        );
        assert_eq!(location.part(16, 65), None);
        assert_eq!(location.part(usize::MAX, 2), None);
    }

    #[test]
    fn adjacent_pages_are_one_extent() {
        let mut extents = Extents::default();
        for page in [0x1000, 0x2000, 0x8000] {
            extents.push(page..page + 0x1000);
        }
        assert_eq!(
            extents.location(0x100, 32),
            Some(Location::contiguous(Ipa(0x1100), 32))
        );
        assert_eq!(
            extents.location(0x1ff0, 32),
            Some(Location::split(Ipa(0x2ff0), 16, Ipa(0x8000), 16))
        );
        assert_eq!(
            extents.location(0x2ff0, 32),
            Some(Location::contiguous(Ipa(0x8ff0), 16))
        );
        assert_eq!(extents.location(0x3000, 32), None);
    }

    #[test]
    fn only_the_first_extents_are_remembered() {
        let mut extents = Extents::default();
        for index in 0..8 {
            let page = 0x1_0000 * index;
            extents.push(page..page + 0x1000);
        }
        assert!(extents.location(0x3000, 8).is_some());
        assert_eq!(extents.location(0x4000, 8), None);
    }

    #[test]
    fn what_follows_a_forgotten_page_is_forgotten() {
        let mut extents = Extents::default();
        for page in [0x1000, 0x3000, 0x5000, 0x7000, 0x9000, 0x8000] {
            extents.push(page..page + 0x1000);
        }
        assert_eq!(extents.location(0x4000, 8), None);
    }
}
