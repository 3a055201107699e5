//! The folder of a run: a log file for each console, and what the machine was started from.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::run::console::{Line, Source};

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

    /// The secure world's console.
    pub fn secure_log(&self) -> PathBuf {
        self.folder.join(SECURE_WORLD)
    }

    /// What QEMU says of itself.
    pub fn qemu_log(&self) -> PathBuf {
        self.folder.join(QEMU)
    }

    /// Opens an empty log for each console that comes out of UART0, of the guests of these names.
    pub fn open_logs<'a>(&self, guests: impl IntoIterator<Item = &'a str>) -> Result<Logs> {
        let open = |path: PathBuf| {
            File::create(&path).with_context(|| format!("{} can't be written", path.display()))
        };
        Ok(Logs {
            firmware: open(self.folder.join(FIRMWARE))?,
            hypervisor: open(self.folder.join(HYPERVISOR))?,
            guests: guests
                .into_iter()
                .map(|name| open(self.guest_log(name)))
                .collect::<Result<_>>()?,
        })
    }
}

/// The open log files of a run.
#[derive(Debug)]
pub struct Logs {
    firmware: File,
    hypervisor: File,
    guests: Vec<File>,
}

impl Logs {
    /// Writes a line to the log that it belongs to. Unbuffered: a log must be whole whenever one looks.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        let file = match line.source {
            Source::Firmware => &mut self.firmware,
            Source::Hypervisor => &mut self.hypervisor,
            Source::Guest(index) => match self.guests.get_mut(index) {
                Some(file) => file,
                None => return Ok(()),
            },
        };
        file.write_all(&[line.bytes.as_slice(), b"\n"].concat())
    }
}

/// The last line of a file that has text; empty if there is none.
pub fn last_line(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .rev()
        .map(str::trim_end)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_console_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::take(folder.path()).unwrap();
        let mut logs = run.open_logs(["vm1", "vm2"]).unwrap();
        for (source, text) in [
            (Source::Firmware, "fw"),
            (Source::Hypervisor, "hv"),
            (Source::Guest(0), "one"),
            (Source::Guest(1), "two"),
            (Source::Guest(0), "\u{fffd}"),
        ] {
            let bytes = text.as_bytes().to_vec();
            logs.write(&Line { source, bytes }).unwrap();
        }
        let content = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(content("firmware.log"), "fw\n");
        assert_eq!(content("bulkhead.log"), "hv\n");
        assert_eq!(content("vm1.log"), "one\n\u{fffd}\n");
        assert_eq!(content("vm2.log"), "two\n");
    }

    #[test]
    fn a_new_run_begins_with_empty_logs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vm1.log"), "old").unwrap();
        let run = RunFolder::take(folder.path()).unwrap();
        run.open_logs(["vm1"]).unwrap();
        assert_eq!(fs::read(folder.path().join("vm1.log")).unwrap(), b"");
    }

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

    #[test]
    fn the_last_line_with_text_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, b"one\ntwo \xff\r\n\n  \n").unwrap();
        assert_eq!(last_line(&path), "two \u{fffd}");
        assert_eq!(last_line(&folder.path().join("none")), "");
    }
}
