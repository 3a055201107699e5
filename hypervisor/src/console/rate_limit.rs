//! Keeps a guest from flooding the console with what it does wrong.

/// A limit on the events of a period; a count of those left out.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Ticks in a period.
    period: u64,
    most: u32,
    period_start: u64,
    passed: u32,
    held_back: u64,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It may pass; `held_back` is how many were not let through since the last one that did.
    Yes {
        /// Events held back since.
        held_back: u64,
    },
    /// It is held back.
    No,
}

impl RateLimit {
    /// At most `most` events in `period` ticks.
    #[must_use]
    pub const fn new(most: u32, period: u64) -> Self {
        Self {
            period,
            most,
            period_start: 0,
            passed: 0,
            held_back: 0,
        }
    }

    /// An event at time `now`.
    pub fn event(&mut self, now: u64) -> Pass {
        if now.saturating_sub(self.period_start) >= self.period {
            self.period_start = now;
            self.passed = 0;
        }
        if self.passed < self.most {
            self.passed += 1;
            Pass::Yes {
                held_back: core::mem::take(&mut self.held_back),
            }
        } else {
            self.held_back = self.held_back.saturating_add(1);
            Pass::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_held_back_and_counted() {
        let mut limit = RateLimit::new(2, 100);
        let passes = [1, 2, 3, 99, 100, 101].map(|now| limit.event(now));
        // The first period starts with the first event after the period of creation.
        assert_eq!(
            passes[..4],
            [
                Pass::Yes { held_back: 0 },
                Pass::Yes { held_back: 0 },
                Pass::No,
                Pass::No
            ]
        );
        assert_eq!(
            passes[4..],
            [Pass::Yes { held_back: 2 }, Pass::Yes { held_back: 0 }]
        );
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_pass() {
        assert_eq!(RateLimit::new(0, 10).event(1000), Pass::No);
    }
}
