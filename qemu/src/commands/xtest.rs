//! The whole default suite of xtest (optee_test 4.5.0: regression and pkcs11) in every guest with a TEE, at the same time.

mod console;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::base::checkout::checkout;
use crate::base::interrupt::Interrupt;
use crate::base::progress::Progress;
use crate::description::{ConfigError, Description, GuestCommand, Overrides, Refusals, Tee, Work};
use crate::run::operator::{Heard, Operator};
use crate::run::{self, RunError, RunOptions};

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
    /// The machine description. Its guests with a TEE run xtest instead of their jobs; the others do as described.
    pub config: PathBuf,
    /// The CPU model instead of the description's.
    pub cpu: Option<String>,
    /// When to give up, from QEMU's start on.
    pub timeout: Duration,
    /// The folder for the reports `xtest.json` and `xtest.xml`.
    pub reports: PathBuf,
    /// The folder for the machine's logs; `None` as for any run.
    pub logs: Option<PathBuf>,
    /// Set from outside to end the run.
    pub interrupt: Interrupt,
}

impl XtestOptions {
    /// For a machine, with reports below `target`.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            config: config.into(),
            cpu: None,
            timeout: DEFAULT_TIMEOUT,
            reports: checkout().join("target/report"),
            logs: None,
            interrupt: Interrupt::default(),
        }
    }
}

/// Runs the suite and judges it.
pub fn run(options: &XtestOptions, progress: &Progress) -> Result<XtestReport, RunError> {
    let guests = guests(options)?;
    let machine = RunOptions {
        overrides: Overrides {
            cpu: options.cpu.clone(),
            exec: guests.iter().map(|guest| command(guest)).collect(),
            ..Overrides::default()
        },
        timeout: options.timeout,
        logs: options.logs.clone(),
        interrupt: options.interrupt.clone(),
        ..RunOptions::new(&options.config)
    };
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

/// The guests that can run xtest.
fn guests(options: &XtestOptions) -> Result<Vec<String>, ConfigError> {
    let description = Description::load(&options.config, &Overrides::default())?;
    let able = |work: &Work| matches!(work, Work::Job(_));
    let guests: Vec<String> = description
        .guests
        .iter()
        .filter(|guest| guest.tee == Tee::Optee && able(&guest.work))
        .map(|guest| guest.name.clone())
        .collect();
    if guests.is_empty() {
        let refuse = Refusals {
            file: &options.config,
        };
        return Err(refuse.at(
            "[[guest]]",
            "no guest can run xtest",
            "Describe a guest with tee = \"optee\" and Debian's initramfs.",
        ));
    }
    Ok(guests)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_or_guests(text: &str) -> Result<Vec<String>, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("m.toml");
        std::fs::write(&config, text).unwrap();
        guests(&XtestOptions::new(config))
    }

    const WITHOUT: &str = "[[guest]]\nname = \"vm1\"\nmemory = \"256MiB\"\ntee = \"none\"\n\
                           [[guest]]\nname = \"kit\"\nmemory = \"16MiB\"\npayload = \"conformance\"\n";

    #[test]
    fn guests_with_a_tee_and_a_job_run_xtest() {
        let text = format!("{WITHOUT}[[guest]]\nname = \"vm2\"\nmemory = \"256MiB\"\n");
        assert_eq!(refusal_or_guests(&text).unwrap(), ["vm2"]);
    }

    #[test]
    fn a_machine_that_cannot_run_xtest_is_refused() {
        let error = refusal_or_guests(WITHOUT).unwrap_err();
        assert!(
            error.to_string().contains("no guest can run xtest"),
            "{error}"
        );
    }
}
