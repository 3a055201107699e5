//! How many calls a guest may make in a second.
//!
//! A call beyond the limit is not refused but waits its turn: it has its slot, and the guest is
//! sent back to take interrupts until then. To refuse it would break more than it saves
//! (`docs/decisions/call-rate.md`).

use crate::sync::atomic::{AtomicU64, Ordering};
use core::num::NonZeroU32;

/// This part of a second's calls may come at once.
const BURST_PART: u64 = 10;

/// The turns of a guest's calls (a virtual-scheduling leaky bucket; ITU-T I.371, the generic cell
/// rate algorithm).
#[derive(Debug)]
pub(super) struct Throttle {
    /// Ticks from one call to the next, and how many a call may be ahead of its turn.
    interval: u64,
    ahead: u64,
    /// The turn of the next call.
    next: AtomicU64,
}

impl Throttle {
    /// For a guest whose life begins at `now`.
    pub(super) fn new(calls_per_second: NonZeroU32, ticks_per_second: u64, now: u64) -> Self {
        let calls = u64::from(calls_per_second.get());
        let interval = ticks_per_second.div_ceil(calls);
        let burst = (calls / BURST_PART).max(1);
        let throttle = Self {
            interval,
            ahead: interval.saturating_mul(burst - 1),
            next: AtomicU64::new(u64::MAX),
        };
        throttle.begin_life(now);
        throttle
    }

    /// A life of the guest begins at `now`: it waits for no call of the one before that did not
    /// begin, but has not got a burst more for being another one.
    pub(super) fn begin_life(&self, now: u64) {
        let most = now.saturating_add(self.ahead).saturating_add(self.interval);
        self.next.fetch_min(most, Ordering::Relaxed);
    }

    /// Gives a call that comes at `now` its turn: the time before which it may not go on.
    pub(super) fn turn(&self, now: u64) -> u64 {
        let after = |turn: u64| turn.max(now).saturating_add(self.interval);
        let update = |turn| Some(after(turn));
        let turn = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
            .unwrap_or_else(|turn| turn);
        turn.max(now).saturating_sub(self.ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(calls: u32, ticks: u64) -> Throttle {
        Throttle::new(NonZeroU32::new(calls).unwrap(), ticks, 0)
    }

    #[test]
    fn a_tenth_of_a_second_s_calls_may_come_at_once() {
        let throttle = throttle(50, 1000);
        let now = 10_000;
        let waits: [u64; 7] = core::array::from_fn(|_| throttle.turn(now).saturating_sub(now));
        assert_eq!(waits, [0, 0, 0, 0, 0, 20, 40]);
        assert_eq!(
            throttle.turn(20_000),
            20_000 - 80,
            "a quiet guest has all of it again"
        );
    }

    #[test]
    fn another_life_owes_nothing_for_calls_that_were_never_made() {
        let throttle = throttle(50, 1000);
        for _ in 0..10_000 {
            let _ = throttle.turn(10_000);
        }
        assert!(throttle.turn(10_000) > 200_000);
        throttle.begin_life(10_000);
        assert_eq!(throttle.turn(10_000), 10_020);
    }

    #[test]
    fn lives_do_not_add_up_to_more_calls() {
        let throttle = throttle(50, 1000);
        let mut began = 0;
        for _ in 0..20 {
            throttle.begin_life(10_000);
            began += (0..5).filter(|_| throttle.turn(10_000) <= 10_000).count();
        }
        assert_eq!(began, 5, "one burst");
    }

    #[test]
    fn no_second_has_more_calls_than_the_limit_and_the_burst() {
        let throttle = throttle(30, 1000);
        let mut began = [0; 200];
        let mut now = 5;
        for start in &mut began {
            now = throttle.turn(now).max(now);
            *start = now;
        }
        for first in began {
            let calls = began.iter().filter(|at| (first..first + 1000).contains(at));
            assert!(calls.count() <= 33);
        }
    }

    #[test]
    fn a_slow_counter_never_makes_it_more() {
        let throttle = throttle(7, 10);
        assert_eq!(throttle.turn(100), 100);
        assert_eq!(throttle.turn(100), 102, "two ticks, not one and a half");
    }

    #[test]
    fn time_at_its_end_does_not_wrap() {
        let throttle = throttle(1, 1000);
        assert_eq!(throttle.turn(u64::MAX - 1), u64::MAX - 1);
        assert_eq!(throttle.turn(u64::MAX - 1), u64::MAX);
        assert_eq!(throttle.turn(u64::MAX), u64::MAX);
    }
}
