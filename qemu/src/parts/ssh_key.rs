//! The key by which `ssh` logs in to guests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::base::checkout::checkout;
use crate::base::host_tools;
use crate::base::process;
use crate::base::progress::Progress;

/// The file of the private key, which is made where it is not there. The public one is beside it.
pub fn private(progress: &Progress) -> Result<PathBuf> {
    host_tools::ensure(host_tools::SSH, progress)?;
    let folder = checkout().join("target/ssh");
    let file = folder.join("id_ed25519");
    if !file.exists() {
        fs::create_dir_all(&folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "bulkhead", "-f"]);
        process::run(keygen.arg(&file), |_| {})?;
    }
    Ok(file)
}

/// The public key, a line.
pub fn public(progress: &Progress) -> Result<String> {
    let file = private(progress)?.with_extension("pub");
    fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))
}
