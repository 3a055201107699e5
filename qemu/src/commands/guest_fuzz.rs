//! The guest fuzz: a guest does at random what a guest can do, again and again, beside a witness
//! with a vCPU on each of its CPUs (docs/testing.md, "The guest fuzz").

mod console;
mod report;

use std::fs;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::base::checkout::checkout;
use crate::base::host_tools;
use crate::base::progress::Progress;
use crate::commands::options::SuiteOptions;
use crate::description::{Description, Overrides};
use crate::parts::instruction_counter;
use crate::run::operator::{Heard, Operator};
use crate::run::report::Report;
use crate::run::{self, RunError, RunOptions};

use console::{FUZZ, WITNESS, Watch};
pub use report::{Gap, GuestFuzzReport, MachineFuzz, Unit};

/// One CPU that counts instructions.
const ALONE: &str = "guest-fuzz-alone.toml";
/// Several CPUs, kept in step.
const TOGETHER: &str = "guest-fuzz.toml";

/// How long it takes unless it is said, in seconds.
pub const DEFAULT_SECONDS: u64 = 60;

/// For a machine to come up.
const UP_LIMIT: Duration = Duration::from_secs(120);
/// The witness has something to say many times a second, by a host that does nothing else.
const WITNESS_LIMIT: Duration = Duration::from_secs(60);
/// A fuzz that has said nothing for so long sleeps for good, or has lost its way.
const FUZZ_LIMIT: Duration = Duration::from_secs(10);
/// How long after a command to restart it another one is given, if it has not started.
const RESTART_LIMIT: Duration = Duration::from_secs(2);
/// How often the time is looked at while the consoles are silent.
const TICK: Duration = Duration::from_millis(200);
/// What OP-TEE says when it gives up.
const OPTEE_GIVES_UP: &str = "Halting CPU";

/// How long is fuzzed, and where what comes of it goes.
#[derive(Clone, Debug)]
pub struct GuestFuzzOptions {
    /// For how long, in seconds by the host's clock: half on each of the two machines.
    pub seconds: u64,
    /// Where what comes of it goes.
    pub suite: SuiteOptions,
}

impl GuestFuzzOptions {
    /// A minute, with everything below `target`.
    pub fn new() -> Self {
        Self {
            seconds: DEFAULT_SECONDS,
            suite: SuiteOptions::new("guest-fuzz"),
        }
    }
}

impl Default for GuestFuzzOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Fuzzes on both machines.
///
/// # Errors
///
/// A machine can't be had or started. What a machine does wrong is in the report.
pub fn run(options: &GuestFuzzOptions, progress: &Progress) -> Result<GuestFuzzReport, RunError> {
    host_tools::ensure(host_tools::MACHINE, progress)?;
    let plugin = instruction_counter::build(progress)?;
    let time = Duration::from_secs(options.seconds.div_ceil(2));
    let mut report = GuestFuzzReport::new(options.seconds);
    for (config, unit) in [(ALONE, Unit::Microseconds), (TOGETHER, Unit::Instructions)] {
        let name = config.trim_end_matches(".toml");
        let logs = options.suite.logs.join(name);
        let counts = options.suite.logs.join(format!("{name}-counts"));
        let path = checkout().join("qemu/configs").join(config);
        let mut machine = RunOptions {
            overrides: Overrides {
                icount: unit == Unit::Microseconds,
                ..Overrides::default()
            },
            // It is the operator who ends it.
            timeout: UP_LIMIT + time + WITNESS_LIMIT,
            logs: Some(logs),
            may_restart: vec![FUZZ.to_owned()],
            live: false,
            interrupt: options.suite.interrupt.clone(),
            ..RunOptions::new(&path)
        };
        if unit == Unit::Instructions {
            fs::create_dir_all(&options.suite.logs)
                .with_context(|| format!("{} can't be made", options.suite.logs.display()))?;
            machine.qemu_arguments = instruction_counter::qemu_arguments(&plugin, &counts);
        }
        let vcpus = witness_vcpus(&path)?;
        let mut watch = Watch::new(vcpus);
        let (ran, attended) = run::attend(&machine, progress, |operator| {
            attend(operator, &mut watch, time)
        })?;
        let gap = match unit {
            Unit::Microseconds => watch.longest_gap(),
            Unit::Instructions => most_instructions(&counts),
        };
        let failure = attended.err().map(|error| format!("{error:#}"));
        report.machines.push(MachineFuzz::new(
            name,
            watch,
            gap.map(|length| Gap { length, unit }),
            failure.or_else(|| machine_failure(&ran)),
        ));
        if options.suite.interrupt.requested() {
            break;
        }
    }
    Ok(report)
}

/// How many vCPUs the witness of a machine has.
fn witness_vcpus(config: &Path) -> Result<usize, RunError> {
    let description = Description::load(config, &Overrides::default())?;
    let mut guests = description.guests.iter();
    let witness = guests.find(|guest| guest.name == WITNESS);
    Ok(witness.map_or(0, |guest| guest.vcpu_cpus.len()))
}

/// What the machine did wrong, whatever its guests did.
fn machine_failure(report: &Report) -> Option<String> {
    if report.result.exit_status() != 0 {
        return Some(report.summary.clone());
    }
    let log = fs::read(report.logs.join("secure-world.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let panic = log.lines().find(|line| line.contains("Panic '"));
    log.contains(OPTEE_GIVES_UP)
        .then(|| format!("OP-TEE gave up: {}", panic.unwrap_or("without a word")))
}

/// The most instructions that a CPU executed between two marks of the witness, as the plugin wrote
/// them.
fn most_instructions(counts: &Path) -> Option<u64> {
    let log = fs::read_to_string(counts).ok()?;
    // The last line may be cut off.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .filter_map(|line| line.split_once(' ')?.0.parse().ok())
        .max()
}

/// Restarts the fuzz whenever it has ended, until the time is over.
fn attend(mut operator: Operator, watch: &mut Watch, time: Duration) -> Result<()> {
    let began = Instant::now();
    // From when all that is to be watched can be.
    let mut up = None;
    let mut asked = None;
    loop {
        match operator.hear(TICK) {
            Ok(Heard::Line(said)) => watch.line(&said.console, &said.text, Instant::now())?,
            Ok(Heard::Uart(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the machine is gone"),
        }
        let now = Instant::now();
        if up.is_none() && watch.all_are_up() {
            up = Some(now);
        }
        let Some(up) = up else {
            if now - began > UP_LIMIT {
                bail!("the machine did not come up");
            }
            continue;
        };
        if let Some(vcpu) = watch.silent_witness(now, WITNESS_LIMIT) {
            bail!(
                "vCPU {vcpu} of the witness has said nothing for {} s",
                WITNESS_LIMIT.as_secs()
            );
        }
        if now - up >= time {
            operator.end_run();
            return Ok(());
        }
        let asleep = watch.silent_fuzz(now, FUZZ_LIMIT);
        if (asleep || watch.fuzz_is_off()) && asked.is_none_or(|asked| now - asked > RESTART_LIMIT)
        {
            if asleep {
                watch.gave_up_on_fuzz(now);
            }
            operator.command(&format!("restart {FUZZ}"))?;
            asked = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_count_is_that_of_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let counts = folder.path().join("counts");
        assert_eq!(most_instructions(&counts), None);
        fs::write(&counts, "120 7\n90000 1\n130 9\n95000").unwrap();
        assert_eq!(most_instructions(&counts), Some(90_000));
    }

    #[test]
    fn the_machines_are_described() {
        for (config, vcpus) in [(ALONE, 1), (TOGETHER, 2)] {
            let path = checkout().join("qemu/configs").join(config);
            assert_eq!(witness_vcpus(&path).unwrap(), vcpus, "{config}");
        }
    }
}
