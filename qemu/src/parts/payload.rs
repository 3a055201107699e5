//! Payloads of `guest-shim/`: programs that run in a guest without an operating system.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::base::progress::Progress;
use crate::base::run_folder::RunFolder;
use host_abi::memory_map::guest::{PAYLOAD_SIZE_MAX, RAM_BASE};

use crate::parts::cargo::build_bare_metal;
use crate::parts::image::{Place, flatten};

/// A payload's place (`guest-shim/payload.ld`).
const PAYLOAD: Place = Place {
    base: RAM_BASE,
    size: PAYLOAD_SIZE_MAX,
};

/// Builds a payload of this checkout, and puts the image that the hypervisor loads as a kernel into
/// `folder`.
pub fn image(name: &str, folder: &RunFolder, progress: &Progress) -> Result<PathBuf> {
    let step = progress.step(&format!("Building the payload {name}"));
    let elf = build_bare_metal("guest-shim", name, &[])?;
    let bytes = fs::read(&elf).with_context(|| format!("{} can't be read", elf.display()))?;
    let flat =
        flatten(bytes, PAYLOAD).with_context(|| format!("{} can't be a payload", elf.display()))?;
    let path = folder.machine_file(&format!("{name}.bin"));
    fs::write(&path, flat).with_context(|| format!("{} can't be written", path.display()))?;
    step.done();
    Ok(path)
}
