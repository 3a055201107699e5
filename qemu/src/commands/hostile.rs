//! A hostile guest, beside one that goes on: each trial with the answer that it must get, and with
//! nothing left of it afterwards (docs/testing.md, "Hostile guests").

mod report;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use host_abi::console::Event;

use crate::base::checkout::checkout;
use crate::base::progress::Progress;
use crate::commands::options::SuiteOptions;
use crate::description::Overrides;
use crate::run::operator::Operator;
use crate::run::report::Report;
use crate::run::{self, RunError, RunOptions};

pub use report::{HostileReport, MachineReport, TrialReport};

/// With the OP-TEE that is built, and with Debian's older one.
const MACHINES: [&str; 2] = ["hostile.toml", "hostile-debian.toml"];

const HOSTILE: &str = "vm1";
const OTHER: &str = "vm2";

/// What the other guest says when it begins anew, and when all it did then was right.
const ROUND: &str = "Run test suite with level=0";
const WELL: &str = "test cases of which 0 failed";
/// For a machine, and for one trial.
const LIMIT: Duration = Duration::from_secs(1800);
const TRIAL_LIMIT: Duration = Duration::from_secs(120);

/// The report and the logs below `target`.
pub fn default_options() -> SuiteOptions {
    SuiteOptions::new("hostile")
}

/// Runs both machines.
///
/// # Errors
///
/// A machine can't be had or started. What a machine does wrong is in the report.
pub fn run(options: &SuiteOptions, progress: &Progress) -> Result<HostileReport, RunError> {
    let mut report = HostileReport::default();
    for config in MACHINES {
        let name = config.trim_end_matches(".toml");
        let machine = RunOptions {
            overrides: Overrides::default(),
            timeout: LIMIT,
            logs: Some(options.logs.join(name)),
            live: false,
            interrupt: options.interrupt.clone(),
            ..RunOptions::new(checkout().join("qemu/configs").join(config))
        };
        let mut trials = Vec::new();
        let (ran, attended) = run::attend(&machine, progress, |mut operator| {
            attend(&mut operator, &mut trials)
        })?;
        let failure = attended.err().map(|error| format!("{error:#}"));
        let (rounds, other) = other_guest(&ran);
        report.machines.push(MachineReport {
            machine: name.to_owned(),
            trials,
            rounds,
            failure: failure.or(other),
        });
        if options.interrupt.requested() {
            break;
        }
    }
    Ok(report)
}

/// How often the other guest went through its tests, and what is wrong with it or the machine.
fn other_guest(ran: &Report) -> (usize, Option<String>) {
    let log = |name: &str| {
        let bytes = fs::read(ran.logs.join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let rounds = log(OTHER).matches(WELL).count();
    let secure = log("secure-world");
    let sign = ["Panic '", "data-abort", "Halting CPU"];
    let sign = sign.iter().find(|sign| secure.contains(**sign));
    let failure = if ran.result.exit_status() != 0 {
        Some(ran.summary.clone())
    } else if let Some(sign) = sign {
        Some(format!("OP-TEE says `{sign}`"))
    } else if rounds == 0 {
        Some(format!("{OTHER} did not come through its tests"))
    } else {
        None
    };
    (rounds, failure)
}

/// Follows the trials, and looks after each what is left of it.
fn attend(operator: &mut Operator, trials: &mut Vec<TrialReport>) -> Result<()> {
    loop {
        let line = operator.wait_for(HOSTILE, TRIAL_LIMIT, |line| {
            line.starts_with("@@trial ") || line.starts_with("@@done ")
        })?;
        let Some(mut trial) = TrialReport::parse(&line) else {
            ensure!(line.ends_with(" failed=0"), "its cases: {line}");
            break;
        };
        trial.left = left(operator)?;
        trials.push(trial);
        if trials.len() == 1 {
            // The first one waits until the other guest is there.
            operator.wait_for(OTHER, TRIAL_LIMIT, |line| line.contains(ROUND))?;
        }
        operator.tell(HOSTILE, b"x")?;
    }
    operator.tell(OTHER, b"enough\r")
}

/// What the hostile guest holds of OP-TEE, if it is not nothing.
fn left(operator: &mut Operator) -> Result<Option<String>> {
    let mut held = None;
    operator.ask("stats", TRIAL_LIMIT, |line| match Event::parse(line) {
        Event::Tee { name, stats } if name == HOSTILE => {
            held = Some((stats.buffers, stats.pinned_pages, stats.calls_in_flight));
            true
        }
        _ => false,
    })?;
    match held.context("the hypervisor told nothing")? {
        (0, 0, 0) => Ok(None),
        (buffers, pages, calls) => Ok(Some(format!(
            "{buffers} buffers, {pages} pages, {calls} calls"
        ))),
    }
}
