//! The machines that are measured, and how what they measured gets out of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::base::checkout::checkout;
use crate::base::host_tools;
use crate::base::progress::Progress;
use crate::description::{Description, GuestCommand, Overlay, Overrides};
use crate::parts::Parts;
use crate::parts::cache::Cache;
use crate::parts::firmware::{FirmwareRequest, OpteeImages, firmware};
use crate::parts::instruction_counter;
use crate::parts::packages::debian_parts;
use crate::parts::workloads;
use crate::run::operator::Operator;
use crate::run::{self, RunError, RunOptions};

use super::cases::Figures;
use super::direct::{Base, DirectMachine};
use super::frames::{self, Frames};
use super::options::BenchOptions;
use super::waiting;

/// One guest on one CPU, with Debian's OP-TEE.
pub(super) const ALONE: &str = "bench.toml";
/// The same with an OP-TEE that uses the CPU's instructions for AES.
pub(super) const ALONE_CE: &str = "bench-ce.toml";
/// Two guests on one CPU.
pub(super) const PAIR: &str = "bench-pair.toml";
/// Two guests with a CPU each.
pub(super) const APART: &str = "bench-apart.toml";
/// Two guests on four CPUs, two each.
pub(super) const PARALLEL: &str = "bench-parallel.toml";

/// The program that measures.
const PROGRAM: &str = "call-costs";
/// How long each machine may take.
const LIMIT: Duration = Duration::from_secs(900);
/// Frames, each between marks, without the kernel's bookkeeping of memory each second, which may
/// cost a third of a frame.
const MARKED_FRAMES: &str = "echo 3600 > /proc/sys/vm/stat_interval; call-costs marked-frames";
/// What a CPU that is never idle executes at least, divided by what another one does.
const BUSY: f64 = 0.9;
/// The guests of the descriptions.
const FIRST: &str = "vm1";
const SECOND: &str = "vm2";

/// What the second guest does while the first one is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// Nothing.
    Idle,
    /// It registers buffers of 8 MiB without end.
    Registering,
}

impl Neighbour {
    fn job(self) -> &'static str {
        match self {
            Self::Idle => "sleep 1000",
            Self::Registering => "call-costs hog",
        }
    }
}

/// Runs machines.
pub(super) struct Machines<'a> {
    options: &'a BenchOptions,
    progress: &'a Progress,
    overlay: PathBuf,
    /// The plugin that counts each CPU's instructions.
    counter: PathBuf,
}

impl<'a> Machines<'a> {
    /// Builds what all guests run.
    pub(super) fn prepare(options: &'a BenchOptions, progress: &'a Progress) -> Result<Self> {
        host_tools::ensure(host_tools::MACHINE, progress)?;
        let overlay = options.suite.logs.join("bench-programs");
        workloads::overlay(&[PROGRAM], &overlay, progress)?;
        workloads::drm_ta(&overlay, progress)?;
        let counter = instruction_counter::build(progress)?;
        Ok(Self {
            options,
            progress,
            overlay,
            counter,
        })
    }

    fn config(name: &str) -> PathBuf {
        checkout().join("qemu/configs").join(name)
    }

    fn overrides(&self, icount: bool, jobs: &[(&str, &str)]) -> Overrides {
        Overrides {
            icount,
            overlays: vec![Overlay {
                guest: None,
                folder: self.overlay.clone(),
            }],
            exec: jobs
                .iter()
                .map(|(guest, command)| GuestCommand {
                    guest: (*guest).to_owned(),
                    command: (*command).to_owned(),
                })
                .collect(),
            ..Overrides::default()
        }
    }

    /// Gets and builds what the machines of a description are made of.
    pub(super) fn fetch(&self, config: &str) -> Result<(), RunError> {
        let description = Description::load(&Self::config(config), &Overrides::default())?;
        Parts::get(&description, self.progress)?;
        if config == ALONE {
            self.bare_firmware()?;
        }
        Ok(())
    }

    /// TF-A with Debian's OP-TEE without virtualization.
    fn bare_firmware(&self) -> Result<PathBuf> {
        let cache = Cache::from_environment()?;
        let debian = debian_parts(&cache, self.progress)?;
        let request = FirmwareRequest {
            source: debian.firmware_source.clone(),
            optee: OpteeImages::in_folder(&debian.optee_alone_dir),
        };
        firmware(&cache, &request, self.progress)
    }

    /// What the first guest of a description measures where something else than the hypervisor
    /// stands at EL2.
    pub(super) fn direct(
        &self,
        base: Base,
        config: &str,
        job: &str,
        icount: bool,
    ) -> Result<Figures, RunError> {
        let overrides = self.overrides(icount, &[(FIRST, job)]);
        let description = Description::load(&Self::config(config), &overrides)?;
        let guest = description
            .guests
            .first()
            .context("the description has no guest")?;
        let firmware = match base {
            Base::Bare => self.bare_firmware()?,
            Base::Floor => Parts::get(&description, self.progress)?
                .firmware()
                .to_owned(),
        };
        let debian = debian_parts(&Cache::from_environment()?, self.progress)?;
        let machine = DirectMachine {
            base,
            machine: &description.machine,
            memory: guest.memory,
            firmware: &firmware,
            kernel: &debian.kernel_image,
            initramfs: &debian.base_initramfs,
            overlays: &guest.overlays,
            command_line: &guest.command_line,
            job,
            limit: LIMIT,
        };
        let folder = self.logs(&format!("{base:?}").to_lowercase());
        let console = machine.run(&folder, &self.options.suite.interrupt, self.progress)?;
        Ok(Figures::read(&console))
    }

    /// What the first guest of a description measures on the hypervisor.
    pub(super) fn ours(&self, config: &str, job: &str, icount: bool) -> Result<Figures, RunError> {
        let machine = self.machine(config, self.overrides(icount, &[(FIRST, job)]));
        self.run(&machine, |_| Ok(()))?;
        self.figures(FIRST)
    }

    /// What the first guest of a description measures in time, while the second one does something
    /// else.
    pub(super) fn beside(&self, config: &str, job: &str, other: &str) -> Result<Figures, RunError> {
        let mut machine = self.machine(
            config,
            self.overrides(false, &[(FIRST, job), (SECOND, other)]),
        );
        machine.until_off = Some(FIRST.to_owned());
        self.run(&machine, |_| Ok(()))?;
        self.figures(FIRST)
    }

    /// What frames cost the first guest's CPU while the second guest, on another CPU, is idle or
    /// registers.
    pub(super) fn frames_beside(&self, neighbour: Neighbour) -> Result<Frames, RunError> {
        let jobs = [(FIRST, MARKED_FRAMES), (SECOND, neighbour.job())];
        let mut machine = self.machine(APART, self.overrides(false, &jobs));
        machine.until_off = Some(FIRST.to_owned());
        let log = self.logs("ours").join("frames.log");
        machine.qemu_arguments = instruction_counter::qemu_arguments(&self.counter, &log);
        self.run(&machine, |mut operator| {
            if neighbour == Neighbour::Registering {
                // In this order, or the frames began too early.
                operator.wait_for(SECOND, LIMIT, |line| line == "hog: registers")?;
                operator.wait_for(FIRST, LIMIT, |line| line == "frames: begin")?;
            }
            Ok(())
        })?;
        let frames = frames::read(&log)?;
        if neighbour == Neighbour::Registering && frames.elsewhere < BUSY {
            return Err(anyhow!(
                "{SECOND} executed {:.2} of what {FIRST} did: it was not kept busy",
                frames.elsewhere
            )
            .into());
        }
        Ok(frames)
    }

    /// Instructions from the hypervisor's first to that of the last of two guests.
    pub(super) fn boot(&self) -> Result<Option<u64>, RunError> {
        let machine = self.machine(PAIR, self.overrides(true, &[]));
        self.run(&machine, |_| Ok(()))?;
        let log = self.console("bulkhead")?;
        let entered = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once(": enters its kernel ")?;
            rest.split(' ').next()?.parse().ok()
        });
        Ok(entered.max())
    }

    /// The most instructions for which an interrupt waits while one guest makes all kinds of calls.
    pub(super) fn waiting_in_calls(&self) -> Result<u64, RunError> {
        let jobs = [(FIRST, "call-costs interrupted")];
        self.waiting(self.machine(ALONE, self.overrides(true, &jobs)), |_| Ok(()))
    }

    /// The same while another guest starts again on the same CPU.
    pub(super) fn waiting_for_start(&self) -> Result<u64, RunError> {
        let jobs = [(FIRST, "call-costs interrupted"), (SECOND, "sleep 1000")];
        let mut machine = self.machine(PAIR, self.overrides(true, &jobs));
        machine.until_off = Some(FIRST.to_owned());
        machine.may_restart = vec![SECOND.to_owned()];
        self.waiting(machine, |mut operator| {
            operator.wait_for(FIRST, LIMIT, |line| line == "interrupted: begins")?;
            operator.ask(&format!("restart {SECOND}"), LIMIT, |line| {
                line.starts_with(&format!("{SECOND}: started"))
            })?;
            Ok(())
        })
    }

    fn waiting(
        &self,
        mut machine: RunOptions,
        script: impl FnOnce(Operator) -> Result<()> + Send,
    ) -> Result<u64, RunError> {
        let folder = tempfile::tempdir_in(&self.options.suite.logs)
            .context("no folder can be made for QEMU's log")?;
        let log = folder.path().join("executed.log");
        machine.qemu_arguments = waiting::qemu_arguments(&log);
        self.run(&machine, script)?;
        Ok(waiting::longest(&log)?)
    }

    fn machine(&self, config: &str, overrides: Overrides) -> RunOptions {
        RunOptions {
            overrides,
            timeout: LIMIT,
            logs: Some(self.logs("ours")),
            interrupt: self.options.suite.interrupt.clone(),
            ..RunOptions::new(Self::config(config))
        }
    }

    fn run(
        &self,
        machine: &RunOptions,
        script: impl FnOnce(Operator) -> Result<()> + Send,
    ) -> Result<(), RunError> {
        let (report, attended) = run::attend(machine, self.progress, script)?;
        attended?;
        // Where the other guest is only there to be in the way, it is in the middle of something.
        let passed = match &machine.until_off {
            Some(name) => report.guest(name).is_some_and(|guest| guest.passed),
            None => report.result.exit_status() == 0,
        };
        if passed {
            Ok(())
        } else {
            Err(anyhow!("the machine with the hypervisor failed:\n{report}").into())
        }
    }

    fn figures(&self, guest: &str) -> Result<Figures, RunError> {
        Ok(Figures::read(&self.console(guest)?))
    }

    /// What a console of the machine with the hypervisor said.
    fn console(&self, name: &str) -> Result<String> {
        let log = self.logs("ours").join(format!("{name}.log"));
        read(&log)
    }

    fn logs(&self, machine: &str) -> PathBuf {
        self.options.suite.logs.join(format!("bench-{machine}"))
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
