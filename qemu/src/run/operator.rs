//! A person's place at the machine's console, for programs: what the machine says comes in, what is
//! typed goes out (docs/console.md).

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::base::interrupt::Interrupt;
use crate::run::console::HYPERVISOR_TAG;

pub use host_abi::console::DETACH;
use host_abi::console::Event;

/// For an answer at the console.
const ANSWERED: Duration = Duration::from_secs(60);

/// Something that the machine said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole line.
    Line(Said),
    /// The UART's bytes as they came. What they say comes again, as lines, as soon as these are
    /// whole.
    Uart(Vec<u8>),
}

/// A line of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When it came, since QEMU's start.
    pub at: Duration,
    /// Whose console it is: a guest's name, `bulkhead` or `firmware`.
    pub console: String,
    /// The line.
    pub text: String,
}

/// The console of a machine that runs. From [`crate::run::attend`], or from
/// [`crate::run::socket::connect`].
pub struct Operator {
    keyboard: Box<dyn Write + Send>,
    heard: Receiver<Heard>,
    /// What was heard and is still to be given out.
    kept: VecDeque<Heard>,
    dismissal: Interrupt,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

impl Operator {
    /// `dismissal` ends the run.
    pub(crate) fn new(
        keyboard: impl Write + Send + 'static,
        heard: Receiver<Heard>,
        dismissal: Interrupt,
    ) -> Self {
        Self {
            keyboard: Box::new(keyboard),
            heard,
            kept: VecDeque::new(),
            dismissal,
        }
    }

    /// Types these bytes.
    pub fn type_in(&mut self, bytes: &[u8]) -> Result<()> {
        let typed = self.keyboard.write_all(bytes);
        typed
            .and_then(|()| self.keyboard.flush())
            .context("nothing can be typed: the machine is gone")
    }

    /// Types a command at the hypervisor's prompt.
    pub fn command(&mut self, line: &str) -> Result<()> {
        self.type_in(format!("{line}\r").as_bytes())
    }

    /// The next thing that the machine says within `limit`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Disconnected`]: it is off, or the run is over.
    pub fn hear(&mut self, limit: Duration) -> Result<Heard, RecvTimeoutError> {
        match self.kept.pop_front() {
            Some(heard) => Ok(heard),
            None => self.heard.recv_timeout(limit),
        }
    }

    /// Waits for a line of `console` that `accept` takes. What else is said before is lost.
    ///
    /// # Errors
    ///
    /// No such line came within `limit`, or before the machine went off.
    pub fn wait_for(
        &mut self,
        console: &str,
        limit: Duration,
        mut accept: impl FnMut(&str) -> bool,
    ) -> Result<String> {
        let until = Instant::now() + limit;
        let mut last = String::new();
        loop {
            match self.hear(until.saturating_duration_since(Instant::now())) {
                Ok(Heard::Line(said)) if said.console == console => {
                    if accept(&said.text) {
                        return Ok(said.text);
                    }
                    last = said.text;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!(
                    "{console} did not say within {} s what was expected; it said last: {last}",
                    limit.as_secs_f64()
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(
                    "the machine went off before {console} said what was expected; it said last: {last}"
                ),
            }
        }
    }

    /// Types a command at the hypervisor's prompt and waits for a line of its answer that `accept`
    /// takes.
    ///
    /// # Errors
    ///
    /// As for [`Operator::wait_for`].
    pub fn ask(
        &mut self,
        line: &str,
        limit: Duration,
        accept: impl FnMut(&str) -> bool,
    ) -> Result<String> {
        self.command(line)?;
        self.wait_for(HYPERVISOR_TAG, limit, accept)
            .with_context(|| format!("the command `{line}` was not answered"))
    }

    /// Types this to a guest. What is said after that is heard next: the guest's answer may come
    /// before the hypervisor is done.
    ///
    /// # Errors
    ///
    /// The hypervisor does not attach the guest to the console.
    pub fn tell(&mut self, guest: &str, bytes: &[u8]) -> Result<()> {
        self.ask(&format!("attach {guest}"), ANSWERED, |line| {
            Event::parse(line) == Event::Attached { name: guest }
        })?;
        self.type_in(bytes)?;
        self.type_in(&[DETACH])?;
        let until = Instant::now() + ANSWERED;
        let mut kept = VecDeque::new();
        loop {
            let heard = self
                .hear(until.saturating_duration_since(Instant::now()))
                .with_context(|| format!("{guest} stays attached"))?;
            match &heard {
                Heard::Line(said)
                    if said.console == HYPERVISOR_TAG
                        && Event::parse(&said.text) == Event::Detached { name: guest } =>
                {
                    break;
                }
                _ => kept.push_back(heard),
            }
        }
        kept.append(&mut self.kept);
        self.kept = kept;
        Ok(())
    }

    /// Ends the run. What the guests have done so far is for the caller to judge.
    pub fn end_run(&self) {
        self.dismissal.request();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::{self, Sender};

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    /// An operator of a machine that is only `cat`.
    fn operator() -> (Operator, Sender<Heard>, Child) {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, heard) = mpsc::channel();
        let keyboard = cat.stdin.take().unwrap();
        (
            Operator::new(keyboard, heard, Interrupt::default()),
            sender,
            cat,
        )
    }

    fn said(console: &str, text: &str) -> Heard {
        Heard::Line(Said {
            at: Duration::ZERO,
            console: console.to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn commands_reach_the_machine() {
        let (mut operator, _sender, mut cat) = operator();
        operator.command("restart vm2").unwrap();
        operator.type_in(&[DETACH]).unwrap();
        drop(operator);
        let mut typed = Vec::new();
        cat.stdout.take().unwrap().read_to_end(&mut typed).unwrap();
        cat.wait().unwrap();
        assert_eq!(typed, b"restart vm2\r\x1d");
    }

    #[test]
    fn what_a_guest_says_while_it_is_let_go_is_heard() {
        let (mut operator, sender, mut cat) = operator();
        for heard in [
            said("bulkhead", "vm1: attached; Control-] leads back"),
            said("vm1", "its answer"),
            said("bulkhead", "vm2: off"),
            said("bulkhead", "vm1: detached"),
            said("vm1", "more"),
        ] {
            sender.send(heard).unwrap();
        }
        operator.tell("vm1", b"x").unwrap();
        for next in [
            said("vm1", "its answer"),
            said("bulkhead", "vm2: off"),
            said("vm1", "more"),
        ] {
            assert_eq!(operator.hear(SOON), Ok(next));
        }
        cat.kill().unwrap();
        cat.wait().unwrap();
    }

    #[test]
    fn an_answer_is_the_console_s_own() {
        let (mut operator, sender, mut cat) = operator();
        for heard in [
            said("vm1", "vm2: reset"),
            Heard::Uart(b"bulkhead| vm2: reset\n".to_vec()),
            said("bulkhead", "vm1: reset"),
            said("bulkhead", "vm2: reset"),
            said("bulkhead", "more"),
        ] {
            sender.send(heard).unwrap();
        }
        let answer = operator.ask("restart vm2", SOON, |text| text.starts_with("vm2: "));
        assert_eq!(answer.unwrap(), "vm2: reset");
        assert_eq!(operator.hear(SOON), Ok(said("bulkhead", "more")));
        drop(operator);
        cat.wait().unwrap();
    }

    #[test]
    fn silence_and_a_machine_that_is_gone_are_told_apart() {
        let (mut operator, sender, mut cat) = operator();
        sender.send(said("bulkhead", "hello")).unwrap();
        let error = operator.wait_for("bulkhead", SOON, |_| false).unwrap_err();
        assert!(error.to_string().contains("within 0.01 s"), "{error}");
        assert!(error.to_string().ends_with("hello"), "{error}");
        drop(sender);
        let error = operator.wait_for("bulkhead", SOON, |_| false).unwrap_err();
        assert!(error.to_string().contains("went off"), "{error}");
        drop(operator);
        cat.wait().unwrap();
    }

    #[test]
    fn an_operator_can_end_the_run() {
        let (operator, _sender, mut cat) = operator();
        assert!(!operator.dismissal.requested());
        operator.end_run();
        assert!(operator.dismissal.requested());
        drop(operator);
        cat.wait().unwrap();
    }
}
