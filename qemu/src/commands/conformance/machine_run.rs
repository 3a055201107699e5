//! A machine that has run, as far as it is judged.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::console::Console;
use crate::run::report::Report;

/// A guest of a machine that has run.
#[derive(Clone, Debug)]
pub(super) struct GuestRun {
    pub(super) name: String,
    pub(super) console: Console,
    /// Powered off by itself.
    pub(super) passed: bool,
    /// What the host tool says of it.
    pub(super) result: String,
    pub(super) resets: u32,
    /// When it started and when it powered off, in seconds.
    pub(super) span: Option<(f64, f64)>,
}

/// A machine that has run.
#[derive(Clone, Debug)]
pub(super) struct MachineRun {
    pub(super) guests: Vec<GuestRun>,
    /// Whether the machine came to the end that it should.
    pub(super) passed: bool,
    pub(super) summary: String,
    /// The hypervisor's log.
    pub(super) hypervisor: String,
}

impl MachineRun {
    pub(super) fn read(report: &Report) -> Result<Self> {
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

    pub(super) fn guest(&self, name: &str) -> Option<&GuestRun> {
        self.guests.iter().find(|guest| guest.name == name)
    }
}
