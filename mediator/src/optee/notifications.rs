//! Asynchronous notifications: values by which OP-TEE calls for a guest's attention.
//!
//! OP-TEE raises one interrupt of the machine without saying for which guest. Then each guest's
//! values are fetched in its name and kept here until the guest asks for them, as it does when it
//! gets its virtual interrupt.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Values that can be kept: those below. OP-TEE 4.5.0 has 64 of them, and one for each of its
/// threads (`core/include/kernel/notif.h`).
pub(super) const VALUES: u32 = 1024;

const WORDS: usize = VALUES as usize / 64;

#[derive(Debug, Default)]
pub(super) struct Notifications {
    /// A bit for each value that waits for the guest to ask.
    waiting: [AtomicU64; WORDS],
    /// Whether the guest wants to be notified, and OP-TEE knows that.
    enabled: AtomicBool,
    /// Whether OP-TEE is about to forget the guest, so that it must not be asked any more.
    stopped: AtomicBool,
    /// How many CPUs are asking it.
    asking: AtomicU32,
}

impl Notifications {
    /// The guest wants to be notified, and OP-TEE knows that.
    pub(super) fn enable(&self) {
        self.enabled.store(true, Ordering::Release);
    }

    /// Whether the guest wants to be notified.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Keeps a value. `false` if it is none.
    pub(super) fn keep(&self, value: u32) -> bool {
        let word = self.waiting.get(value as usize / 64);
        if let Some(word) = word {
            word.fetch_or(1 << (value % 64), Ordering::AcqRel);
        }
        word.is_some()
    }

    /// Keeps a value, if the guest wants to be notified. `true` if there is something new for
    /// it.
    pub(super) fn pass_on(&self, value: u32) -> bool {
        self.is_enabled() && self.keep(value)
    }

    /// Takes the lowest value that waits.
    pub(super) fn take(&self) -> Option<u32> {
        for (word, base) in self.waiting.iter().zip((0..).step_by(64)) {
            let mut seen = word.load(Ordering::Acquire);
            while seen != 0 {
                let lowest = seen & seen.wrapping_neg();
                // Of several vCPUs that see it, one gets it.
                if word.fetch_and(!lowest, Ordering::AcqRel) & lowest != 0 {
                    return Some(base + lowest.trailing_zeros());
                }
                seen &= !lowest;
            }
        }
        None
    }

    pub(super) fn any(&self) -> bool {
        let waits = |word: &AtomicU64| word.load(Ordering::Acquire) != 0;
        self.waiting.iter().any(waits)
    }

    /// Asks OP-TEE something about the guest, unless that is stopped.
    pub(super) fn ask<T>(&self, ask: impl FnOnce() -> T) -> Option<T> {
        // Before the look, so that who stops it sees this CPU or this CPU sees that it is stopped.
        self.asking.fetch_add(1, Ordering::SeqCst);
        let answer = (!self.stopped.load(Ordering::SeqCst)).then(ask);
        self.asking.fetch_sub(1, Ordering::Release);
        answer
    }

    /// OP-TEE is not asked any more: values fetched from now on would be those of a guest that has
    /// come to be another. What waits is forgotten. Returns after the fast calls that other CPUs
    /// have under way.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        while self.asking.load(Ordering::SeqCst) != 0 {
            crate::sync::wait();
        }
        self.forget();
    }

    /// The guest is not to be notified until it wants to be anew. What waits is forgotten.
    pub(super) fn forget(&self) {
        self.enabled.store(false, Ordering::Release);
        for word in &self.waiting {
            word.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_kept_once_and_given_once_lowest_first() {
        let notifications = Notifications::default();
        for value in [700, 3, 64, 3, 0, VALUES - 1] {
            assert!(notifications.keep(value));
        }
        for value in [0, 3, 64, 700, VALUES - 1] {
            assert!(notifications.any());
            assert_eq!(notifications.take(), Some(value));
        }
        assert!(!notifications.any());
        assert_eq!(notifications.take(), None);
    }

    #[test]
    fn numbers_that_are_no_value_are_not_kept() {
        let notifications = Notifications::default();
        assert!(!notifications.keep(VALUES));
        assert!(!notifications.keep(u32::MAX));
        assert!(!notifications.any());
    }

    #[test]
    fn what_is_forgotten_is_not_given_and_nothing_comes_until_it_is_wanted_anew() {
        let notifications = Notifications::default();
        notifications.enable();
        assert!(notifications.pass_on(7));
        notifications.forget();
        assert!(!notifications.any() && !notifications.is_enabled());
        assert_eq!(notifications.take(), None);
        assert!(!notifications.pass_on(7));
    }
}
