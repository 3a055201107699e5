//! The folder of a run: a log file for each console, and what the machine was started from.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The hypervisor's log.
const HYPERVISOR: &str = "bulkhead.log";
/// The firmware's log.
const FIRMWARE: &str = "firmware.log";
/// The secure world's log, which QEMU itself writes.
const SECURE_WORLD: &str = "secure-world.log";
/// What QEMU says of itself.
const QEMU: &str = "qemu.log";
/// Held by the run that writes to the folder.
const LOCK: &str = ".lock";

/// The folder of a run. No other run writes to it as long as this lives.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Takes the folder, which is made if it does not exist.
    pub fn take(folder: &Path) -> Result<Self> {
        let take = || -> io::Result<_> {
            fs::create_dir_all(folder.join("machine"))?;
            let lock = File::create(folder.join(LOCK))?;
            Ok((folder.canonicalize()?, lock))
        };
        let (folder, lock) =
            take().with_context(|| format!("no logs can be written to {}", folder.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => bail!(
                "another run writes to {}; wait for it, or give this one a folder of its own with --logs",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} can't be locked", folder.display()))
            }
        }
    }

    /// The folder's path, absolute.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The path of a file that the machine is started from.
    pub fn machine_file(&self, name: &str) -> PathBuf {
        self.folder.join("machine").join(name)
    }

    /// The console of a guest.
    pub fn guest_log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The hypervisor's own lines.
    pub fn hypervisor_log(&self) -> PathBuf {
        self.folder.join(HYPERVISOR)
    }

    /// The firmware's console.
    pub fn firmware_log(&self) -> PathBuf {
        self.folder.join(FIRMWARE)
    }

    /// The secure world's console.
    pub fn secure_log(&self) -> PathBuf {
        self.folder.join(SECURE_WORLD)
    }

    /// What QEMU says of itself.
    pub fn qemu_log(&self) -> PathBuf {
        self.folder.join(QEMU)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunFolder::take(folder.path()).unwrap();
        let error = RunFolder::take(folder.path()).unwrap_err();
        assert!(error.to_string().contains("--logs"), "{error}");
        drop(first);
        RunFolder::take(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunFolder::take(&file.join("logs")).unwrap_err();
        assert!(error.to_string().contains("file/logs"), "{error}");
    }
}
