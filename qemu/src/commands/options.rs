//! What commands have in common: which machine they run, and where what comes of it goes.

use std::path::PathBuf;
use std::time::Duration;

use host_abi::binding::TeeChoice;

use crate::base::checkout::checkout;
use crate::base::interrupt::Interrupt;
use crate::description::{ConfigError, Description, Overrides, Refusals, Work};
use crate::run::RunOptions;

/// A machine that the user describes, and how it is run.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// The machine description.
    pub config: PathBuf,
    /// The CPU model instead of the description's.
    pub cpu: Option<String>,
    /// When to give up, from QEMU's start on.
    pub timeout: Duration,
    /// The folder for the machine's logs; `None` as for any run.
    pub logs: Option<PathBuf>,
    /// Set from outside to end the run.
    pub interrupt: Interrupt,
}

impl MachineOptions {
    /// The machine as it is described.
    pub(crate) fn new(config: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self {
            config: config.into(),
            cpu: None,
            timeout,
            logs: None,
            interrupt: Interrupt::default(),
        }
    }

    /// A run of it, changed by `overrides` and the CPU model.
    pub(crate) fn run(&self, overrides: Overrides) -> RunOptions {
        RunOptions {
            overrides: Overrides {
                cpu: self.cpu.clone(),
                ..overrides
            },
            timeout: self.timeout,
            logs: self.logs.clone(),
            interrupt: self.interrupt.clone(),
            ..RunOptions::new(&self.config)
        }
    }

    /// The guests with a TEE that run a job, and so can run something else. `purpose` is what they
    /// are to do, for a refusal where there is none.
    pub(crate) fn guests_with_a_tee(&self, purpose: &str) -> Result<Vec<String>, ConfigError> {
        let description = Description::load(&self.config, &Overrides::default())?;
        let guests: Vec<String> = description
            .guests
            .iter()
            .filter(|guest| guest.tee == TeeChoice::Optee && matches!(guest.work, Work::Job(_)))
            .map(|guest| guest.name.clone())
            .collect();
        if guests.is_empty() {
            let refuse = Refusals { file: &self.config };
            return Err(refuse.at(
                "[[guest]]",
                format!("no guest can {purpose}"),
                "Describe a guest with tee = \"optee\" and Debian's initramfs.",
            ));
        }
        Ok(guests)
    }
}

/// Where what comes of machines that this project describes goes.
#[derive(Clone, Debug)]
pub struct SuiteOptions {
    /// Where the report goes.
    pub json: PathBuf,
    /// The folder for the machines' logs, a folder each.
    pub logs: PathBuf,
    /// Set from outside to end the run.
    pub interrupt: Interrupt,
}

impl SuiteOptions {
    /// Everything below `target`, the report under this name.
    pub(crate) fn new(report: &str) -> Self {
        Self {
            json: report_folder().join(format!("{report}.json")),
            logs: checkout().join("target/runs"),
            interrupt: Interrupt::default(),
        }
    }
}

/// Where reports go unless it is said.
pub(crate) fn report_folder() -> PathBuf {
    checkout().join("target/report")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_or_guests(text: &str) -> Result<Vec<String>, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("m.toml");
        std::fs::write(&config, text).unwrap();
        MachineOptions::new(config, Duration::ZERO).guests_with_a_tee("dance")
    }

    const WITHOUT: &str = "[[guest]]\nname = \"vm1\"\nmemory = \"256MiB\"\ntee = \"none\"\n\
                           [[guest]]\nname = \"kit\"\nmemory = \"16MiB\"\npayload = \"conformance\"\n";

    #[test]
    fn guests_with_a_tee_and_a_job_can_do_something_else() {
        let text = format!("{WITHOUT}[[guest]]\nname = \"vm2\"\nmemory = \"256MiB\"\n");
        assert_eq!(refusal_or_guests(&text).unwrap(), ["vm2"]);
    }

    #[test]
    fn a_machine_without_such_a_guest_is_refused() {
        let error = refusal_or_guests(WITHOUT).unwrap_err();
        assert!(error.to_string().contains("no guest can dance"), "{error}");
    }

    #[test]
    fn the_machine_s_options_are_those_of_its_run() {
        let mut machine = MachineOptions::new("m.toml", Duration::from_secs(3));
        machine.cpu = Some("max".to_owned());
        let run = machine.run(Overrides {
            icount: true,
            ..Overrides::default()
        });
        assert_eq!(run.overrides.cpu.as_deref(), Some("max"));
        assert!(run.overrides.icount);
        assert_eq!(run.timeout, Duration::from_secs(3));
        assert_eq!(run.config, PathBuf::from("m.toml"));
    }
}
