//! The conformance kit: boots the payloads of `guest-shim/` on six machines and collects what their
//! cases found (docs/testing.md, "The conformance kit").

mod console;
#[cfg(test)]
mod documentation;
mod judge;
mod machine_run;
mod report;

use std::time::Duration;

use crate::base::checkout::checkout;
use crate::base::progress::Progress;
use crate::commands::options::SuiteOptions;
use crate::description::Overrides;
use crate::run::{self, RunError, RunOptions};

use judge::BYSTANDER;
use machine_run::MachineRun;
pub use report::{CaseReport, ConformanceReport, FigureReport};

/// Two guests that run all cases at the same time, each with a policy of its own.
const TOGETHER: &str = "conformance.toml";
/// The CPU with everything that QEMU knows, on which [`TOGETHER`] runs a second time.
const NEWEST_CPU: &str = "max";
/// Two guests that go through OP-TEE's ABI at the same time.
const TEE_ABI: &str = "conformance-tee.toml";
/// The same with Debian's older OP-TEE.
const TEE_ABI_DEBIAN: &str = "conformance-tee-debian.toml";
/// A hypervisor without mediators; a guest that runs all cases, beside others that restart and
/// misbehave.
const ALONE: &str = "conformance-alone.toml";
/// One guest on one CPU, whose instructions are counted.
const COST: &str = "conformance-cost.toml";

/// How long each machine may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The report and the logs below `target`.
pub fn default_options() -> SuiteOptions {
    SuiteOptions::new("conformance")
}

/// Runs the machines and judges them.
pub fn run(options: &SuiteOptions, progress: &Progress) -> Result<ConformanceReport, RunError> {
    let machine = |config: &str, overrides: Overrides, until_off: Option<&str>| {
        let mut name = config.trim_end_matches(".toml").to_owned();
        if let Some(cpu) = &overrides.cpu {
            name = format!("{name}-{cpu}");
        }
        let machine = RunOptions {
            overrides,
            timeout: LIMIT,
            logs: Some(options.logs.join(name)),
            until_off: until_off.map(str::to_owned),
            interrupt: options.interrupt.clone(),
            ..RunOptions::new(checkout().join("qemu/configs").join(config))
        };
        let report = run::run(&machine, progress)?;
        Ok::<_, RunError>(MachineRun::read(&report)?)
    };
    let mut report = ConformanceReport::default();
    let usual = Overrides::default;
    let newest = Overrides {
        cpu: Some(NEWEST_CPU.to_owned()),
        ..usual()
    };
    let counting = Overrides {
        icount: true,
        ..usual()
    };
    judge::together(&machine(TOGETHER, usual(), None)?, &mut report);
    judge::on_cpu(NEWEST_CPU, &machine(TOGETHER, newest, None)?, &mut report);
    judge::tee_abi(&machine(TEE_ABI, usual(), None)?, &mut report);
    judge::tee_abi(&machine(TEE_ABI_DEBIAN, usual(), None)?, &mut report);
    judge::alone(&machine(ALONE, usual(), Some(BYSTANDER))?, &mut report);
    judge::cost(&machine(COST, counting, None)?, &mut report);
    Ok(report)
}
