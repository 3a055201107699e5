//! What a person does with a machine that runs, from another terminal.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::commands::shell::{Raw, ready};
use crate::run::console::{Follower, HYPERVISOR_TAG};
use crate::run::operator::{DETACH, Heard, Operator};
use crate::run::socket;
use host_abi::console::Event;

/// For an answer at the prompt.
const ANSWERED: Duration = Duration::from_secs(30);
/// For the end of a guest's life, whose calls OP-TEE may have to end.
const ENDED: Duration = Duration::from_secs(120);
/// How long a keystroke may wait while the machine is silent.
const TICK: Duration = Duration::from_millis(10);

/// Silence of the hypervisor's that ends an answer, once it came to the last guest.
const PAUSE: Duration = Duration::from_millis(300);

/// Asks `list` or `stats` at the prompt of the machine whose logs are in `folder`; gives the lines
/// of the answer, which tells of one guest after the other.
///
/// # Errors
///
/// No machine runs there, or it does not answer.
pub fn ask(folder: &Path, command: &str) -> Result<Vec<String>> {
    let (guests, mut operator) = socket::connect(folder)?;
    let last = guests.last().context("the machine has no guests")?;
    operator.command(command)?;
    let until = Instant::now() + ANSWERED;
    let mut answer: Vec<String> = Vec::new();
    let mut complete = false;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let limit = if complete { PAUSE } else { left };
        match operator.hear(limit) {
            Ok(Heard::Line(said)) if said.console == HYPERVISOR_TAG => {
                let event = Event::parse(&said.text);
                let is_answer = matches!(
                    event,
                    Event::Listed { .. }
                        | Event::Heap { .. }
                        | Event::Guest { .. }
                        | Event::Tee { .. }
                        | Event::Bill { .. }
                );
                if is_answer {
                    complete |= event.guest() == Some(last.as_str());
                    answer.push(said.text);
                }
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) if complete => return Ok(answer),
            Err(_) => bail!("the machine does not answer `{command}`"),
        }
    }
}

/// How a guest's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It starts again.
    Restart,
    /// It stays off.
    Destroy,
}

/// Ends a guest's life, or starts one that is off; gives the line that says so.
///
/// # Errors
///
/// No machine runs there, it has no such guest, or the guest does not end.
pub fn end(folder: &Path, guest: &str, ending: Ending) -> Result<String> {
    let (_, mut operator) = socket::connect(folder)?;
    let command = match ending {
        Ending::Restart => "restart",
        Ending::Destroy => "destroy",
    };
    let prefix = format!("{guest}: ");
    let line = operator.ask(&format!("{command} {guest}"), ENDED, |line| {
        let of_guest = line.starts_with(&prefix);
        match Event::parse(line) {
            Event::Reset { name } => ending == Ending::Restart && name == guest,
            Event::Off { name } => ending == Ending::Destroy && name == guest,
            Event::Started { name, .. } => ending == Ending::Restart && name == guest,
            _ => of_guest && is_refusal(line),
        }
    })?;
    if is_refusal(&line) {
        bail!("{line}");
    }
    Ok(line)
}

/// Whether the prompt says that it does not do it.
fn is_refusal(line: &str) -> bool {
    ["no such guest", "does not run", "is about to"]
        .iter()
        .any(|reason| line.contains(reason))
}

/// Shows all consoles as they are, until the machine goes off.
///
/// # Errors
///
/// No machine runs there, or nothing can be shown.
pub fn follow(folder: &Path, mut output: impl Write) -> Result<()> {
    let (_, mut operator) = socket::connect(folder)?;
    loop {
        match operator.hear(Duration::MAX) {
            Ok(Heard::Line(said)) => writeln!(output, "{:>9}| {}", said.console, said.text)
                .and_then(|()| output.flush())
                .context("nothing can be shown")?,
            Ok(Heard::Uart(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Leads `input` to a guest's console and the console to `output`, until Control-] comes or the
/// machine goes off. A terminal passes every key on meanwhile.
///
/// # Errors
///
/// No machine runs there, or it has no such guest.
pub fn attach(folder: &Path, guest: &str, input: impl AsFd, mut output: impl Write) -> Result<()> {
    let (guests, mut operator) = socket::connect(folder)?;
    if !guests.iter().any(|name| name == guest) {
        bail!(
            "there is no guest {guest}; the guests are: {}",
            guests.join(", ")
        );
    }
    operator.ask(&format!("attach {guest}"), ANSWERED, |line| {
        Event::parse(line) == Event::Attached { name: guest }
    })?;
    let _raw = Raw::enter(input.as_fd());
    exchange(&mut operator, guest, input.as_fd(), &mut output)
}

fn exchange(
    operator: &mut Operator,
    guest: &str,
    input: BorrowedFd<'_>,
    output: &mut impl Write,
) -> Result<()> {
    let mut show = |text: &[u8]| {
        output
            .write_all(text)
            .and_then(|()| output.flush())
            .context("nothing can be shown")
    };
    show(format!("{guest}'s console; Control-] leads back\r\n").as_bytes())?;
    let mut follower = Follower::new(guest);
    let mut ended = None;
    loop {
        match operator.hear(TICK) {
            Ok(Heard::Uart(bytes)) => show(&follower.feed(&bytes))?,
            Ok(Heard::Line(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        // What the last keys brought is still shown.
        if ended.is_some_and(|since: Instant| since.elapsed() > TICK * 20) {
            return Ok(());
        }
        if ended.is_none() && ready(input)? {
            let mut buffer = [0; 256];
            let count = rustix::io::read(input, &mut buffer).context("nothing can be read")?;
            let typed = buffer.get(..count).unwrap_or_default();
            let keys = typed
                .split(|&byte| byte == DETACH)
                .next()
                .unwrap_or_default();
            operator.type_in(keys)?;
            if count == 0 || keys.len() < typed.len() {
                ended = Some(Instant::now());
            }
        }
    }
}
