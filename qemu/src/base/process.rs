//! Running other programs so that a failure tells what went wrong.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Read};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};

/// Lines of a failed program's output that go into the error.
const TAIL_LINES: usize = 30;

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
///
/// The program can't be started or fails: the error holds the end of what it wrote to standard
/// error.
pub fn output(command: &mut Command) -> Result<String> {
    let mut text = String::new();
    run(command, |line| {
        text.push_str(line);
        text.push('\n');
    })?;
    Ok(text)
}

/// Runs a program to its end and hands over each line of its standard output as it comes.
///
/// # Errors
///
/// The program can't be started or fails: the error holds the end of what it wrote to standard
/// error, or to standard output if it wrote nothing else.
pub fn run(command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("{name} is not installed"),
            _ => anyhow!(error).context(format!("{name} can't be started")),
        })?;
    let stdout = child.stdout.take().context("standard output is no pipe")?;
    let stderr = child.stderr.take().context("standard error is no pipe")?;
    let errors = thread::spawn(move || tail(stderr, |_| {}));
    let said = tail(stdout, &mut line);
    let errors = errors.join().unwrap_or_default();
    let status = child.wait().with_context(|| format!("{name} was lost"))?;
    if status.success() {
        return Ok(());
    }
    let said = if errors.is_empty() { said } else { errors };
    let mut message = format!("{} failed with {status}", line_of(command));
    for line in said {
        write!(message, "\n    {line}")?;
    }
    bail!(message)
}

/// Reads to the end, line by line, and returns the last lines.
fn tail(reader: impl Read, mut each: impl FnMut(&str)) -> VecDeque<String> {
    let mut last = VecDeque::new();
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        each(text);
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(text.to_owned());
        bytes.clear();
    }
    last
}

/// A command as a person would type it, cut where it grows long.
fn line_of(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let line = words.join(" ");
    if line.chars().count() <= 200 {
        line
    } else {
        line.chars().take(197).chain("...".chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_what_the_program_wrote() {
        assert_eq!(
            output(&mut sh("echo a; echo b >&2; echo c")).unwrap(),
            "a\nc\n"
        );
    }

    #[test]
    fn failure_shows_status_and_standard_error() {
        let error = output(&mut sh("echo fine; echo broken >&2; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("broken"), "{error}");
        assert!(!error.contains("\n    fine"), "{error}");
    }

    #[test]
    fn failure_without_standard_error_shows_standard_output() {
        let error = output(&mut sh("echo why; exit 1")).unwrap_err().to_string();
        assert!(error.ends_with("\n    why"), "{error}");
    }

    #[test]
    fn failure_shows_the_end_of_long_output() {
        let error = output(&mut sh(
            "i=0; while [ $i -lt 100 ]; do echo line$i >&2; i=$((i+1)); done; exit 1",
        ))
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("line99") && error.contains("line70"),
            "{error}"
        );
        assert!(!error.contains("line69"), "{error}");
    }

    #[test]
    fn missing_program_is_named() {
        let error = output(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-program-anywhere is not installed"
        );
    }
}
