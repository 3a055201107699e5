//! How costs are measured, and where what comes of it goes.

use std::path::PathBuf;

use crate::commands::options::{SuiteOptions, report_folder};

/// How costs are measured.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Where what comes of it goes.
    pub suite: SuiteOptions,
    /// Where the plot goes.
    pub plot: PathBuf,
}

impl BenchOptions {
    /// Everything below `target`.
    pub fn new() -> Self {
        Self {
            suite: SuiteOptions::new("bench"),
            plot: report_folder().join("bench.svg"),
        }
    }
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self::new()
    }
}
