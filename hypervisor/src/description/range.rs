//! Ranges of physical memory.

use addresses::Pa;

/// A range of physical memory. Those that come from [`parse`](crate::description::parse) are not
/// empty and do not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it starts.
    pub start: Pa,
    /// Its length in bytes.
    pub len: u64,
}

impl Range {
    /// The address behind it, or the last one where that wraps.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.0.saturating_add(self.len)
    }

    /// Whether all of `other` is in this range.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether there is a byte in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start.0 < other.end() && other.start.0 < self.end()
    }
}
