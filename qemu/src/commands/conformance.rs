//! The conformance kit: boots the payloads of `guest-shim/` on six machines and collects what their cases found
//! (docs/testing.md, "The conformance kit").

mod console;
#[cfg(test)]
mod documentation;
mod judge;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::base::checkout::checkout;
use crate::base::interrupt::Interrupt;
use crate::base::progress::Progress;
use crate::description::Overrides;
use crate::run::report::Report;
use crate::run::{self, RunError, RunOptions};

use console::{Console, Figure};

/// Two guests that run all cases at the same time, each with a policy of its own.
const TOGETHER: &str = "conformance.toml";
/// The CPU with everything that QEMU knows, on which [`TOGETHER`] runs a second time.
const NEWEST_CPU: &str = "max";
/// Two guests that go through OP-TEE's ABI at the same time.
const TEE_ABI: &str = "conformance-tee.toml";
/// The same with Debian's older OP-TEE.
const TEE_ABI_DEBIAN: &str = "conformance-tee-debian.toml";
/// A hypervisor without mediators; a guest that runs all cases, beside others that restart and misbehave.
const ALONE: &str = "conformance-alone.toml";
/// One guest on one CPU, whose instructions are counted.
const COST: &str = "conformance-cost.toml";

/// The guest on [`ALONE`] that runs all cases.
const BYSTANDER: &str = "bystander";

/// How long each machine may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How the kit is run.
#[derive(Clone, Debug)]
pub struct ConformanceOptions {
    /// Where the report goes.
    pub json: PathBuf,
    /// The folder for the machines' logs, a folder each.
    pub logs: PathBuf,
    /// Set from outside to end the run.
    pub interrupt: Interrupt,
}

impl ConformanceOptions {
    /// The report and the logs below `target`.
    pub fn new() -> Self {
        let target = checkout().join("target");
        Self {
            json: target.join("report/conformance.json"),
            logs: target.join("runs"),
            interrupt: Interrupt::default(),
        }
    }
}

impl Default for ConformanceOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a case found in a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// The requirement that it checks, 0 to 9.
    pub requirement: u8,
    /// The guest that it ran in, or that it is about.
    pub guest: String,
    /// Whether it passed.
    #[serde(serialize_with = "verdict")]
    #[serde(rename = "result")]
    pub passed: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn verdict<S: serde::Serializer>(passed: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *passed { "pass" } else { "fail" })
}

/// A figure that a payload measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureReport {
    /// What was measured.
    pub name: String,
    /// The value with its unit.
    pub value: String,
}

/// What all cases found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConformanceReport {
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseReport>,
    /// What was measured.
    pub figures: Vec<FigureReport>,
}

/// A guest of a machine that has run.
#[derive(Clone, Debug)]
struct GuestRun {
    name: String,
    console: Console,
    /// Powered off by itself.
    passed: bool,
    /// What the host tool says of it.
    result: String,
    resets: u32,
    /// When it started and when it powered off, in seconds.
    span: Option<(f64, f64)>,
}

/// A machine that has run.
#[derive(Clone, Debug)]
struct MachineRun {
    guests: Vec<GuestRun>,
    /// Whether the machine came to the end that it should.
    passed: bool,
    summary: String,
    /// The hypervisor's log.
    hypervisor: String,
}

impl MachineRun {
    fn read(report: &Report) -> Result<Self> {
        let log = |path: &Path| {
            let bytes =
                fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
            anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let guests = report.guests.iter().map(|guest| {
            Ok(GuestRun {
                name: guest.name.clone(),
                console: Console::read(&log(&guest.log)?),
                passed: guest.passed,
                result: guest.result.clone(),
                resets: guest.resets,
                span: guest.started.zip(guest.ended),
            })
        });
        Ok(Self {
            guests: guests.collect::<Result<_>>()?,
            passed: report.result.exit_status() == 0,
            summary: report.summary.clone(),
            hypervisor: log(&report.logs.join("bulkhead.log"))?,
        })
    }

    fn guest(&self, name: &str) -> Option<&GuestRun> {
        self.guests.iter().find(|guest| guest.name == name)
    }
}

/// Runs the machines and judges them.
pub fn run(
    options: &ConformanceOptions,
    progress: &Progress,
) -> Result<ConformanceReport, RunError> {
    let machine = |config: &str, overrides: Overrides, until_off: Option<&str>| {
        let mut name = config.trim_end_matches(".toml").to_owned();
        if let Some(cpu) = &overrides.cpu {
            name = format!("{name}-{cpu}");
        }
        let machine = RunOptions {
            overrides,
            timeout: LIMIT,
            logs: Some(options.logs.join(name)),
            until_off: until_off.map(str::to_owned),
            interrupt: options.interrupt.clone(),
            ..RunOptions::new(checkout().join("qemu/configs").join(config))
        };
        let report = run::run(&machine, progress)?;
        Ok::<_, RunError>(MachineRun::read(&report)?)
    };
    let mut report = ConformanceReport::default();
    let usual = Overrides::default;
    let newest = Overrides {
        cpu: Some(NEWEST_CPU.to_owned()),
        ..usual()
    };
    let counting = Overrides {
        icount: true,
        ..usual()
    };
    judge::together(&machine(TOGETHER, usual(), None)?, &mut report);
    judge::on_cpu(NEWEST_CPU, &machine(TOGETHER, newest, None)?, &mut report);
    judge::tee_abi(&machine(TEE_ABI, usual(), None)?, &mut report);
    judge::tee_abi(&machine(TEE_ABI_DEBIAN, usual(), None)?, &mut report);
    judge::alone(&machine(ALONE, usual(), Some(BYSTANDER))?, &mut report);
    judge::cost(&machine(COST, counting, None)?, &mut report);
    Ok(report)
}

impl ConformanceReport {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.passed)
    }

    fn add(&mut self, requirement: u8, guest: &str, name: &str, outcome: Result<(), String>) {
        self.cases.push(CaseReport {
            name: name.to_owned(),
            requirement,
            guest: guest.to_owned(),
            passed: outcome.is_ok(),
            reason: outcome.err(),
        });
    }

    fn add_figures(&mut self, figures: &[Figure]) {
        self.figures
            .extend(figures.iter().map(|figure| FigureReport {
                name: figure.name.clone(),
                value: figure.value.clone(),
            }));
    }
}

impl std::fmt::Display for ConformanceReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for case in &self.cases {
            let CaseReport {
                name,
                requirement,
                guest,
                ..
            } = case;
            let verdict = if case.passed { "pass" } else { "FAIL" };
            write!(formatter, "{verdict}  {requirement}  {guest:<12}  {name}")?;
            match &case.reason {
                Some(reason) => writeln!(formatter, ": {reason}")?,
                None => writeln!(formatter)?,
            }
        }
        for FigureReport { name, value } in &self.figures {
            writeln!(formatter, "{name}: {value}")?;
        }
        let failed = self.cases.iter().filter(|case| !case.passed).count();
        let total = self.cases.len();
        writeln!(
            formatter,
            "{total} cases, {} passed, {failed} failed",
            total - failed
        )
    }
}
