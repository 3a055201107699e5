//! The programs of `workloads/`: those that run in Linux guests, and the trusted application.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::base::checkout::checkout;
use crate::base::host_tools;
use crate::base::process;
use crate::base::progress::Progress;
use crate::parts::cache::Cache;
use crate::parts::packages::{self, debian_parts};
use crate::parts::trusted_application::sign;

/// What the programs are built for.
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The package, and the program, of the trusted application for DRM playback.
const DRM_TA: &str = "drm-playback-ta";
/// The cargo profile of trusted applications.
const TA_PROFILE: &str = "ta";

/// Builds the programs and puts these of them into `folder`, to go on top of a guest's file system.
///
/// # Errors
///
/// The host lacks a tool, a program can't be built, or the folder can't be written.
pub fn overlay(programs: &[&str], folder: &Path, progress: &Progress) -> Result<()> {
    host_tools::ensure(host_tools::WORKLOADS, progress)?;
    let step = progress.step("Building the guests' programs");
    let mut cargo = cargo();
    cargo.arg("--release");
    let built = build(&mut cargo, "release", || step.tick())?;
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

/// Builds the trusted application for DRM playback, signs it, and puts it into `folder`, to go on
/// top of a guest's file system.
///
/// # Errors
///
/// The host lacks a tool, Debian's parts can't be had, the application can't be built, or the
/// folder can't be written.
pub(crate) fn drm_ta(folder: &Path, progress: &Progress) -> Result<()> {
    host_tools::ensure(host_tools::WORKLOADS, progress)?;
    let cache = Cache::from_environment()?;
    let debian = debian_parts(&cache, progress)?;
    let kit = packages::ta_kit(&cache, &debian.ta_kit, progress)?;
    let step = progress.step("Building the trusted application for DRM playback");
    let mut cargo = cargo();
    cargo
        .args(["--profile", TA_PROFILE, "--package", DRM_TA])
        .env("TA_DEV_KIT_DIR", &kit)
        // It puts the kit's linker script through the preprocessor.
        .env("CC", "aarch64-linux-gnu-gcc");
    let program = build(&mut cargo, TA_PROFILE, || step.tick())?.join(DRM_TA);
    let program =
        fs::read(&program).with_context(|| format!("{} can't be read", program.display()))?;
    let key = packages::ta_sign_key(&debian.ta_kit)?;
    let signed = sign(&program, drm_protocol::UUID, &key)?;
    let place = folder.join(packages::TA_FOLDER);
    let file = place.join(format!("{}.ta", drm_protocol::UUID_TEXT));
    fs::create_dir_all(&place)
        .and_then(|()| fs::write(&file, signed))
        .with_context(|| format!("{} can't be written", file.display()))?;
    step.done();
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Where cargo finds the linker's name.
    cargo
        .current_dir(checkout().join("workloads"))
        .args(["build", "--quiet", "--target", TARGET]);
    cargo
}

/// Returns the folder that the programs of a profile are in.
fn build(cargo: &mut Command, profile: &str, mut tick: impl FnMut()) -> Result<PathBuf> {
    let target = checkout().join("target/workloads");
    process::run(cargo.arg("--target-dir").arg(&target), |_| tick())?;
    Ok(target.join(TARGET).join(profile))
}
