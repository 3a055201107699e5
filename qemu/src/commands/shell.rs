//! A person at the console of one guest, in a shell.

use std::fmt;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::base::progress::Progress;
use crate::commands::options::MachineOptions;
use crate::description::{
    ConfigError, Description, GuestCommand, Overlay, Overrides, Refusals, Work,
};
use crate::run::console::{Follower, HYPERVISOR_TAG};
use crate::run::marker;
use crate::run::operator::{DETACH, Heard, Operator};
use crate::run::outcome::RunResult;
use crate::run::{self, RunError, RunOptions};

/// How long a keystroke may wait while the machine is silent.
const TICK: Duration = Duration::from_millis(10);

/// How it is run.
#[derive(Clone, Debug)]
pub struct ShellOptions {
    /// The machine. The guest runs a shell instead of its job; the others do as described.
    pub machine: MachineOptions,
    /// The guest.
    pub guest: String,
    /// Folders to add to initramfs images.
    pub overlays: Vec<Overlay>,
}

impl ShellOptions {
    /// Of a guest of a machine.
    pub fn new(config: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self {
            machine: MachineOptions::new(config, Duration::MAX),
            guest: guest.into(),
            overlays: Vec::new(),
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The person went.
    Left,
    /// The guest powered itself off, or was stopped.
    Off,
    /// The run came to another end.
    Otherwise(RunResult),
}

impl Ended {
    /// The tool's exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Left | Self::Off => 0,
            Self::Otherwise(result) => result.exit_status(),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => formatter.write_str("the machine is switched off"),
            Self::Off => formatter.write_str("the guest is off"),
            Self::Otherwise(result) => formatter.write_str(&result.text()),
        }
    }
}

/// Boots the machine with a shell in the guest, to which `input` and `output` lead. Ends when the
/// guest is off, or with Control-] in `input`. A terminal passes every key on meanwhile.
pub fn run(
    options: &ShellOptions,
    progress: &Progress,
    input: impl AsFd + Send + Sync,
    output: impl Write + Send,
) -> Result<Ended, RunError> {
    check(options)?;
    let machine = RunOptions {
        until_off: Some(options.guest.clone()),
        live: false,
        ..options.machine.run(Overrides {
            exec: vec![GuestCommand {
                guest: options.guest.clone(),
                command: job(input.as_fd()),
            }],
            overlays: options.overlays.clone(),
            ..Overrides::default()
        })
    };
    let (report, left) = run::attend(&machine, progress, |operator| {
        let _raw = Raw::enter(input.as_fd());
        Session {
            operator,
            guest: &options.guest,
            output,
        }
        .hold(input.as_fd())
    })?;
    Ok(match report.result {
        RunResult::Passed if left? => Ended::Left,
        RunResult::Passed => Ended::Off,
        result => Ended::Otherwise(result),
    })
}

/// Refuses what has no shell.
fn check(options: &ShellOptions) -> Result<(), ConfigError> {
    let refuse = Refusals {
        file: &options.machine.config,
    };
    let description = Description::load(&options.machine.config, &Overrides::default())?;
    let Some(guest) = description.guest(&options.guest) else {
        let names: Vec<_> = description.guests.iter().map(|g| g.name.as_str()).collect();
        return Err(refuse.at(
            options.guest.as_str(),
            "there is no such guest",
            format!("The guests are: {}.", names.join(", ")),
        ));
    };
    if !matches!(guest.work, Work::Job(_)) {
        return Err(refuse.at(
            format!("guest {}", options.guest),
            "has no shell: it does not run the initramfs made of Debian's packages",
            "Choose another guest.",
        ));
    }
    Ok(())
}

/// A shell that has the console as its terminal, of the size of the person's.
fn job(input: BorrowedFd<'_>) -> String {
    let size = tcgetwinsize(input).map_or_else(
        |_| String::new(),
        |size| format!("stty rows {} cols {}; ", size.ws_row, size.ws_col),
    );
    format!("{size}export PS1='\\h:\\w\\$ '; setsid cttyhack sh -l")
}

struct Session<'a, W> {
    operator: Operator,
    guest: &'a str,
    output: W,
}

impl<W: Write> Session<'_, W> {
    /// Passes text on in both directions; gives whether the person went before the machine did.
    fn hold(mut self, input: BorrowedFd<'_>) -> Result<bool> {
        self.show(format!("{} starts; Control-] ends it all\n", self.guest).as_bytes())?;
        let started = format!("{}: started", self.guest);
        let answer = format!("{}: attached", self.guest);
        let mut follower = Follower::new(self.guest);
        let (mut attached, mut up, mut more) = (false, false, true);
        // What is typed waits until there is a shell.
        let mut typed = Vec::new();
        loop {
            match self.operator.hear(TICK) {
                Ok(Heard::Uart(bytes)) => {
                    let text = follower.feed(&bytes);
                    self.show(&text)?;
                }
                Ok(Heard::Line(said)) if said.console == HYPERVISOR_TAG && !attached => {
                    if said.text.starts_with(&started) {
                        self.operator.command(&format!("attach {}", self.guest))?;
                    }
                    attached = said.text.starts_with(&answer);
                }
                Ok(Heard::Line(said)) if said.console == self.guest => {
                    up |= marker::is_start(&said.text);
                }
                Ok(Heard::Line(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
            if more && ready(input)? {
                let mut buffer = [0; 256];
                let count = rustix::io::read(input, &mut buffer).context("nothing can be read")?;
                more = count > 0;
                typed.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
            if typed.contains(&DETACH) {
                self.operator.end_run();
                return Ok(true);
            }
            if attached && up && !typed.is_empty() {
                self.operator.type_in(&typed)?;
                typed.clear();
            }
        }
    }

    fn show(&mut self, text: &[u8]) -> Result<()> {
        self.output
            .write_all(text)
            .and_then(|()| self.output.flush())
            .context("nothing can be shown")
    }
}

pub(super) fn ready(input: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::new(&input, PollFlags::IN)];
    match poll(&mut fds, Some(&Timespec::default())) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error).context("the terminal can't be watched"),
    }
}

/// A terminal that passes every key on, until this is dropped. What it shows is still brought into
/// lines.
pub(super) struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// `None` if it is no terminal.
    pub(super) fn enter(terminal: BorrowedFd<'a>) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut raw = before.clone();
        raw.local_modes -=
            LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.input_modes -= InputModes::ICRNL
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::IXON
            | InputModes::ISTRIP;
        tcsetattr(terminal, OptionalActions::Now, &raw).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // It fails only if the terminal is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use super::*;

    fn refusal(guest: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("m.toml");
        let text = "[[guest]]\nname = \"vm1\"\nmemory = \"256MiB\"\n\
                    [[guest]]\nname = \"kit\"\nmemory = \"16MiB\"\ntee = \"none\"\npayload = \"conformance\"\n";
        std::fs::write(&config, text).unwrap();
        check(&ShellOptions::new(config, guest)).map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn guests_without_a_shell_are_refused() {
        assert_eq!(refusal("vm1"), "");
        assert!(refusal("kit").contains("has no shell"));
        assert!(refusal("vm3").contains("The guests are: vm1, kit."));
    }

    #[test]
    fn what_is_no_terminal_has_no_size_and_is_left_alone() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"x").unwrap();
        file.rewind().unwrap();
        assert!(!job(file.as_fd()).contains("stty"));
        assert!(Raw::enter(file.as_fd()).is_none());
        assert!(ready(file.as_fd()).unwrap());
    }

    #[test]
    fn each_end_has_a_status() {
        assert_eq!(Ended::Left.exit_status(), 0);
        assert_eq!(Ended::Off.exit_status(), 0);
        let lost = RunResult::MachineFailed("x".to_owned());
        assert_eq!(Ended::Otherwise(lost).exit_status(), 4);
    }
}
