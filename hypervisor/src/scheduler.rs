//! Which of a CPU's vCPUs runs next, and until when.
//!
//! vCPUs are pinned to a CPU. Where several share one they take turns: one that waits for an interrupt gives way at
//! once, one that works gives way when its slice is over and another is ready.

/// What a vCPU is up to. Times are values of the physical counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Powered off.
    Off,
    /// Waits for an interrupt; its timer, if it is armed, fires at this time.
    Waiting(Option<u64>),
    /// Can run.
    Ready,
}

/// What a CPU does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The vCPU to run; `None` to idle.
    pub run: Option<usize>,
    /// When to look again, unless an interrupt comes first.
    pub until: Option<u64>,
}

/// The turns of one CPU's vCPUs.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Ticks in a slice.
    slice: u64,
    current: Option<usize>,
    slice_end: u64,
}

impl Turns {
    /// Nobody's turn yet; slices have `slice` ticks.
    #[must_use]
    pub const fn new(slice: u64) -> Self {
        Self {
            slice,
            current: None,
            slice_end: 0,
        }
    }

    /// Decides at time `now`, given what each vCPU is up to.
    pub fn decide(&mut self, now: u64, vcpus: &[Readiness]) -> Decision {
        let ready = |n: usize| match vcpus[n] {
            Readiness::Ready => true,
            Readiness::Waiting(Some(deadline)) => deadline <= now,
            Readiness::Off | Readiness::Waiting(None) => false,
        };
        let stays = self
            .current
            .filter(|&n| n < vcpus.len() && ready(n) && now < self.slice_end);
        let next = stays.or_else(|| {
            // From the one behind the current around to the current itself.
            let first = self.current.map_or(0, |n| n + 1);
            (0..vcpus.len())
                .map(|n| (first + n) % vcpus.len())
                .find(|&n| ready(n))
        });
        if next.is_some() && (next != self.current || stays.is_none()) {
            self.slice_end = now.saturating_add(self.slice);
        }
        self.current = next;

        let others_ready = (0..vcpus.len()).any(|n| Some(n) != next && ready(n));
        let slice_end = (next.is_some() && others_ready).then_some(self.slice_end);
        let wake_up = vcpus
            .iter()
            .enumerate()
            .filter_map(|(n, &vcpu)| match vcpu {
                Readiness::Waiting(Some(deadline)) if Some(n) != next && deadline > now => {
                    Some(deadline)
                }
                _ => None,
            })
            .min();
        let until = [slice_end, wake_up].into_iter().flatten().min();
        Decision { run: next, until }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness::{Off, Ready, Waiting};
    use super::*;

    fn decision(run: impl Into<Option<usize>>, until: impl Into<Option<u64>>) -> Decision {
        Decision {
            run: run.into(),
            until: until.into(),
        }
    }

    #[test]
    fn one_vcpu_runs_without_a_timer() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[Ready]), decision(0, None));
        assert_eq!(turns.decide(1000, &[Ready]), decision(0, None));
    }

    #[test]
    fn ready_vcpus_take_turns_of_a_slice() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[Ready, Ready]), decision(0, 100));
        assert_eq!(
            turns.decide(60, &[Ready, Ready]),
            decision(0, 100),
            "an exit does not start a new slice"
        );
        assert_eq!(turns.decide(100, &[Ready, Ready]), decision(1, 200));
        assert_eq!(turns.decide(200, &[Ready, Ready]), decision(0, 300));
    }

    #[test]
    fn one_that_waits_gives_way_at_once_and_is_woken_by_its_timer() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[Ready, Ready]), decision(0, 100));
        assert_eq!(
            turns.decide(10, &[Waiting(Some(50)), Ready]),
            decision(1, 50)
        );
        assert_eq!(
            turns.decide(50, &[Waiting(Some(50)), Ready]),
            decision(1, 110)
        );
        assert_eq!(
            turns.decide(110, &[Waiting(Some(50)), Ready]),
            decision(0, 210)
        );
    }

    #[test]
    fn an_idle_cpu_sleeps_until_the_first_deadline() {
        let mut turns = Turns::new(100);
        assert_eq!(
            turns.decide(
                0,
                &[Waiting(None), Waiting(Some(70)), Waiting(Some(30)), Off]
            ),
            decision(None, 30)
        );
        assert_eq!(turns.decide(0, &[Off, Off]), decision(None, None));
        assert_eq!(turns.decide(0, &[]), decision(None, None));
    }

    #[test]
    fn a_vcpu_that_comes_back_gets_a_whole_slice() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[Ready, Waiting(None)]), decision(0, None));
        assert_eq!(
            turns.decide(500, &[Ready, Ready]),
            decision(1, 600),
            "the other has waited long enough"
        );
    }
}
