//! DRM playback: protected streams, played in every guest with a TEE at the same time
//! (docs/drm.md).

mod console;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::Result;

use crate::base::progress::Progress;
use crate::commands::options::{MachineOptions, report_folder};
use crate::description::{GuestCommand, Overlay, Overrides};
use crate::parts::workloads;
use crate::run::console::HYPERVISOR_TAG;
use crate::run::operator::{Heard, Operator};
use crate::run::{self, RunError};

use console::{Counters, Player};
pub use report::{DrmReport, GuestStreams, StreamReport};

/// The player.
const PROGRAM: &str = "drm-playback";
/// How long each stream is played unless it is said, in seconds.
pub const DEFAULT_SECONDS: u32 = 5;
/// How long the machine may take unless it is told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(900);
/// How often the time is looked at while the consoles are silent.
const TICK: Duration = Duration::from_secs(1);

/// What is played, and where.
#[derive(Clone, Debug)]
pub struct DrmOptions {
    /// The machine. Its guests with a TEE play instead of doing their jobs; the others do as
    /// described.
    pub machine: MachineOptions,
    /// Count instructions: one is one nanosecond of the machine's time.
    pub icount: bool,
    /// How long each stream is played, in seconds.
    pub seconds: u32,
    /// What is played, in the words of the player; all that it knows if there is nothing.
    pub titles: Vec<String>,
    /// Where the report goes.
    pub json: PathBuf,
}

impl DrmOptions {
    /// For a machine, with a report below `target`.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            machine: MachineOptions::new(config, DEFAULT_TIMEOUT),
            icount: false,
            seconds: DEFAULT_SECONDS,
            titles: Vec::new(),
            json: report_folder().join("drm.json"),
        }
    }

    fn command(&self) -> String {
        let mut command = format!("{PROGRAM} play {}", self.seconds);
        for title in &self.titles {
            command.push(' ');
            command.push_str(title);
        }
        command
    }
}

/// Builds the player and the trusted application and puts them into `folder`, to go on top of a
/// guest's file system: `drm-playback` is then a command of the guest.
///
/// # Errors
///
/// The host lacks a tool, Debian's parts can't be had, something can't be built, or the folder
/// can't be written.
pub fn overlay(folder: &Path, progress: &Progress) -> Result<()> {
    workloads::overlay(&[PROGRAM], folder, progress)?;
    workloads::drm_ta(folder, progress)
}

/// Plays the streams and says what came of it.
pub fn run(options: &DrmOptions, progress: &Progress) -> Result<DrmReport, RunError> {
    let guests = options.machine.guests_with_a_tee("play streams")?;
    let folder = tempfile::tempdir().map_err(anyhow::Error::from)?;
    overlay(folder.path(), progress)?;
    let machine = options.machine.run(Overrides {
        icount: options.icount,
        exec: guests
            .iter()
            .map(|guest| GuestCommand {
                guest: guest.clone(),
                command: options.command(),
            })
            .collect(),
        overlays: guests
            .iter()
            .map(|guest| Overlay {
                guest: Some(guest.clone()),
                folder: folder.path().to_owned(),
            })
            .collect(),
        ..Overrides::default()
    });
    let (report, players) = run::attend(&machine, progress, |operator| {
        listen(operator, &guests, progress)
    })?;
    Ok(DrmReport::new(&report, players?))
}

/// Follows the players to the end, and has the hypervisor say what it counted where they ask for
/// it.
fn listen(
    mut operator: Operator,
    guests: &[String],
    progress: &Progress,
) -> Result<BTreeMap<String, Player>> {
    let mut players: BTreeMap<String, Player> = guests
        .iter()
        .map(|guest| (guest.clone(), Player::default()))
        .collect();
    loop {
        let said = match operator.hear(TICK) {
            Ok(Heard::Line(said)) => said,
            Ok(Heard::Uart(_)) | Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(players),
        };
        if said.console == HYPERVISOR_TAG {
            if let Some((guest, counters)) = Counters::read(&said.text)
                && let Some(player) = players.get_mut(guest)
            {
                player.counted(counters);
            }
        } else if let Some(player) = players.get_mut(&said.console) {
            if player.line(&said.text) {
                operator.command("stats")?;
            }
            if let Some(result) = said.text.strip_prefix("drm result ") {
                let title = result.split(' ').next().unwrap_or_default();
                let seconds = said.at.as_secs_f64();
                progress.say(&format!(
                    "[{seconds:6.1} s] {}: played {title}",
                    said.console
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_player_is_told_what_to_play() {
        let mut options = DrmOptions::new("m.toml");
        assert_eq!(options.command(), "drm-playback play 5");
        options.seconds = 2;
        options.titles = vec!["1080p30".to_owned(), "2160p60+per-frame".to_owned()];
        assert_eq!(
            options.command(),
            "drm-playback play 2 1080p30 2160p60+per-frame"
        );
    }
}
