//! Physical memory that nobody uses yet: sorted ranges, handed out in pages and in the 2 MiB blocks
//! of guests' memory.

use alloc::vec::Vec;

use addresses::{PAGE_SIZE, Pa};
use host_abi::memory_map::BLOCK_SIZE;

/// Bytes in a level 1 block of the 4 KiB granule.
pub const GIGABYTE: u64 = 1 << 30;

/// A contiguous piece of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts.
    pub pa: Pa,
    /// Its length in bytes.
    pub len: u64,
}

/// From `start` up to and without `end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FreeRange {
    start: u64,
    end: u64,
}

impl FreeRange {
    /// The first multiple of `align` in the range, and the bytes from there to the end of the
    /// range.
    fn aligned(self, align: u64) -> Option<(u64, u64)> {
        let start = self.start.checked_next_multiple_of(align)?;
        let len = self.end.checked_sub(start)?;
        (len > 0).then_some((start, len))
    }

    fn len(self) -> u64 {
        self.end - self.start
    }
}

/// The free memory of the machine. All of it is in whole pages.
#[derive(Debug, Default)]
pub struct Frames {
    /// Sorted by address; no two overlap or touch.
    ranges: Vec<FreeRange>,
}

impl Frames {
    /// No memory at all.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Makes the whole pages of `start` .. `start + len` free. What is free already stays so.
    pub fn add(&mut self, start: Pa, len: u64) {
        let Some(mut from) = start.0.checked_next_multiple_of(PAGE_SIZE) else {
            return;
        };
        let mut to = Pa(start.0.saturating_add(len)).page().0;
        if from >= to {
            return;
        }
        // All ranges that overlap or touch the new one become one with it.
        let first = self.ranges.partition_point(|range| range.end < from);
        let after = self.ranges.partition_point(|range| range.start <= to);
        for range in &self.ranges[first..after] {
            from = from.min(range.start);
            to = to.max(range.end);
        }
        let merged = FreeRange {
            start: from,
            end: to,
        };
        self.ranges.splice(first..after, [merged]);
    }

    /// Takes out every page that `start` .. `start + len` touches.
    pub fn reserve(&mut self, start: Pa, len: u64) {
        if len == 0 {
            return;
        }
        let from = start.page().0;
        let to = start.0.saturating_add(len);
        let to = to.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
        let first = self.ranges.partition_point(|range| range.end <= from);
        let after = self.ranges.partition_point(|range| range.start < to);
        if first >= after {
            return;
        }
        let head = FreeRange {
            start: self.ranges[first].start,
            end: from,
        };
        let tail = FreeRange {
            start: to,
            end: self.ranges[after - 1].end,
        };
        let rest = [head, tail]
            .into_iter()
            .filter(|range| range.start < range.end);
        self.ranges.splice(first..after, rest);
    }

    /// Takes `len` bytes, rounded up to pages, that start at a multiple of `align`, a power of two.
    ///
    /// Of the ranges that have room, takes the smallest: what is left over then stays useful.
    pub fn allocate(&mut self, len: u64, align: u64) -> Option<Pa> {
        let len = len.checked_next_multiple_of(PAGE_SIZE)?;
        if len == 0 || !align.is_power_of_two() {
            return None;
        }
        let start = self.best_fit(len, align.max(PAGE_SIZE))?;
        self.reserve(Pa(start), len);
        Some(Pa(start))
    }

    /// Takes memory for a guest: extents that add up to `len` bytes, a multiple of 2 MiB; each is a
    /// multiple of 2 MiB and aligned to 2 MiB.
    ///
    /// They are few, and come in an order such that, mapped one after the other from an IPA that is
    /// a multiple of 1 GiB, as many blocks of 1 GiB as can be had show up. When there is not
    /// enough, takes nothing.
    pub fn allocate_extents(&mut self, len: u64) -> Option<Vec<Extent>> {
        if len == 0 || !len.is_multiple_of(BLOCK_SIZE) {
            return None;
        }
        let mut extents = Vec::new();
        let mut missing = len;
        while missing > 0 {
            let Some(extent) = self.next_extent(missing) else {
                for Extent { pa, len } in extents {
                    self.free(pa, len);
                }
                return None;
            };
            self.reserve(extent.pa, extent.len);
            extents.push(extent);
            missing -= extent.len;
        }
        Some(extents)
    }

    /// Gives back what was allocated.
    pub fn free(&mut self, start: Pa, len: u64) {
        self.add(start, len.next_multiple_of(PAGE_SIZE));
    }

    /// How many bytes are free.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    /// Where the best piece is for a guest that still wants `missing` bytes, a multiple of 2 MiB.
    fn next_extent(&self, missing: u64) -> Option<Extent> {
        if missing >= GIGABYTE
            && let Some((start, len)) = self.longest(GIGABYTE)
            && len >= GIGABYTE
        {
            // A piece that does not serve the rest ends on 1 GiB, so that what follows it is
            // aligned as well.
            let len = if len >= missing {
                missing
            } else {
                len - len % GIGABYTE
            };
            return Some(Extent { pa: Pa(start), len });
        }
        if let Some(start) = self.best_fit(missing, BLOCK_SIZE) {
            return Some(Extent {
                pa: Pa(start),
                len: missing,
            });
        }
        let (start, len) = self.longest(BLOCK_SIZE)?;
        let len = len - len % BLOCK_SIZE;
        (len > 0).then_some(Extent { pa: Pa(start), len })
    }

    /// The start, a multiple of `align`, of `len` bytes in the smallest range that has room for
    /// them.
    fn best_fit(&self, len: u64, align: u64) -> Option<u64> {
        let fitting = self.ranges.iter().filter_map(|range| {
            let (start, room) = range.aligned(align)?;
            (room >= len).then_some((range.len(), start))
        });
        fitting.min().map(|(_, start)| start)
    }

    /// The longest free piece that starts at a multiple of `align`: its start and its length.
    fn longest(&self, align: u64) -> Option<(u64, u64)> {
        let pieces = self.ranges.iter().filter_map(|range| range.aligned(align));
        pieces.max_by_key(|&(_, len)| len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn frames(ranges: &[(u64, u64)]) -> Frames {
        let mut frames = Frames::new();
        for &(start, len) in ranges {
            frames.add(Pa(start), len);
        }
        frames
    }

    fn total(extents: &[Extent]) -> u64 {
        extents.iter().map(|extent| extent.len).sum()
    }

    #[test]
    fn only_whole_pages_become_free() {
        let frames = frames(&[(0x1001, 0x2fff), (0x8001, 0xffe), (u64::MAX - 5, 5)]);
        assert_eq!(
            frames.ranges,
            [FreeRange {
                start: 0x2000,
                end: 0x4000
            }]
        );
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let frames = frames(&[
            (0x1000, 0x1000),
            (0x3000, 0x1000),
            (0x2000, 0x1000),
            (0x1000, 0x4000),
        ]);
        assert_eq!(
            frames.ranges,
            [FreeRange {
                start: 0x1000,
                end: 0x5000
            }]
        );
        assert_eq!(frames.free_bytes(), 0x4000);
    }

    #[test]
    fn what_is_reserved_is_taken_out_with_the_pages_it_touches() {
        let mut frames = frames(&[(0x1000, 0x8000)]);
        frames.reserve(Pa(0x3fff), 2);
        assert_eq!(
            frames.ranges,
            [
                FreeRange {
                    start: 0x1000,
                    end: 0x3000
                },
                FreeRange {
                    start: 0x5000,
                    end: 0x9000
                }
            ]
        );
        frames.reserve(Pa(0x2000), 0x5000);
        assert_eq!(
            frames.ranges,
            [
                FreeRange {
                    start: 0x1000,
                    end: 0x2000
                },
                FreeRange {
                    start: 0x7000,
                    end: 0x9000
                }
            ]
        );
        frames.reserve(Pa(0x3000), 0x1000);
        frames.reserve(Pa(0x1800), 0);
        assert_eq!(frames.free_bytes(), 0x3000);
        frames.reserve(Pa(0), u64::MAX);
        assert_eq!(frames.free_bytes(), 0);
    }

    #[test]
    fn an_allocation_is_aligned_and_comes_from_the_smallest_range() {
        let mut frames = frames(&[(0x10_0000, 16 * MIB), (0x9000_1000, 2 * PAGE_SIZE)]);
        assert_eq!(frames.allocate(1, PAGE_SIZE), Some(Pa(0x9000_1000)));
        assert_eq!(frames.allocate(PAGE_SIZE, BLOCK_SIZE), Some(Pa(0x20_0000)));
        assert_eq!(frames.allocate(PAGE_SIZE, 1), Some(Pa(0x9000_2000)));
    }

    #[test]
    fn an_allocation_that_makes_no_sense_is_refused() {
        let mut frames = frames(&[(0, MIB)]);
        assert_eq!(frames.allocate(0, PAGE_SIZE), None);
        assert_eq!(frames.allocate(1, 3), None);
        assert_eq!(frames.allocate(MIB + 1, PAGE_SIZE), None);
        assert_eq!(frames.allocate(u64::MAX, PAGE_SIZE), None);
        assert_eq!(frames.free_bytes(), MIB);
    }

    #[test]
    fn a_guest_of_gigabytes_gets_gigabyte_aligned_memory() {
        let mut frames = frames(&[(0x6680_0000, 0x9980_0000)]);
        let extents = frames.allocate_extents(GIGABYTE + 64 * MIB);
        let whole = Extent {
            pa: Pa(0x8000_0000),
            len: GIGABYTE + 64 * MIB,
        };
        assert_eq!(extents, Some(alloc::vec![whole]));
    }

    #[test]
    fn a_guest_too_large_for_one_range_gets_its_whole_gigabytes_first() {
        let mut frames = frames(&[
            (0x8000_0000, GIGABYTE + 512 * MIB),
            (0x1_0000_0000, GIGABYTE + 512 * MIB),
        ]);
        let extents = frames.allocate_extents(2 * GIGABYTE + 768 * MIB).unwrap();
        assert_eq!(total(&extents), 2 * GIGABYTE + 768 * MIB);
        assert!(
            extents[..2]
                .iter()
                .all(|extent| extent.len == GIGABYTE && extent.pa.is_aligned(GIGABYTE))
        );
        assert_eq!(frames.free_bytes(), 256 * MIB);
    }

    #[test]
    fn a_small_guest_gets_the_smallest_range_that_serves_it() {
        let mut frames = frames(&[(0x8000_0000, GIGABYTE), (0x4010_0000, 511 * MIB)]);
        let extents = frames.allocate_extents(256 * MIB);
        assert_eq!(
            extents,
            Some(alloc::vec![Extent {
                pa: Pa(0x4020_0000),
                len: 256 * MIB
            }])
        );
    }

    #[test]
    fn a_guest_is_put_together_from_what_there_is() {
        let mut frames = frames(&[(0x4010_0000, 7 * MIB), (0x5000_0000, 4 * MIB)]);
        let extents = frames.allocate_extents(10 * MIB).unwrap();
        assert_eq!(total(&extents), 10 * MIB);
        assert!(
            extents
                .iter()
                .all(|extent| extent.pa.is_aligned(BLOCK_SIZE))
        );
        assert_eq!(frames.free_bytes(), MIB);
    }

    #[test]
    fn a_guest_that_does_not_fit_takes_nothing() {
        let mut frames = frames(&[(0x4010_0000, 7 * MIB), (0x5000_0000, 4 * MIB)]);
        assert_eq!(frames.allocate_extents(12 * MIB), None);
        assert_eq!(frames.allocate_extents(MIB), None);
        assert_eq!(frames.allocate_extents(0), None);
        assert_eq!(frames.free_bytes(), 11 * MIB);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_disjoint_and_comes_back_whole(sizes in prop::collection::vec(1u64..64, 1..20)) {
            let mut frames = frames(&[(0x4010_0000, 300 * MIB), (0x8000_0000, 100 * MIB)]);
            let before = frames.ranges.clone();
            let mut taken: Vec<Extent> = Vec::new();
            for (index, size) in sizes.into_iter().enumerate() {
                if index % 2 == 0 {
                    taken.extend(frames.allocate_extents(size * BLOCK_SIZE).unwrap_or_default());
                } else if let Some(pa) = frames.allocate(size * PAGE_SIZE, PAGE_SIZE) {
                    taken.push(Extent { pa, len: size * PAGE_SIZE });
                }
            }
            prop_assert_eq!(frames.free_bytes() + total(&taken), 400 * MIB);
            taken.sort_by_key(|extent| extent.pa);
            prop_assert!(taken.windows(2).all(|pair| pair[0].pa.0 + pair[0].len <= pair[1].pa.0));
            for Extent { pa, len } in taken {
                frames.free(pa, len);
            }
            prop_assert_eq!(frames.ranges, before);
        }
    }
}
