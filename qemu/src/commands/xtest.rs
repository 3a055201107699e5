//! The whole default suite of xtest (optee_test 4.5.0: regression and pkcs11) in every guest with a
//! TEE, at the same time.

mod console;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::base::progress::Progress;
use crate::commands::options::{MachineOptions, report_folder};
use crate::description::{GuestCommand, Overrides};
use crate::run::operator::{Heard, Operator};
use crate::run::{self, RunError};

use console::Suite;
pub use report::{CASES, GuestResult, XtestReport};

/// How long the machine may take unless it is told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a guest runs: without arguments, the default suite.
const COMMAND: &str = "xtest";

/// How often a person is told how far each guest is.
const NEWS_INTERVAL: Duration = Duration::from_secs(30);

/// How often the time is looked at while the consoles are silent.
const TICK: Duration = Duration::from_secs(1);

/// How the suite is run.
#[derive(Clone, Debug)]
pub struct XtestOptions {
    /// The machine. Its guests with a TEE run xtest instead of their jobs; the others do as
    /// described.
    pub machine: MachineOptions,
    /// The folder for the reports `xtest.json` and `xtest.xml`.
    pub reports: PathBuf,
}

impl XtestOptions {
    /// For a machine, with reports below `target`.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            machine: MachineOptions::new(config, DEFAULT_TIMEOUT),
            reports: report_folder(),
        }
    }
}

/// Runs the suite and judges it.
pub fn run(options: &XtestOptions, progress: &Progress) -> Result<XtestReport, RunError> {
    let guests = options.machine.guests_with_a_tee("run xtest")?;
    let machine = options.machine.run(Overrides {
        exec: guests.iter().map(|guest| command(guest)).collect(),
        ..Overrides::default()
    });
    let (report, suites) = run::attend(&machine, progress, |operator| {
        Ok(listen(operator, &guests, progress))
    })?;
    Ok(XtestReport::new(&report, suites?))
}

fn command(guest: &str) -> GuestCommand {
    GuestCommand {
        guest: guest.to_owned(),
        command: COMMAND.to_owned(),
    }
}

/// Follows the consoles of `guests` to the end.
fn listen(
    mut operator: Operator,
    guests: &[String],
    progress: &Progress,
) -> BTreeMap<String, Suite> {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    let mut suites: BTreeMap<String, Suite> = guests
        .iter()
        .map(|guest| (guest.clone(), Suite::default()))
        .collect();
    let mut told = std::time::Instant::now();
    let began = told;
    loop {
        match operator.hear(TICK) {
            Ok(Heard::Line(said)) => {
                if let Some(suite) = suites.get_mut(&said.console) {
                    suite.line(said.at, &said.text);
                }
            }
            Ok(Heard::Uart(_)) | Err(Timeout) => {}
            Err(Disconnected) => return suites,
        }
        if told.elapsed() >= NEWS_INTERVAL {
            told = std::time::Instant::now();
            let seconds = began.elapsed().as_secs_f64();
            let news: Vec<String> = suites
                .iter()
                .map(|(guest, suite)| format!("{guest}: {}", suite.how_far()))
                .collect();
            progress.say(&format!("[{seconds:6.1} s] {}", news.join("; ")));
        }
    }
}
