//! What calls cost: the same guest without a hypervisor, on the floor and on the hypervisor (docs/performance.md).

mod cases;
mod direct;
mod plot;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::cache::Cache;
use crate::config::{Description, Guest, Overlay, Overrides, Work};
use crate::firmware::{FirmwareRequest, OpteeImages, firmware};
use crate::host_tools;
use crate::hypervisor::checkout;
use crate::interrupt::Interrupt;
use crate::packages::debian_parts;
use crate::progress::Progress;
use crate::run::{self, RunError, RunOptions};
use crate::workloads;

use cases::{Figures, Measured};
use direct::{Base, DirectMachine};

pub use report::{BenchReport, CaseReport, Judged, Unit};

/// The machine, whose guest runs the cases.
const CONFIG: &str = "bench.toml";
/// The program that measures.
const PROGRAM: &str = "call-costs";
/// How long each machine may take.
const LIMIT: Duration = Duration::from_secs(600);

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

/// Runs the machines one after the other and judges what they measured.
pub fn run(options: &BenchOptions, progress: &Progress) -> Result<BenchReport, RunError> {
    let overlay = options.logs.join("bench-programs");
    workloads::overlay(&[PROGRAM], &overlay, progress)?;
    let overrides = Overrides {
        icount: true,
        overlays: vec![Overlay {
            guest: None,
            folder: overlay,
        }],
        ..Overrides::default()
    };
    let config = checkout().join("qemu/configs").join(CONFIG);
    let description = Description::load(&config, &overrides)?;
    let guest = description
        .guests
        .first()
        .context("the description has no guest")?;

    let bare = on_direct_machine(Base::Bare, &description, guest, options, progress)?;
    let floor = on_direct_machine(Base::Floor, &description, guest, options, progress)?;
    let machine = RunOptions {
        overrides,
        timeout: LIMIT,
        logs: Some(options.logs.join("bench")),
        interrupt: options.interrupt.clone(),
        ..RunOptions::new(config.clone())
    };
    let ours = run::run(&machine, progress)?;
    if ours.result.exit_status() != 0 {
        return Err(anyhow!("the machine with the hypervisor failed:\n{ours}").into());
    }
    let log = ours
        .guest(&guest.name)
        .map(|guest| guest.log.clone())
        .context("the report has no such guest")?;
    let ours = fs::read(&log).with_context(|| format!("{} can't be read", log.display()))?;
    let ours = Figures::read(&String::from_utf8_lossy(&ours));
    Ok(cases::judge(&Measured { bare, floor, ours }))
}

fn on_direct_machine(
    base: Base,
    description: &Description,
    guest: &Guest,
    options: &BenchOptions,
    progress: &Progress,
) -> Result<Figures> {
    host_tools::ensure(host_tools::MACHINE, progress)?;
    let cache = Cache::from_environment()?;
    let debian = debian_parts(&cache, progress)?;
    let (optee, name) = match base {
        Base::Bare => (&debian.optee_alone_dir, "bench-bare"),
        Base::Floor => (&debian.optee_dir, "bench-floor"),
    };
    let firmware = firmware(
        &cache,
        &FirmwareRequest {
            source: debian.firmware_source.clone(),
            optee: OpteeImages::in_folder(optee),
        },
        progress,
    )?;
    let Work::Job(job) = &guest.work else {
        return Err(anyhow!("the guest of {CONFIG} has no job"));
    };
    let machine = DirectMachine {
        base,
        machine: &description.machine,
        firmware: &firmware,
        kernel: &debian.kernel_image,
        initramfs: &debian.base_initramfs,
        overlays: &guest.overlays,
        command_line: &guest.command_line,
        job,
        limit: LIMIT,
    };
    let console = machine.run(&options.logs.join(name), &options.interrupt, progress)?;
    Ok(Figures::read(&console))
}
