//! A run that goes on without the terminal that started it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::base::progress::Progress;
use crate::base::run_folder::RunFolder;
use crate::commands::running;

/// What the run itself says.
const LOG: &str = "run.log";
/// The option that asked for this.
const OPTION: &str = "--detach";
/// How often the guests are asked about.
const TICK: Duration = Duration::from_millis(500);

/// What this program was called with, less the option that asked for this.
pub fn arguments() -> Vec<OsString> {
    let arguments = std::env::args_os().skip(1);
    arguments.filter(|argument| argument != OPTION).collect()
}

/// Starts this program once more, with these arguments, and waits until all guests run.
///
/// # Errors
///
/// The run ended before; its log says why.
pub fn start(arguments: &[OsString], logs: &Path, progress: &Progress) -> Result<()> {
    // A run that has the folder keeps its log, and is not taken for this one.
    drop(RunFolder::take(logs)?);
    let log = logs.join(LOG);
    let output =
        File::create(&log).with_context(|| format!("{} can't be written", log.display()))?;
    let program = std::env::current_exe().context("this program is not to be found")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("the log can't be written")?)
        .stderr(output)
        // Control-C is not for it.
        .process_group(0)
        .spawn()
        .context("this program can't be started again")?;
    let step = progress.step("Starting the machine");
    loop {
        if let Some(status) = child.try_wait().context("the run was lost")? {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let last = lines
                .get(lines.len().saturating_sub(20)..)
                .unwrap_or_default();
            bail!("the run ended with {status}:\n{}", last.join("\n"));
        }
        let guests = running::ask(logs, "list").unwrap_or_default();
        if !guests.is_empty() && guests.iter().all(|line| !line.contains(": starting")) {
            step.done();
            for line in guests {
                println!("{line}");
            }
            println!(
                "the machine runs on; `list`, `attach`, `destroy` and so on reach it, its logs are in {}",
                logs.display()
            );
            return Ok(());
        }
        step.tick();
        sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_folder_another_one_has_is_not_started() {
        let logs = tempfile::tempdir().unwrap();
        let log = logs.path().join(LOG);
        fs::write(&log, "the run's own words").unwrap();
        let _other = RunFolder::take(logs.path()).unwrap();
        let arguments = ["--list".into()];
        let error = start(&arguments, logs.path(), &Progress::silent()).unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "the run's own words");
    }
}
