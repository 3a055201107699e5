//! How fast something may be done that costs others, however fast it could be.

/// A rate, with an allowance for what could have been done before and was not.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Units a second.
    rate: u64,
    /// Ticks a second.
    frequency: u64,
    /// Ticks that may be made up for.
    allowance: u64,
    /// When the next unit is due.
    due: u64,
}

impl Pace {
    /// `rate` units a second, which is not 0, by a counter of `frequency` ticks a second. What was
    /// not used of the last `allowance` ticks may be made up for.
    #[must_use]
    pub const fn new(rate: u64, frequency: u64, allowance: u64) -> Self {
        Self {
            rate,
            frequency,
            allowance,
            due: 0,
        }
    }

    /// When the next unit is due: at once, if that is not after now.
    #[must_use]
    pub const fn due(&self) -> u64 {
        self.due
    }

    /// `units` are used at time `now`.
    pub fn spend(&mut self, now: u64, units: u64) {
        let earliest = now.saturating_sub(self.allowance);
        let ticks = units.saturating_mul(self.frequency) / self.rate;
        self.due = self.due.max(earliest).saturating_add(ticks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many units are used at time `now`, ten by ten.
    fn used(pace: &mut Pace, now: u64) -> u64 {
        let mut units = 0;
        while pace.due() <= now {
            pace.spend(now, 10);
            units += 10;
        }
        units
    }

    #[test]
    fn what_is_used_puts_off_what_comes_next() {
        let mut pace = Pace::new(100, 1000, 0);
        assert_eq!(used(&mut pace, 5000), 10);
        assert_eq!(pace.due(), 5100);
        assert_eq!(used(&mut pace, 5099), 0);
        assert_eq!(used(&mut pace, 5100), 10);
    }

    #[test]
    fn lateness_is_made_up_for_up_to_the_allowance() {
        let mut pace = Pace::new(100, 1000, 500);
        assert_eq!(used(&mut pace, 5000), 60, "none was used before");
        assert_eq!(used(&mut pace, 5300), 30);
        assert_eq!(used(&mut pace, 100_000), 60);
    }

    #[test]
    fn in_the_long_run_it_is_the_rate() {
        let mut pace = Pace::new(100, 1000, 500);
        let units: u64 = (0..1000).map(|n| used(&mut pace, n * 70)).sum();
        assert!((6990..=7060).contains(&units), "{units}");
    }
}
