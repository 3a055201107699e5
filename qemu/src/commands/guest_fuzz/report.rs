//! What came of the guest fuzz.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::console::{Ends, Watch};

/// What a gap is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Microseconds of the machine's time.
    Microseconds,
    /// Instructions of the witness's own CPU.
    Instructions,
}

impl Unit {
    /// 20 ms: at a nanosecond an instruction, where it is instructions.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Microseconds => 20_000,
            Self::Instructions => 20_000_000,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Microseconds => "us",
            Self::Instructions => "instructions",
        })
    }
}

/// The longest time in which the witness took no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// How long.
    pub length: u64,
    /// In what.
    pub unit: Unit,
}

/// What came of one machine.
#[derive(Clone, Debug, Serialize)]
pub struct MachineFuzz {
    /// The name of its description.
    pub machine: String,
    /// What the fuzz did in all its lives, by kind; at the end of a life up to some thousand are
    /// not counted.
    pub executions: BTreeMap<String, u64>,
    /// Its lives.
    pub lives: usize,
    /// How they ended.
    pub ends: Ends,
    /// The seed of each.
    pub seeds: Vec<String>,
    /// The longest gap of the witness.
    pub largest_gap: Option<Gap>,
    /// Whether all went on.
    pub passed: bool,
    /// Why it did not pass.
    pub reason: Option<String>,
}

impl MachineFuzz {
    /// Judges what was heard. `failure` is what the machine did wrong.
    pub fn new(machine: &str, watch: Watch, gap: Option<Gap>, failure: Option<String>) -> Self {
        let (seeds, ends) = (watch.seeds.clone(), watch.ends.clone());
        let executions = watch.executions();
        let reason = failure.or_else(|| match gap {
            None => Some("nobody told of the witness's steps".to_owned()),
            Some(Gap { length, unit }) if length >= unit.limit() => Some(format!(
                "the witness took no step for {length} {unit}; {} is too long",
                unit.limit()
            )),
            Some(_) if executions.values().sum::<u64>() == 0 => {
                Some("the fuzz did nothing".to_owned())
            }
            // It ends a life, or should.
            Some(_) if executions.get("stray").is_some_and(|&count| count > 0) => {
                Some("the fuzz came through where it strayed".to_owned())
            }
            Some(_) => None,
        });
        Self {
            machine: machine.to_owned(),
            executions,
            lives: seeds.len(),
            ends,
            seeds,
            largest_gap: gap,
            passed: reason.is_none(),
            reason,
        }
    }
}

/// What came of all machines.
#[derive(Clone, Debug, Serialize)]
pub struct GuestFuzzReport {
    /// How long they were to run, in seconds.
    pub seconds: u64,
    /// The machines.
    pub machines: Vec<MachineFuzz>,
}

impl GuestFuzzReport {
    /// Of no machine yet.
    pub(super) fn new(seconds: u64) -> Self {
        Self {
            seconds,
            machines: Vec::new(),
        }
    }

    /// Whether all went on, on both machines.
    pub fn passed(&self) -> bool {
        self.machines.len() == 2 && self.machines.iter().all(|machine| machine.passed)
    }
}

impl fmt::Display for GuestFuzzReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for machine in &self.machines {
            let all: u64 = machine.executions.values().sum();
            writeln!(
                formatter,
                "{}: {all} actions in {} lives",
                machine.machine, machine.lives
            )?;
            let kinds: Vec<String> = machine
                .executions
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            writeln!(formatter, "  {}", kinds.join(", "))?;
            let Ends {
                stopped,
                off,
                reset,
                panicked,
                silent,
            } = &machine.ends;
            writeln!(
                formatter,
                "  stopped {stopped}, off {off}, reset {reset}, silent {silent}; panicked {panicked}"
            )?;
            if let Some(Gap { length, unit }) = machine.largest_gap {
                writeln!(
                    formatter,
                    "  the witness took a step every {length} {unit} at least; {} is too long",
                    unit.limit()
                )?;
            }
            match &machine.reason {
                None => writeln!(formatter, "  passed")?,
                Some(reason) => writeln!(formatter, "  FAILED: {reason}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn machine(length: Option<u64>, unit: Unit, failure: Option<&str>) -> MachineFuzz {
        let mut watch = Watch::new(1);
        for text in ["@@seed 0x1", "@@did smc=5"] {
            watch.line("fuzz", text, Instant::now()).unwrap();
        }
        let gap = length.map(|length| Gap { length, unit });
        MachineFuzz::new("m", watch, gap, failure.map(str::to_owned))
    }

    #[test]
    fn a_witness_that_stands_still_is_a_failure() {
        assert!(machine(Some(19_999), Unit::Microseconds, None).passed);
        assert!(!machine(Some(20_000), Unit::Microseconds, None).passed);
        assert!(machine(Some(20_000), Unit::Instructions, None).passed);
        assert!(!machine(Some(20_000_000), Unit::Instructions, None).passed);
        assert!(!machine(None, Unit::Instructions, None).passed);
    }

    #[test]
    fn a_machine_that_fails_is_a_failure() {
        let failed = machine(Some(1), Unit::Microseconds, Some("it is gone"));
        assert_eq!(failed.reason.as_deref(), Some("it is gone"));
        let mut report = GuestFuzzReport::new(2);
        assert!(!report.passed());
        report.machines = vec![machine(Some(1), Unit::Microseconds, None); 2];
        assert!(report.passed());
        report.machines.push(failed);
        assert!(!report.passed());
    }

    #[test]
    fn a_fuzz_that_may_stray_is_a_failure() {
        let mut watch = Watch::new(1);
        for text in ["@@seed 0x1", "@@did smc=5 stray=1"] {
            watch.line("fuzz", text, Instant::now()).unwrap();
        }
        let gap = Some(Gap {
            length: 1,
            unit: Unit::Microseconds,
        });
        assert!(!MachineFuzz::new("m", watch, gap, None).passed);
    }

    #[test]
    fn a_fuzz_that_does_nothing_shows_nothing() {
        let gap = Some(Gap {
            length: 1,
            unit: Unit::Microseconds,
        });
        assert!(!MachineFuzz::new("m", Watch::new(1), gap, None).passed);
    }
}
