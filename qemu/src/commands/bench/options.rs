//! How costs are measured, and where what comes of it goes.

use std::path::PathBuf;

use crate::base::checkout::checkout;
use crate::base::interrupt::Interrupt;

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
