//! Counting, without QEMU.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// `MOVZ XZR, #0xb471` (DDI0487, C6.2.254): the instructions that follow count.
/// `workloads/call-costs` has the same mark.
pub const BEGIN: u32 = mark(0xb471);
/// `MOVZ XZR, #0xe4d1`: they count no more.
pub const END: u32 = mark(0xe4d1);

/// A CPU that is this many instructions ahead of another one waits for it. What is measured may be
/// off by as many for each time that one waits for the other.
pub const WINDOW: u64 = 10_000;

const fn mark(number: u16) -> u32 {
    0xd280_001f | (number as u32) << 5
}

/// A machine's CPUs, by number.
#[derive(Debug)]
pub struct Cpus {
    cpus: [Cpu; Self::MAX],
    /// Whether they are kept in step, from the first mark on.
    in_step: AtomicBool,
}

/// Each is written by its own CPU's thread, in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Cpu {
    /// Instructions so far.
    executed: AtomicU64,
    /// How many they were, here and elsewhere, at the last begin.
    begin: AtomicU64,
    begin_elsewhere: AtomicU64,
    /// How far it is: instructions, from where the others were when it began to run. Or [`IDLE`].
    place: AtomicU64,
    /// The place from which on it looks again how far the others are.
    horizon: AtomicU64,
}

/// The place of a CPU that waits for an interrupt, or is off.
const IDLE: u64 = u64::MAX;

/// Instructions between two marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Of the CPU with the marks.
    pub own: u64,
    /// Of all others.
    pub others: u64,
}

impl Cpus {
    /// More than a machine of this project has. Further ones do not count.
    const MAX: usize = 8;

    /// CPUs that have executed nothing.
    pub const fn new() -> Self {
        Self {
            cpus: [const { Cpu::new() }; Self::MAX],
            in_step: AtomicBool::new(false),
        }
    }

    /// A CPU executes a block of `instructions`. Returns whether it is too far ahead of
    /// others.
    pub fn execute(&self, cpu: usize, instructions: u64) -> bool {
        let Some(own) = self.cpus.get(cpu) else {
            return false;
        };
        let executed = own.executed.load(Relaxed) + instructions;
        own.executed.store(executed, Relaxed);
        if !self.in_step.load(Relaxed) {
            return false;
        }
        let before = match own.place.load(Relaxed) {
            IDLE => self.running(cpu).max().unwrap_or(0),
            place => place,
        };
        let place = before + instructions;
        own.place.store(place, Relaxed);
        place >= own.horizon.load(Relaxed) && self.is_ahead(cpu)
    }

    /// Whether a CPU is more than [`WINDOW`] ahead of one that runs.
    pub fn is_ahead(&self, cpu: usize) -> bool {
        let Some(own) = self.cpus.get(cpu) else {
            return false;
        };
        let place = own.place.load(Relaxed);
        let last = self.running(cpu).min().unwrap_or(place).min(place);
        own.horizon.store(last.saturating_add(WINDOW), Relaxed);
        place - last >= WINDOW
    }

    /// A CPU begins to wait for an interrupt.
    pub fn idle(&self, cpu: usize) {
        if let Some(own) = self.cpus.get(cpu) {
            own.place.store(IDLE, Relaxed);
            own.horizon.store(0, Relaxed);
        }
    }

    /// A CPU executes [`BEGIN`].
    pub fn begin(&self, cpu: usize) {
        if let Some(own) = self.cpus.get(cpu) {
            own.begin.store(own.executed.load(Relaxed), Relaxed);
            own.begin_elsewhere.store(self.elsewhere(cpu), Relaxed);
            self.in_step.store(true, Relaxed);
        }
    }

    /// A CPU executes [`END`].
    pub fn end(&self, cpu: usize) -> Option<Interval> {
        let own = self.cpus.get(cpu)?;
        let since = |now: u64, begin: &AtomicU64| now - begin.load(Relaxed);
        Some(Interval {
            own: since(own.executed.load(Relaxed), &own.begin),
            others: since(self.elsewhere(cpu), &own.begin_elsewhere),
        })
    }

    fn others(&self, cpu: usize) -> impl Iterator<Item = &Cpu> {
        let cpus = self.cpus.iter().enumerate();
        cpus.filter(move |&(number, _)| number != cpu)
            .map(|(_, other)| other)
    }

    /// How far the others are that run.
    fn running(&self, cpu: usize) -> impl Iterator<Item = u64> {
        self.others(cpu)
            .map(|other| other.place.load(Relaxed))
            .filter(|&place| place != IDLE)
    }

    fn elsewhere(&self, cpu: usize) -> u64 {
        let executed = self.others(cpu).map(|other| other.executed.load(Relaxed));
        executed.sum()
    }
}

impl Cpu {
    const fn new() -> Self {
        Self {
            executed: AtomicU64::new(0),
            begin: AtomicU64::new(0),
            begin_elsewhere: AtomicU64::new(0),
            place: AtomicU64::new(IDLE),
            horizon: AtomicU64::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cpu_executes_between_its_marks_counts() {
        let cpus = Cpus::new();
        cpus.execute(1, 100);
        cpus.execute(2, 10);
        cpus.begin(1);
        cpus.execute(1, 5);
        cpus.begin(2);
        cpus.execute(2, 7);
        cpus.execute(0, 20);
        cpus.execute(1, 6);
        let interval = |own, others| Some(Interval { own, others });
        assert_eq!(cpus.end(1), interval(11, 27));
        assert_eq!(cpus.end(2), interval(7, 26));
    }

    #[test]
    fn each_begin_starts_anew() {
        let cpus = Cpus::new();
        cpus.begin(0);
        cpus.execute(0, 5);
        cpus.begin(0);
        cpus.execute(0, 3);
        assert_eq!(cpus.end(0).unwrap().own, 3);
    }

    /// Two CPUs in step, of which both have run.
    fn in_step() -> Cpus {
        let cpus = Cpus::new();
        cpus.begin(0);
        assert!(!cpus.execute(0, 1));
        assert!(!cpus.execute(1, 1));
        cpus
    }

    #[test]
    fn a_cpu_waits_for_one_that_is_behind() {
        let cpus = in_step();
        assert!(!cpus.execute(0, WINDOW));
        assert!(cpus.execute(0, 1));
        assert!(cpus.is_ahead(0));
        assert!(!cpus.execute(1, 1));
        assert!(!cpus.is_ahead(0));
        // Further ahead than before, so that it looks again.
        assert!(cpus.execute(0, 1));
    }

    #[test]
    fn nobody_waits_for_an_idle_cpu() {
        let cpus = in_step();
        cpus.idle(1);
        for _ in 0..3 {
            assert!(!cpus.execute(0, WINDOW));
        }
        // It goes on where the other one is, not where it was.
        assert!(!cpus.execute(1, 1));
        assert!(!cpus.execute(0, WINDOW));
        assert!(cpus.execute(0, 1));
        cpus.idle(1);
        assert!(!cpus.is_ahead(0));
    }

    #[test]
    fn cpus_that_were_all_idle_are_kept_in_step_again() {
        let cpus = in_step();
        cpus.idle(1);
        assert!(!cpus.execute(0, 10 * WINDOW));
        cpus.idle(0);
        assert!(!cpus.execute(0, 1));
        assert!(!cpus.execute(1, 1));
        assert!(cpus.execute(0, WINDOW + 1));
    }

    #[test]
    fn cpus_are_not_kept_in_step_before_the_first_mark() {
        let cpus = Cpus::new();
        cpus.execute(1, 1);
        assert!(!cpus.execute(0, 10 * WINDOW));
        cpus.begin(0);
        assert!(!cpus.execute(1, 1));
        assert!(!cpus.execute(0, 1));
    }

    #[test]
    fn a_cpu_that_is_not_known_does_not_count() {
        let cpus = Cpus::new();
        assert!(!cpus.execute(Cpus::MAX, 1));
        cpus.begin(Cpus::MAX);
        cpus.idle(Cpus::MAX);
        assert!(!cpus.is_ahead(Cpus::MAX));
        assert_eq!(cpus.end(Cpus::MAX), None);
    }

    #[test]
    fn the_marks_are_moves_to_nowhere() {
        // As a disassembler reads them: mov xzr, #0xb471; mov xzr, #0xe4d1.
        assert_eq!([BEGIN, END], [0xd296_8e3f, 0xd29c_9a3f]);
    }
}
