//! How many of a VM's calls nobody answered here, and how many of these are told of.

use crate::console::rate_limit::{Pass, RateLimit};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;

/// Lines a second that a VM's refused calls may have on the console.
const REFUSED_LOGGED_PER_SECOND: u32 = 4;

/// The calls of a VM that were refused or forwarded.
#[derive(Debug)]
pub struct CallCounts {
    refused: AtomicU64,
    refused_log: Mutex<RateLimit>,
    forwarded: AtomicU64,
}

impl CallCounts {
    /// None yet; a counter that ticks `frequency` times a second measures the time.
    #[must_use]
    pub fn new(frequency: u64) -> Self {
        Self {
            refused: AtomicU64::new(0),
            refused_log: Mutex::new(RateLimit::new(REFUSED_LOGGED_PER_SECOND, frequency)),
            forwarded: AtomicU64::new(0),
        }
    }

    /// Counts a call that is refused, at time `now`, and tells whether it is to be logged.
    pub fn note_refused(&self, now: u64) -> Pass {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.refused_log.lock().event(now)
    }

    /// Counts a call that was forwarded to the firmware.
    pub fn note_forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many were forwarded.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_calls_are_all_counted_and_few_are_told_of() {
        let calls = CallCounts::new(1000);
        let told = (0..100).filter(|&now| calls.note_refused(now) != Pass::No);
        assert_eq!(told.count(), REFUSED_LOGGED_PER_SECOND as usize);
        calls.note_forwarded();
        assert_eq!((calls.refused(), calls.forwarded()), (100, 1));
    }
}
