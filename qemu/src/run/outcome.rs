//! What becomes of a machine and its guests, as its consoles tell it, and what that is worth.

#[cfg(test)]
mod tests;

use std::time::Duration;

use host_abi::console::{Event as Said, Severity};

use crate::run::console::Source;
use crate::run::marker::{Marker, Sight};

/// What one guest has shown so far.
#[derive(Clone, Debug, Default)]
pub struct GuestTrace {
    /// Its name.
    pub name: String,
    /// The token of its job; `None` if it has an initramfs of the user's own, and so no job.
    pub token: Option<String>,
    /// When the job started; for a guest without a job, when the hypervisor started it. Since
    /// QEMU's start.
    pub started: Option<Duration>,
    /// When the job ended; for a guest without a job, when it powered off. Since QEMU's start.
    pub ended: Option<Duration>,
    /// The exit status of the job.
    pub exit_status: Option<i32>,
    /// What the job took by the guest's own clock.
    pub guest_seconds: Option<f64>,
    /// Why the job could not be run.
    pub failed: Option<String>,
    /// What the guest saw.
    pub sight: Sight,
    /// Whether the hypervisor started it.
    pub up: bool,
    /// Whether it powered itself off.
    pub off: bool,
    /// Why the hypervisor stopped it.
    pub stopped: Option<String>,
    /// How often it reset itself.
    pub resets: u32,
    /// Whether it may start again: its last life counts.
    pub may_restart: bool,
    /// The last line with text on its console, until its job ended.
    pub last_line: String,
}

/// What all consoles of a machine have shown so far.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The guests, in the order of the description.
    pub guests: Vec<GuestTrace>,
    /// When the hypervisor's first line came.
    pub hypervisor_up: Option<Duration>,
    /// What the hypervisor said when it died.
    pub panic: Option<String>,
    /// Whether the hypervisor said that all guests are off.
    pub all_off: bool,
    /// What the hypervisor warned of that is about no single guest.
    pub warnings: Vec<String>,
    /// The last line of the hypervisor.
    pub hypervisor_last: String,
    /// The last line of the firmware.
    pub firmware_last: String,
}

/// Something worth telling a person at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The hypervisor runs.
    HypervisorUp,
    /// A guest's job started.
    JobStarted(usize),
    /// A guest's job ended with this exit status.
    JobEnded(usize, i32),
    /// What the hypervisor says of a guest's life.
    Guest(usize, String),
    /// What the hypervisor warns of that is about no single guest.
    Warning(String),
    /// The hypervisor died.
    Panic(String),
}

impl Trace {
    /// Before anything was seen, of guests given as name and token, of which those named in
    /// `may_restart` may be reset or stopped and start again.
    pub fn new(
        guests: impl IntoIterator<Item = (String, Option<String>)>,
        may_restart: &[String],
    ) -> Self {
        Self {
            guests: guests
                .into_iter()
                .map(|(name, token)| GuestTrace {
                    may_restart: may_restart.contains(&name),
                    name,
                    token,
                    ..GuestTrace::default()
                })
                .collect(),
            hypervisor_up: None,
            panic: None,
            all_off: false,
            warnings: Vec::new(),
            hypervisor_last: String::new(),
            firmware_last: String::new(),
        }
    }

    /// Takes a line that came at `at`.
    pub fn line(&mut self, at: Duration, source: Source, text: &str) -> Option<Event> {
        match source {
            Source::Firmware => {
                remember(&mut self.firmware_last, text);
                None
            }
            Source::Hypervisor => {
                remember(&mut self.hypervisor_last, text);
                let first = self.hypervisor_up.is_none();
                self.hypervisor_up.get_or_insert(at);
                self.hypervisor_line(at, text)
                    .or(first.then_some(Event::HypervisorUp))
            }
            Source::Guest(index) => self.guest_line(at, index, text),
        }
    }

    fn hypervisor_line(&mut self, at: Duration, text: &str) -> Option<Event> {
        let said = Said::parse(text);
        let plain = text.strip_prefix(said.severity().prefix()).unwrap_or(text);
        let Some((index, news)) = self.guest_news(plain) else {
            return match said {
                Said::Panic { message } => {
                    self.panic.get_or_insert_with(|| message.to_owned());
                    Some(Event::Panic(message.to_owned()))
                }
                Said::AllOff => {
                    self.all_off = true;
                    None
                }
                _ if said.severity() == Severity::Warning => {
                    self.warnings.push(plain.to_owned());
                    Some(Event::Warning(plain.to_owned()))
                }
                _ => None,
            };
        };
        let guest = self.guests.get_mut(index)?;
        match said {
            Said::Started { .. } => {
                if guest.up && guest.may_restart {
                    guest.begin_another_life();
                }
                guest.up = true;
                if guest.token.is_none() {
                    guest.started.get_or_insert(at);
                }
            }
            Said::Off { .. } => {
                guest.off = true;
                if guest.token.is_none() {
                    guest.ended = Some(at);
                }
            }
            Said::Reset { .. } => guest.resets = guest.resets.saturating_add(1),
            Said::ResetUntold { times, .. } => {
                let times = u32::try_from(times).unwrap_or(u32::MAX);
                guest.resets = guest.resets.saturating_add(times);
            }
            Said::Stopped { reason, .. } => {
                guest.stopped.get_or_insert_with(|| reason.to_owned());
            }
            _ => return None,
        }
        Some(Event::Guest(index, news.to_owned()))
    }

    /// The guest that a line of the hypervisor is about, and what it says of it.
    fn guest_news<'a>(&self, text: &'a str) -> Option<(usize, &'a str)> {
        let (name, news) = text.split_once(": ")?;
        let index = self.guests.iter().position(|guest| guest.name == name)?;
        Some((index, news))
    }

    fn guest_line(&mut self, at: Duration, index: usize, text: &str) -> Option<Event> {
        let guest = self.guests.get_mut(index)?;
        match guest
            .token
            .as_deref()
            .and_then(|token| Marker::parse(text, token))
        {
            Some(Marker::Start(sight)) => {
                guest.started.get_or_insert(at);
                guest.sight = sight;
                Some(Event::JobStarted(index))
            }
            Some(Marker::Exit {
                status,
                seconds,
                sight,
                failed,
            }) if guest.exit_status.is_none() => {
                guest.ended = Some(at);
                guest.exit_status = Some(status);
                guest.guest_seconds = Some(seconds);
                guest.sight = sight;
                guest.failed = failed;
                Some(Event::JobEnded(index, status))
            }
            // A second end is that of a guest that was reset; the first one counts.
            Some(Marker::Exit { .. }) => None,
            // What the kernel says on its way down tells nothing of the job.
            None if guest.exit_status.is_some() => None,
            None => {
                remember(&mut guest.last_line, text);
                None
            }
        }
    }

    /// Why the run need not go on, if it is known to have failed.
    pub fn failure(&self) -> Option<Failure> {
        if self.panic.is_some() {
            return Some(Failure::Panic);
        }
        self.guests
            .iter()
            .any(|guest| !guest.may_restart && guest.verdict().is_fatal())
            .then_some(Failure::Guest)
    }
}

/// Why a guest is stopped that the operator destroys.
const DESTROYED: &str = "destroyed at the console";

/// Why a run is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The hypervisor died.
    Panic,
    /// A guest was stopped, or reset itself although it has a job.
    Guest,
}

fn remember(last: &mut String, text: &str) {
    if !text.trim().is_empty() {
        text.clone_into(last);
    }
}

/// What came of one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it was asked and powered itself off.
    Passed,
    /// Its job ended with a status other than 0.
    JobFailed(i32),
    /// Its job could not be run.
    JobNotRun(String),
    /// It reset itself before its job had ended: most often its kernel panicked.
    Reset,
    /// The hypervisor stopped it.
    Stopped(String),
    /// It powered itself off without a word of its job.
    NoResult,
    /// Its job ended, but it did not power itself off.
    NotOff,
    /// The run ended while its job ran.
    Unfinished,
    /// It reset itself so often, and then the run ended before it powered itself off.
    Resets(u32),
    /// It came up, but its job did not start before the run ended.
    JobNotStarted,
    /// The hypervisor did not start it.
    NotStarted,
}

impl Verdict {
    /// Whether nothing that the other guests do can make this run a success.
    fn is_fatal(&self) -> bool {
        matches!(self, Self::Reset | Self::Stopped(_))
    }

    /// What a person is told.
    pub fn text(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::JobFailed(status) => format!("exit status {status}"),
            Self::JobNotRun(why) => format!("not run: {why}"),
            Self::Reset => "reset itself before its job had ended".to_owned(),
            Self::Stopped(reason) => format!("stopped: {reason}"),
            Self::NoResult => "powered off without a result".to_owned(),
            Self::NotOff => "did not power off".to_owned(),
            Self::Unfinished => "did not end".to_owned(),
            Self::Resets(count) => format!("reset itself {count} times and did not power off"),
            Self::JobNotStarted => "did not come up".to_owned(),
            Self::NotStarted => "was not started".to_owned(),
        }
    }
}

impl GuestTrace {
    /// Forgets what became of the life before.
    fn begin_another_life(&mut self) {
        *self = Self {
            name: std::mem::take(&mut self.name),
            token: self.token.take(),
            sight: std::mem::take(&mut self.sight),
            resets: self.resets,
            may_restart: self.may_restart,
            ..Self::default()
        };
    }

    /// What the guest's lines up to now are worth.
    pub fn verdict(&self) -> Verdict {
        if let Some(reason) = &self.stopped {
            return Verdict::Stopped(reason.clone());
        }
        if self.token.is_none() {
            return match (self.off, self.up) {
                (true, _) => Verdict::Passed,
                (false, true) if self.resets > 0 => Verdict::Resets(self.resets),
                (false, true) => Verdict::Unfinished,
                (false, false) => Verdict::NotStarted,
            };
        }
        match (self.exit_status, &self.failed) {
            (Some(_), Some(why)) => Verdict::JobNotRun(why.clone()),
            (Some(0), None) if self.off => Verdict::Passed,
            (Some(0), None) => Verdict::NotOff,
            (Some(status), None) => Verdict::JobFailed(status),
            (None, _) if self.resets > 0 && !self.may_restart => Verdict::Reset,
            (None, _) if self.off => Verdict::NoResult,
            (None, _) if self.started.is_some() => Verdict::Unfinished,
            (None, _) if self.up => Verdict::JobNotStarted,
            (None, _) => Verdict::NotStarted,
        }
    }

    /// Whether it did what it was asked. That one may be destroyed that may restart.
    pub fn passed(&self) -> bool {
        match self.verdict() {
            Verdict::Passed => true,
            Verdict::Stopped(reason) => self.may_restart && reason == DESTROYED,
            _ => false,
        }
    }

    /// What the job took by the host's clock.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.ended?.checked_sub(self.started?)?.as_secs_f64())
    }
}

/// How QEMU came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit status; `None` if a signal killed it.
    Exited(Option<i32>),
    /// The tool ended it: the time limit was reached.
    TimeLimit(Duration),
    /// The tool ended it: the hypervisor said nothing for so long.
    NoHypervisor(Duration),
    /// The tool ended it: it did not end by itself so long after all guests were off.
    StillOn(Duration),
    /// The tool ended it: a person interrupted it.
    Interrupted,
    /// The tool ended it: the run was known to have failed.
    Failed(Failure),
    /// The tool ended it: the guest was off that the run was to last for.
    GuestOff,
    /// The tool ended it: whoever attended it wanted no more.
    Dismissed,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// Every guest passed, and the machine powered itself off.
    Passed,
    /// A guest failed.
    GuestFailed,
    /// The time limit was reached.
    TimeLimit(Duration),
    /// The firmware, the hypervisor or QEMU failed.
    MachineFailed(String),
    /// A person interrupted the run.
    Interrupted,
}

impl RunResult {
    /// What the consoles and QEMU's end are worth together.
    pub fn of(trace: &Trace, end: End) -> Self {
        if let Some(message) = &trace.panic {
            return Self::MachineFailed(format!("the hypervisor panicked: {message}"));
        }
        let guests_passed = trace.guests.iter().all(GuestTrace::passed);
        match end {
            End::Interrupted => Self::Interrupted,
            End::TimeLimit(limit) => Self::TimeLimit(limit),
            End::NoHypervisor(time) => Self::MachineFailed(format!(
                "the hypervisor said nothing for {} s after the start",
                time.as_secs()
            )),
            End::StillOn(time) => Self::MachineFailed(format!(
                "the machine did not power off within {} s of its last sign of life",
                time.as_secs()
            )),
            End::Failed(_) => Self::GuestFailed,
            // What the others did is judged by whoever asked for such an end.
            End::GuestOff | End::Dismissed => Self::Passed,
            End::Exited(Some(0)) if trace.all_off && guests_passed => Self::Passed,
            End::Exited(Some(0)) if trace.all_off => Self::GuestFailed,
            End::Exited(Some(0)) => Self::MachineFailed(
                "the machine powered off or reset before all guests were off".to_owned(),
            ),
            End::Exited(Some(status)) => {
                Self::MachineFailed(format!("QEMU ended with exit status {status}"))
            }
            End::Exited(None) => Self::MachineFailed("QEMU was killed by a signal".to_owned()),
        }
    }

    /// The tool's exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::GuestFailed => 1,
            Self::TimeLimit(_) => 3,
            Self::MachineFailed(_) => 4,
            Self::Interrupted => 130,
        }
    }

    /// The name in the JSON report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::GuestFailed => "guest-failed",
            Self::TimeLimit(_) => "time-limit",
            Self::MachineFailed(_) => "machine-failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// What a person is told.
    pub fn text(&self) -> String {
        match self {
            Self::Passed => "passed: every guest did its job and powered off".to_owned(),
            Self::GuestFailed => "failed: not every guest did its job".to_owned(),
            Self::TimeLimit(limit) => {
                format!(
                    "failed: the time limit of {} s was reached",
                    limit.as_secs()
                )
            }
            Self::MachineFailed(reason) => format!("failed: {reason}"),
            Self::Interrupted => "interrupted".to_owned(),
        }
    }
}
