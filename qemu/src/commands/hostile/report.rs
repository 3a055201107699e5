//! What came of the trials.

use std::fmt;

use serde::Serialize;

/// There are a few more trials.
const TRIALS_MIN: usize = 550;

/// A trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialReport {
    /// What was attacked.
    pub area: String,
    /// What was done.
    pub case: String,
    /// The answer that had to come.
    pub expectation: String,
    /// The answer that came.
    pub result: String,
    /// What the guest holds of OP-TEE afterwards, if it is not nothing.
    pub left: Option<String>,
}

impl TrialReport {
    /// Reads a line of the payload's. `None` if it is not about a trial.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line
            .strip_prefix("@@trial ")?
            .split(" | ")
            .map(str::to_owned);
        Some(Self {
            area: fields.next()?,
            case: fields.next()?,
            expectation: fields.next()?,
            result: fields.next()?,
            left: None,
        })
    }

    /// Whether all is as it had to be.
    pub fn passed(&self) -> bool {
        self.result == self.expectation && self.left.is_none()
    }
}

/// A machine.
#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    /// Its description's name.
    pub machine: String,
    /// The trials, in the order in which they were made.
    pub trials: Vec<TrialReport>,
    /// How often the other guest went through its tests meanwhile.
    pub rounds: usize,
    /// What went wrong beside the trials.
    pub failure: Option<String>,
}

impl MachineReport {
    fn passed(&self) -> bool {
        self.failure.is_none()
            && self.trials.len() >= TRIALS_MIN
            && self.trials.iter().all(TrialReport::passed)
    }
}

/// All machines.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HostileReport {
    /// One after the other.
    pub machines: Vec<MachineReport>,
}

impl HostileReport {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.machines.iter().all(MachineReport::passed)
    }
}

impl fmt::Display for HostileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for machine in &self.machines {
            for trial in &machine.trials {
                let verdict = if trial.passed() { "pass" } else { "FAIL" };
                write!(
                    f,
                    "{verdict}  {}: {}: {}",
                    trial.area, trial.case, trial.result
                )?;
                if trial.result != trial.expectation {
                    write!(f, ", not {}", trial.expectation)?;
                }
                match &trial.left {
                    Some(left) => writeln!(f, "; {left} are left")?,
                    None => writeln!(f)?,
                }
            }
            let failed = machine.trials.iter().filter(|trial| !trial.passed());
            writeln!(
                f,
                "{}: {} trials ({TRIALS_MIN} at least), {} failed; the other guest went through its tests {} times",
                machine.machine,
                machine.trials.len(),
                failed.count(),
                machine.rounds
            )?;
            if let Some(failure) = &machine.failure {
                writeln!(f, "{}: {failure}", machine.machine)?;
            }
        }
        writeln!(f, "{}", if self.passed() { "passed" } else { "failed" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(trials: Vec<TrialReport>) -> HostileReport {
        HostileReport {
            machines: vec![MachineReport {
                machine: "m".to_owned(),
                trials,
                rounds: 2,
                failure: None,
            }],
        }
    }

    fn trial(line: &str) -> TrialReport {
        TrialReport::parse(line).expect("it is one")
    }

    #[test]
    fn another_answer_or_something_left_is_a_failure() {
        let good = trial("@@trial names | a guess | ERESUME | ERESUME");
        assert!(good.passed());
        assert!(!trial("@@trial names | a guess | ERESUME | OK").passed());
        let mut leaks = good.clone();
        leaks.left = Some("1 buffers, 1 pages, 0 calls".to_owned());
        assert!(!leaks.passed());
        let mut all = vec![good; TRIALS_MIN];
        assert!(machine(all.clone()).passed());
        all[7] = leaks;
        let report = machine(all.clone());
        assert!(!report.passed());
        assert!(report.to_string().contains("1 pages, 0 calls are left"));
        all.clear();
        assert!(!machine(all).passed(), "there are too few");
    }

    #[test]
    fn other_lines_are_no_trials() {
        for line in [
            "@@trials 7",
            "@@done passed=1 failed=0",
            "@@trial a | b",
            " @@trial a | b | c | d",
        ] {
            assert_eq!(TrialReport::parse(line), None, "{line}");
        }
    }
}
