//! A shell in a guest, or a command, by ssh. A machine that does not run is started for it, and
//! left running.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::base::progress::Progress;
use crate::commands::detached;
use crate::description::{Description, Overrides};
use crate::parts::ssh_key;
use crate::run::{self, RunError};

/// The port of the guests' ssh servers.
pub const PORT: u16 = 22;
/// Not to be waited for longer, in seconds.
const CONNECT_TIMEOUT: u32 = 60;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// The machine description.
    pub config: PathBuf,
    /// The folder of its logs.
    pub logs: PathBuf,
    /// The guest.
    pub guest: String,
    /// What it runs; nothing is a shell.
    pub command: Vec<OsString>,
}

/// Runs ssh; gives its exit status, which is the command's.
///
/// # Errors
///
/// There is no such guest, or the machine can't be started, or has no way to the guest's port.
pub fn run(options: &SshOptions, progress: &Progress) -> Result<u8, RunError> {
    let description = Description::load(&options.config, &Overrides::default())?;
    if description.guest(&options.guest).is_none() {
        return Err(anyhow::anyhow!(
            "there is no guest {} in {}",
            options.guest,
            options.config.display()
        )
        .into());
    }
    if !run::socket::is_there(&options.logs) {
        start(options, &description, progress)?;
    }
    let port = port(&options.logs, &options.guest)?;
    let status = Command::new("ssh")
        .args(arguments(&ssh_key::private(progress)?, port))
        .args(&options.command)
        .status()
        .context("ssh can't be started")?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// ssh's arguments, before the command. A guest is trusted with nothing of the user's: whatever the
/// user's own configuration says, no agent, no display and no other key is for it.
fn arguments(key: &Path, port: u16) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["-F", "none", "-a", "-x", "-i"].map(Into::into).into();
    arguments.push(key.into());
    arguments.extend(["-p".into(), port.to_string().into()]);
    let timeout = format!("ConnectTimeout={CONNECT_TIMEOUT}");
    for option in [
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=no",
        // A guest has another key at each start.
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        &timeout,
        "ConnectionAttempts=20",
    ] {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.push("root@127.0.0.1".into());
    arguments
}

/// Leaves the machine running, with a way to each guest's port that its description does not name
/// one for.
fn start(options: &SshOptions, description: &Description, progress: &Progress) -> Result<()> {
    let mut arguments: Vec<OsString> = vec!["run".into(), "--stay".into()];
    arguments.extend(["--config".into(), options.config.clone().into()]);
    arguments.extend(["--logs".into(), options.logs.clone().into()]);
    let guests = description.guests.iter();
    for guest in guests.filter(|guest| guest.devices.forwarded(PORT).is_none()) {
        if guest.work.payload().is_some() {
            continue;
        }
        let forward = format!("{}={}:{PORT}", guest.name, free_port()?);
        arguments.extend(["--forward".into(), forward.into()]);
    }
    detached::start(&arguments, &options.logs, progress)
}

/// A port of the host that nobody listens at.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.context("the host has no free port")?.port())
}

/// The port of the host that leads to the guest's, as the run has written it down.
fn port(logs: &Path, guest: &str) -> Result<u16> {
    let text = fs::read_to_string(logs.join(run::FORWARDS)).unwrap_or_default();
    let ports = text.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (name, host, to) = (words.next()?, words.next()?, words.next()?);
        (name == guest && to == PORT.to_string()).then(|| host.parse().ok())?
    });
    match ports {
        Some(port) => Ok(port),
        None => bail!(
            "no port of the host leads to port {PORT} of {guest}: start the machine with --forward {guest}=2222:{PORT}, \
             or have it started by this command"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_no_agent_and_no_key_but_its_own() {
        let key = tempfile::NamedTempFile::new().unwrap();
        let output = Command::new("ssh")
            .arg("-G")
            .args(arguments(key.path(), 2222))
            .output();
        // Where there is ssh, it says what it makes of them.
        let Ok(output) = output else {
            return;
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = said.lines().collect();
        for line in [
            "port 2222",
            "user root",
            "forwardagent no",
            "forwardx11 no",
            "identitiesonly yes",
            "identityagent none",
            &format!("identityfile {}", key.path().display()),
            "userknownhostsfile /dev/null",
        ] {
            assert!(lines.contains(&line), "{line}: {said}");
        }
    }
}
