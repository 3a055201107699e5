//! The host tool's front: reads the command line and hands over to the library.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;

use qemu::base::interrupt::Interrupt;
use qemu::base::json::write_json;
use qemu::base::progress::Progress;
use qemu::cli::{
    BenchArguments, Cli, Command, DrmArguments, GuestArguments, GuestFuzzArguments, RunArguments,
    RunningArguments, ShellArguments, SshArguments, SuiteArguments, XtestArguments, set,
};
use qemu::commands::bench::{self, BenchOptions};
use qemu::commands::conformance;
use qemu::commands::detached;
use qemu::commands::drm::{self, DrmOptions};
use qemu::commands::guest_fuzz::{self, GuestFuzzOptions};
use qemu::commands::hostile;
use qemu::commands::running::{self, Ending};
use qemu::commands::shell::{self, ShellOptions};
use qemu::commands::ssh::{self, SshOptions};
use qemu::commands::xtest::{self, XtestOptions};
use qemu::description::{Description, Overrides};
use qemu::parts::Parts;
use qemu::parts::cache::Cache;
use qemu::parts::packages;
use qemu::run::{self, RunError, RunOptions};

/// The exit status when the machine description is refused; that of clap when the command line is.
const REFUSED: u8 = 2;
/// The exit status when a part of the machine can't be downloaded or built.
const NOT_PREPARED: u8 = 5;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let progress = Progress::stderr();
    let done = match &cli.command {
        Command::Run(arguments) => run(arguments, &progress),
        Command::Check(arguments) => check(&arguments.config),
        Command::Fetch(arguments) => fetch(arguments.config.as_deref(), &progress),
        Command::Conformance(arguments) => conformance(arguments, &progress),
        Command::GuestFuzz(arguments) => guest_fuzz(arguments, &progress),
        Command::Hostile(arguments) => hostile(arguments, &progress),
        Command::Xtest(arguments) => xtest(arguments, &progress),
        Command::Drm(arguments) => drm(arguments, &progress),
        Command::Bench(arguments) => bench(arguments, &progress),
        Command::Shell(arguments) => shell(arguments, &progress),
        Command::List(machine) => answer(machine, "list"),
        Command::Stats(machine) => answer(machine, "stats"),
        Command::Console(machine) => running::follow(&machine.folder(), std::io::stdout())
            .map(|()| 0)
            .map_err(RunError::from),
        Command::Attach(guest) => attach(guest),
        Command::Ssh(arguments) => ssh(arguments, &progress),
        Command::Destroy(guest) => end(guest, Ending::Destroy),
        Command::Restart(guest) => end(guest, Ending::Restart),
        Command::PinOptee => pin_optee(&progress),
        Command::Versions => versions(&progress),
    };
    match done {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                RunError::Config(_) => REFUSED,
                RunError::Preparation(_) => NOT_PREPARED,
            }
            .into()
        }
    }
}

fn run(arguments: &RunArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = RunOptions::new(&arguments.machine.config);
    options.overrides = arguments.overrides();
    if arguments.detach {
        let logs = arguments.machine.logs.clone();
        let logs = logs.unwrap_or_else(|| run::logs_of(&arguments.machine.config));
        // Refused here rather than in a log.
        Description::load(&options.config, &options.overrides)?;
        detached::start(&detached::arguments(), &logs, progress)?;
        return Ok(0);
    }
    if arguments.stay {
        options.timeout = Duration::MAX;
    }
    set(&mut options.timeout, arguments.timeout.as_ref());
    options.logs.clone_from(&arguments.machine.logs);
    options.interrupt = interrupt()?;
    let report = run::run(&options, progress)?;
    tell(&report, arguments.json.as_deref())?;
    Ok(report.result.exit_status())
}

fn answer(machine: &RunningArguments, question: &str) -> Result<u8, RunError> {
    for line in running::ask(&machine.folder(), question)? {
        println!("{line}");
    }
    Ok(0)
}

fn attach(arguments: &GuestArguments) -> Result<u8, RunError> {
    let folder = arguments.machine.folder();
    let (input, output) = (std::io::stdin(), std::io::stdout());
    running::attach(&folder, &arguments.guest, input, output)?;
    Ok(0)
}

fn ssh(arguments: &SshArguments, progress: &Progress) -> Result<u8, RunError> {
    let GuestArguments { guest, machine } = &arguments.guest;
    let options = SshOptions {
        config: machine.config.clone(),
        logs: machine.folder(),
        guest: guest.clone(),
        command: arguments.command.clone(),
    };
    ssh::run(&options, progress)
}

fn end(arguments: &GuestArguments, ending: Ending) -> Result<u8, RunError> {
    let folder = arguments.machine.folder();
    println!("{}", running::end(&folder, &arguments.guest, ending)?);
    Ok(0)
}

fn check(config: &Path) -> Result<u8, RunError> {
    let description = Description::load(config, &Overrides::default())?;
    print!("{description}");
    Ok(0)
}

fn fetch(config: Option<&Path>, progress: &Progress) -> Result<u8, RunError> {
    match config {
        Some(config) => {
            let description = Description::load(config, &Overrides::default())?;
            Parts::get(&description, progress)?;
        }
        None => drop(Parts::fetch(progress)?),
    }
    Ok(0)
}

fn conformance(arguments: &SuiteArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = conformance::default_options();
    arguments.set(&mut options);
    options.interrupt = interrupt()?;
    let report = conformance::run(&options, progress)?;
    tell(&report, Some(&options.json))?;
    Ok(u8::from(!report.passed()))
}

fn guest_fuzz(arguments: &GuestFuzzArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = GuestFuzzOptions::new();
    options.seconds = arguments.seconds;
    arguments.suite.set(&mut options.suite);
    options.suite.interrupt = interrupt()?;
    let report = guest_fuzz::run(&options, progress)?;
    tell(&report, Some(&options.suite.json))?;
    Ok(u8::from(!report.passed()))
}

fn hostile(arguments: &SuiteArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = hostile::default_options();
    arguments.set(&mut options);
    options.interrupt = interrupt()?;
    let report = hostile::run(&options, progress)?;
    tell(&report, Some(&options.json))?;
    Ok(u8::from(!report.passed()))
}

fn xtest(arguments: &XtestArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = XtestOptions::new(&arguments.machine.config);
    arguments.machine.set(&mut options.machine);
    set(&mut options.machine.timeout, arguments.timeout.as_ref());
    set(&mut options.reports, arguments.reports.as_ref());
    options.machine.interrupt = interrupt()?;
    let report = xtest::run(&options, progress)?;
    print!("{report}");
    report.write(&options.reports)?;
    Ok(report.exit_status)
}

fn drm(arguments: &DrmArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = DrmOptions::new(&arguments.machine.config);
    arguments.machine.set(&mut options.machine);
    set(&mut options.machine.timeout, arguments.timeout.as_ref());
    options.icount = arguments.icount;
    options.seconds = arguments.seconds;
    options.titles.clone_from(&arguments.stream);
    set(&mut options.json, arguments.json.as_ref());
    options.machine.interrupt = interrupt()?;
    let report = drm::run(&options, progress)?;
    tell(&report, Some(&options.json))?;
    Ok(report.exit_status)
}

fn bench(arguments: &BenchArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = BenchOptions::new();
    arguments.suite.set(&mut options.suite);
    set(&mut options.plot, arguments.plot.as_ref());
    options.suite.interrupt = interrupt()?;
    if arguments.fetch {
        bench::fetch(&options, progress)?;
        return Ok(0);
    }
    let report = bench::run(&options, progress)?;
    tell(&report, Some(&options.suite.json))?;
    bench::draw(&report, &options.plot)?;
    Ok(u8::from(!report.met()))
}

fn shell(arguments: &ShellArguments, progress: &Progress) -> Result<u8, RunError> {
    let mut options = ShellOptions::new(&arguments.machine.config, &arguments.guest);
    arguments.machine.set(&mut options.machine);
    options.overlays.clone_from(&arguments.overlay);
    options.machine.interrupt = interrupt()?;
    let ended = shell::run(&options, progress, std::io::stdin(), std::io::stdout())?;
    println!("\n{ended}");
    Ok(ended.exit_status())
}

/// What ends a run before its time.
fn interrupt() -> anyhow::Result<Interrupt> {
    Interrupt::from_signals().context("signals can't be caught")
}

/// Shows a report to the person and writes it for programs.
fn tell(report: &(impl Display + Serialize), json: Option<&Path>) -> anyhow::Result<()> {
    print!("{report}");
    json.map_or(Ok(()), |path| write_json(report, path))
}

fn pin_optee(progress: &Progress) -> Result<u8, RunError> {
    let package = packages::pin_newest_optee(&Cache::from_environment()?, progress)?;
    println!(
        "qemu/optee-source.json names {} {}, SHA-256 {}",
        package.name, package.version, package.sha256
    );
    Ok(0)
}

fn versions(progress: &Progress) -> Result<u8, RunError> {
    print!("{}", Parts::fetch(progress)?);
    Ok(0)
}
