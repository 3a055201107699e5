//! A log file for each console.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::base::run_folder::RunFolder;
use crate::run::console::{Line, Source};

/// The open log files of a run.
#[derive(Debug)]
pub struct Logs {
    firmware: File,
    hypervisor: File,
    guests: Vec<File>,
}

impl Logs {
    /// Opens an empty log in `folder` for each console that comes out of UART0, of the guests of
    /// these names.
    pub fn open<'a>(folder: &RunFolder, guests: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let open = |path: &Path| {
            File::create(path).with_context(|| format!("{} can't be written", path.display()))
        };
        Ok(Self {
            firmware: open(&folder.firmware_log())?,
            hypervisor: open(&folder.hypervisor_log())?,
            guests: guests
                .into_iter()
                .map(|name| open(&folder.guest_log(name)))
                .collect::<Result<_>>()?,
        })
    }

    /// Writes a line to the log that it belongs to. Unbuffered: a log must be whole whenever one
    /// looks.
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
        let mut logs = Logs::open(&run, ["vm1", "vm2"]).unwrap();
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
        Logs::open(&run, ["vm1"]).unwrap();
        assert_eq!(fs::read(folder.path().join("vm1.log")).unwrap(), b"");
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
