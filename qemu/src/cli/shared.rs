//! What commands share: options that mean the same everywhere, and the forms of values.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::commands::options::{MachineOptions, SuiteOptions};
use crate::description::{GuestCommand, GuestForward, Overlay};

/// Of commands that run a machine of the user's.
#[derive(Debug, Args)]
pub struct MachineArguments {
    /// The machine description, such as qemu/configs/two-guests.toml
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The CPU model instead of the description's, such as cortex-a72 or max
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,

    /// The folder for logs, one file a console [default: target/runs/NAME-OF-THE-DESCRIPTION]
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}

impl MachineArguments {
    /// Puts what was said into the options of a command.
    pub fn set(&self, options: &mut MachineOptions) {
        options.cpu.clone_from(&self.cpu);
        options.logs.clone_from(&self.logs);
    }
}

/// Of commands that run machines of this project's.
#[derive(Debug, Args)]
pub struct SuiteArguments {
    /// Write the report to this file [default: target/report/COMMAND.json]
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// The folder for logs, a folder a machine [default: target/runs]
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}

impl SuiteArguments {
    /// Puts what was said into the options of a command.
    pub fn set(&self, options: &mut SuiteOptions) {
        set(&mut options.json, self.json.as_ref());
        set(&mut options.logs, self.logs.as_ref());
    }
}

/// Replaces a default by what was said, if something was.
pub fn set<T: Clone>(option: &mut T, said: Option<&T>) {
    if let Some(said) = said {
        option.clone_from(said);
    }
}

/// A time limit, in whole seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("write a number of seconds, 1 or more".to_owned()),
    }
}

pub(super) fn guest_command(text: &str) -> Result<GuestCommand, String> {
    match text.split_once('=') {
        Some((guest, command)) if is_name(guest) => Ok(GuestCommand {
            guest: guest.to_owned(),
            command: command.to_owned(),
        }),
        _ => Err("write GUEST=COMMAND, such as 'vm1=xtest 1001'".to_owned()),
    }
}

pub(super) fn guest_forward(text: &str) -> Result<GuestForward, String> {
    match text.split_once('=') {
        Some((guest, ports)) if is_name(guest) => Ok(GuestForward {
            guest: guest.to_owned(),
            forward: ports.parse()?,
        }),
        _ => Err("write GUEST=HOST-PORT:GUEST-PORT, such as vm1=2221:22".to_owned()),
    }
}

/// `DIR` may have a `=` in it: what stands before the first one is a guest only if it can be a
/// guest's name.
pub(super) fn overlay(text: &str) -> Result<Overlay, String> {
    let (guest, folder) = match text.split_once('=') {
        Some((guest, folder)) if is_name(guest) => (Some(guest.to_owned()), folder),
        _ => (None, text),
    };
    if folder.is_empty() {
        return Err("name a folder, as in DIR or GUEST=DIR".to_owned());
    }
    Ok(Overlay {
        guest,
        folder: PathBuf::from(folder),
    })
}

/// It becomes a word of a guest's shell.
pub(super) fn stream(text: &str) -> Result<String, String> {
    if drm_protocol::is_stream(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "the streams are {}, each with or without {} behind it",
        drm_protocol::STREAMS.join(", "),
        drm_protocol::PER_FRAME
    ))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
