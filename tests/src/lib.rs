//! What the end-to-end tests share: a run in a folder of its own, and what to show when it went
//! wrong.
//!
//! Each test boots a machine with several virtual CPUs, so run them one after the other
//! (`--test-threads=1`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qemu::base::progress::Progress;
use qemu::description::{GuestCommand, Overlay};
use qemu::run::operator::Operator;
use qemu::run::report::{GuestReport, Report};
use qemu::run::{self, RunOptions};
use tempfile::TempDir;

/// Lines of each console that a failure shows.
const SHOWN: usize = 40;

/// A run of a machine description, with logs in a folder that goes when this does.
#[derive(Debug)]
pub struct Scenario {
    /// What to run, and how.
    pub options: RunOptions,
    folder: TempDir,
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// The report.
    pub report: Report,
    _folder: TempDir,
}

impl Scenario {
    /// Of a description in `qemu/configs`.
    pub fn of(config: &str) -> Self {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qemu/configs");
        Self::with(|_| configs.join(config))
    }

    /// Of a description that is written for this run, in its folder, where other files may lie.
    pub fn described(text: &str) -> Self {
        Self::with(|folder| {
            let config = folder.join("machine.toml");
            fs::write(&config, text).expect("a temporary folder can be written");
            config
        })
    }

    fn with(config: impl FnOnce(&Path) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut options = RunOptions::new(config(folder.path()));
        options.logs = Some(folder.path().join("logs"));
        options.timeout = Duration::from_secs(180);
        options.overrides.disks = Some(folder.path().join("disks"));
        Self { options, folder }
    }

    /// The path of a file in the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has a guest run `command` instead of its job.
    pub fn exec(mut self, guest: &str, command: &str) -> Self {
        self.options.overrides.exec.push(GuestCommand {
            guest: guest.to_owned(),
            command: command.to_owned(),
        });
        self
    }

    /// Adds a folder's files to a guest's initramfs.
    pub fn overlay(mut self, guest: &str, folder: &Path) -> Self {
        self.options.overrides.overlays.push(Overlay {
            guest: Some(guest.to_owned()),
            folder: folder.to_owned(),
        });
        self
    }

    /// Gives up after so long.
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.options.timeout = Duration::from_secs(seconds);
        self
    }

    /// Lets a guest be reset or destroyed and start again: its last life counts.
    pub fn may_restart(mut self, guest: &str) -> Self {
        self.options.may_restart.push(guest.to_owned());
        self
    }

    /// Runs the machine to its end, with `script` at its console.
    pub fn attend<T: Send>(
        self,
        script: impl FnOnce(Operator) -> anyhow::Result<T> + Send,
    ) -> (Outcome, T) {
        let (report, attended) = run::attend(&self.options, &Progress::silent(), script)
            .expect("the machine can be run");
        eprintln!("{report}");
        let outcome = Outcome {
            report,
            _folder: self.folder,
        };
        match attended {
            Ok(value) => (outcome, value),
            Err(error) => {
                outcome.assert(false, &format!("the machine does as it is told: {error:#}"));
                unreachable!("the assertion fails");
            }
        }
    }

    /// Runs the machine to its end.
    pub fn run(self) -> Outcome {
        let report = run::run(&self.options, &Progress::silent()).expect("the machine can be run");
        eprintln!("{report}");
        Outcome {
            report,
            _folder: self.folder,
        }
    }
}

impl Outcome {
    /// A guest's part of the report.
    pub fn guest(&self, name: &str) -> &GuestReport {
        self.report.guest(name).expect("the guest is in the report")
    }

    /// A console's whole log: a guest's name, `bulkhead`, `firmware` or `secure-world`.
    pub fn log(&self, console: &str) -> String {
        let path = self.report.logs.join(format!("{console}.log"));
        let bytes = fs::read(path).expect("each console has a log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Shows the end of each console unless `holds`, and asserts it.
    #[track_caller]
    pub fn assert(&self, holds: bool, claim: &str) {
        if !holds {
            let guests = self.report.guests.iter().map(|guest| guest.name.as_str());
            for console in guests.chain(["bulkhead", "firmware", "secure-world"]) {
                let log = self.log(console);
                let lines: Vec<&str> = log.lines().collect();
                let start = lines.len().saturating_sub(SHOWN);
                eprintln!("---- the end of {console}.log");
                for line in lines.iter().skip(start) {
                    eprintln!("{line}");
                }
            }
        }
        assert!(holds, "{claim}\n{}", self.report);
    }

    /// Asserts that the run passed.
    #[track_caller]
    pub fn assert_passed(&self) {
        self.assert(self.report.result.exit_status() == 0, "the run passed");
    }
}
