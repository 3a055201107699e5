//! Which of a CPU's vCPUs runs next, and until when.
//!
//! vCPUs are pinned to a CPU. Where several share one they take turns: one that waits for an
//! interrupt gives way at once, one that works gives way when its slice is over and another is
//! ready.

use crate::vm::power::Status;
use host_abi::binding::MAX_VCPUS_PER_CPU;

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
    /// Bit n: vCPU n waits for an interrupt.
    waiting: u32,
}

const _: () = assert!(
    MAX_VCPUS_PER_CPU <= u32::BITS as usize,
    "a bit for each vCPU"
);

impl Turns {
    /// It is no vCPU's turn yet; slices have `slice` ticks.
    #[must_use]
    pub const fn new(slice: u64) -> Self {
        Self {
            slice,
            current: None,
            slice_end: 0,
            waiting: 0,
        }
    }

    /// vCPU `n` waits for an interrupt from now on, until it is its turn again.
    pub fn wait(&mut self, n: usize) {
        self.waiting |= 1 << n;
    }

    /// Whether vCPU `n` waits for an interrupt.
    #[must_use]
    pub fn is_waiting(&self, n: usize) -> bool {
        self.waiting >> n & 1 == 1
    }

    /// Decides at time `now`, given the status of each vCPU, of which there are at most
    /// [`MAX_VCPUS_PER_CPU`].
    pub fn decide(&mut self, now: u64, vcpus: &[Status]) -> Decision {
        for (n, &vcpu) in vcpus.iter().enumerate() {
            let woken = match vcpu {
                Status::Off => true,
                Status::On {
                    interrupt,
                    deadline,
                } => interrupt || deadline.is_some_and(|deadline| deadline <= now),
            };
            if woken {
                self.waiting &= !(1 << n);
            }
        }
        let waiting = self.waiting;
        let ready = |n: usize| vcpus[n] != Status::Off && waiting >> n & 1 == 0;
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
        if next.is_some() && stays.is_none() {
            self.slice_end = now.saturating_add(self.slice);
        }
        self.current = next;

        let others_ready = (0..vcpus.len()).any(|n| Some(n) != next && ready(n));
        let slice_end = (next.is_some() && others_ready).then_some(self.slice_end);
        let wake_up = vcpus
            .iter()
            .enumerate()
            .filter_map(|(n, &vcpu)| match vcpu {
                Status::On { deadline, .. } if waiting >> n & 1 == 1 => deadline,
                _ => None,
            });
        let until = slice_end.into_iter().chain(wake_up).min();
        Decision { run: next, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Status = Status::Off;
    const ON: Status = Status::On {
        interrupt: false,
        deadline: None,
    };
    const INTERRUPTED: Status = Status::On {
        interrupt: true,
        deadline: None,
    };

    fn timer(deadline: u64) -> Status {
        Status::On {
            interrupt: false,
            deadline: Some(deadline),
        }
    }

    fn decision(run: impl Into<Option<usize>>, until: impl Into<Option<u64>>) -> Decision {
        Decision {
            run: run.into(),
            until: until.into(),
        }
    }

    #[test]
    fn one_vcpu_runs_without_a_timer() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[ON]), decision(0, None));
        assert_eq!(turns.decide(1000, &[timer(1200)]), decision(0, None));
    }

    #[test]
    fn ready_vcpus_take_turns_of_a_slice() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[ON, ON]), decision(0, 100));
        assert_eq!(
            turns.decide(60, &[ON, ON]),
            decision(0, 100),
            "an exit does not start a new slice"
        );
        assert_eq!(turns.decide(100, &[ON, ON]), decision(1, 200));
        assert_eq!(turns.decide(200, &[ON, ON]), decision(0, 300));
    }

    #[test]
    fn one_that_waits_gives_way_at_once_and_is_woken_by_its_timer() {
        let mut turns = Turns::new(100);
        assert_eq!(turns.decide(0, &[ON, ON]), decision(0, 100));
        turns.wait(0);
        assert_eq!(turns.decide(10, &[timer(50), ON]), decision(1, 50));
        assert_eq!(turns.decide(50, &[timer(50), ON]), decision(1, 110));
        assert_eq!(turns.decide(110, &[timer(50), ON]), decision(0, 210));
    }

    #[test]
    fn one_that_was_woken_does_not_wait_any_more() {
        let mut turns = Turns::new(100);
        turns.wait(0);
        assert_eq!(turns.decide(50, &[timer(50), ON]), decision(0, 150));
        // It runs, its timer is off, and the other one has had its slice.
        assert_eq!(turns.decide(150, &[ON, ON]), decision(1, 250));
        assert_eq!(turns.decide(250, &[ON, ON]), decision(0, 350));
        turns.wait(1);
        assert_eq!(turns.decide(260, &[ON, INTERRUPTED]), decision(0, 350));
        assert!(!turns.is_waiting(1));
        assert_eq!(turns.decide(350, &[ON, ON]), decision(1, 450));
    }

    #[test]
    fn an_idle_cpu_sleeps_until_the_first_deadline() {
        let mut turns = Turns::new(100);
        (0..3).for_each(|n| turns.wait(n));
        assert_eq!(
            turns.decide(0, &[ON, timer(70), timer(30), OFF]),
            decision(None, 30)
        );
        assert_eq!(turns.decide(0, &[OFF, OFF]), decision(None, None));
        assert_eq!(turns.decide(0, &[]), decision(None, None));
    }

    #[test]
    fn a_vcpu_that_comes_back_gets_a_whole_slice() {
        let mut turns = Turns::new(100);
        turns.wait(1);
        assert_eq!(turns.decide(0, &[ON, ON]), decision(0, None));
        assert_eq!(
            turns.decide(500, &[ON, INTERRUPTED]),
            decision(1, 600),
            "the other has waited long enough"
        );
    }

    #[test]
    fn one_that_is_turned_off_while_it_waits_starts_anew() {
        let mut turns = Turns::new(100);
        turns.wait(0);
        assert_eq!(turns.decide(0, &[OFF]), decision(None, None));
        assert_eq!(turns.decide(10, &[ON]), decision(0, None));
    }
}
