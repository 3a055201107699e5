//! What calls cost: the same guest without a hypervisor, on the floor and on the hypervisor
//! (docs/performance.md).

mod cases;
mod direct;
mod frames;
mod machines;
mod options;
mod plot;
mod report;
mod waiting;

use std::path::Path;

use anyhow::Result;

use crate::base::progress::Progress;
use crate::run::RunError;

use cases::{Measured, Measurements};
use direct::Base;
use machines::{ALONE, ALONE_CE, APART, Machines, Neighbour, PAIR, PARALLEL};

pub use options::BenchOptions;
pub use report::{BenchReport, CaseReport, Judged, Unit};

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
