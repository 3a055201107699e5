//! What calls cost: the same guest without a hypervisor, on the floor and on the hypervisor (docs/performance.md).

mod cases;
mod direct;
mod frames;
mod machines;
mod plot;
mod report;
mod waiting;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::base::checkout::checkout;
use crate::base::interrupt::Interrupt;
use crate::base::progress::Progress;
use crate::run::RunError;

use cases::{Measured, Measurements};
use direct::Base;
use machines::{Machines, Neighbour};

pub use report::{BenchReport, CaseReport, Judged, Unit};

/// One guest on one CPU, with Debian's OP-TEE.
const ALONE: &str = "bench.toml";
/// The same with an OP-TEE that uses the CPU's instructions for AES.
const ALONE_CE: &str = "bench-ce.toml";
/// Two guests on one CPU.
const PAIR: &str = "bench-pair.toml";
/// Two guests with a CPU each.
const APART: &str = "bench-apart.toml";
/// Two guests on four CPUs, two each.
const PARALLEL: &str = "bench-parallel.toml";

/// How costs are measured.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Where the report goes.
    pub json: PathBuf,
    /// Where the plot goes.
    pub plot: PathBuf,
    /// The folder for logs, a folder a machine.
    pub logs: PathBuf,
    /// Set from outside to end the run.
    pub interrupt: Interrupt,
}

impl BenchOptions {
    /// Everything below `target`.
    pub fn new() -> Self {
        let target = checkout().join("target");
        Self {
            json: target.join("report/bench.json"),
            plot: target.join("report/bench.svg"),
            logs: target.join("runs"),
            interrupt: Interrupt::default(),
        }
    }
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Draws the cases that have a target.
pub fn draw(report: &BenchReport, path: &Path) -> Result<()> {
    plot::draw(report, path)
}

/// Gets and builds everything that [`run`] needs, and measures nothing.
pub fn fetch(options: &BenchOptions, progress: &Progress) -> Result<(), RunError> {
    let machines = Machines::prepare(options, progress)?;
    for config in [ALONE, ALONE_CE, PAIR, PARALLEL, APART] {
        machines.fetch(config)?;
    }
    Ok(())
}

/// Runs the machines one after the other and judges what they measured.
pub fn run(options: &BenchOptions, progress: &Progress) -> Result<BenchReport, RunError> {
    let machines = Machines::prepare(options, progress)?;
    let calls = Measured {
        bare: machines.direct(Base::Bare, ALONE, "call-costs", true)?,
        floor: machines.direct(Base::Floor, ALONE, "call-costs", true)?,
        ours: machines.ours(ALONE, "call-costs", true)?,
    };
    let calls_ce = Measured {
        floor: machines.direct(Base::Floor, ALONE_CE, "call-costs", true)?,
        ours: machines.ours(ALONE_CE, "call-costs", true)?,
        ..Measured::default()
    };
    let frames = Measured {
        floor: machines.direct(Base::Floor, ALONE_CE, "call-costs frames", true)?,
        ours: machines.ours(ALONE_CE, "call-costs frames", true)?,
        ..Measured::default()
    };
    let measurements = Measurements {
        calls,
        calls_ce,
        frames,
        boot: machines.boot()?,
        waiting_in_calls: machines.waiting_in_calls()?,
        waiting_for_start: machines.waiting_for_start()?,
        floor_time: machines.direct(Base::Floor, ALONE_CE, "call-costs", false)?,
        ours_time: machines.ours(ALONE_CE, "call-costs", false)?,
        one_of_two_time: machines.beside(PARALLEL, "call-costs", "true")?,
        two_time: machines.beside(PARALLEL, "call-costs", "call-costs")?,
        frames_beside_idle: Some(machines.frames_beside(Neighbour::Idle)?),
        frames_beside_registering: Some(machines.frames_beside(Neighbour::Registering)?),
    };
    Ok(cases::judge(&measurements))
}
