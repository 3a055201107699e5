//! DRM playback: protected streams, played in every guest with a TEE at the same time (docs/drm.md).

use std::path::Path;

use anyhow::Result;

use crate::progress::Progress;
use crate::workloads;

/// The player.
const PROGRAM: &str = "drm-playback";

/// Builds the player and the trusted application and puts them into `folder`, to go on top of a guest's file system: `drm-playback`
/// is then a command of the guest.
///
/// # Errors
///
/// The host lacks a tool, Debian's parts can't be had, something can't be built, or the folder can't be written.
pub fn overlay(folder: &Path, progress: &Progress) -> Result<()> {
    workloads::overlay(&[PROGRAM], folder, progress)?;
    workloads::drm_ta(folder, progress)
}
