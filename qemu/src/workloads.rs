//! The programs of `workloads/`, which run in Linux guests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::host_tools;
use crate::hypervisor::checkout;
use crate::process;
use crate::progress::Progress;

/// What the programs are built for.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Builds the programs and puts these of them into `folder`, to go on top of a guest's file system.
///
/// # Errors
///
/// The host lacks a tool, a program can't be built, or the folder can't be written.
pub(crate) fn overlay(programs: &[&str], folder: &Path, progress: &Progress) -> Result<()> {
    host_tools::ensure(host_tools::WORKLOADS, progress)?;
    let step = progress.step("Building the guests' programs");
    let built = build(|| step.tick())?;
    let place = folder.join("usr/bin");
    fs::create_dir_all(&place).with_context(|| format!("{} can't be made", place.display()))?;
    for program in programs {
        let from = built.join(program);
        fs::copy(&from, place.join(program))
            .with_context(|| format!("{} can't be copied", from.display()))?;
    }
    step.done();
    Ok(())
}

/// Builds all programs and returns the folder that they are in.
fn build(mut tick: impl FnMut()) -> Result<PathBuf> {
    let target = checkout().join("target/workloads");
    process::run(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            // Where cargo finds the linker's name.
            .current_dir(checkout().join("workloads"))
            .args(["build", "--quiet", "--release", "--target", TARGET])
            .arg("--target-dir")
            .arg(&target),
        |_| tick(),
    )?;
    Ok(target.join(TARGET).join("release"))
}
