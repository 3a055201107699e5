//! What a person types on the machine's console: commands to the hypervisor, or input to the guest
//! that is attached.

use heapless::String;

/// The longest command, in bytes.
const LINE_MAX: usize = 80;

/// Control-]: back from a guest to the hypervisor's prompt.
pub const DETACH: u8 = 0x1d;

/// What the commands are, for people.
pub const HELP: &str = "list: the guests and what they are up to\n\
    stats: what the heap holds, and what each guest and its TEE did so far\n\
    attach NAME: type to a guest, until Control-]\n\
    destroy NAME: stop a guest\n\
    restart NAME: stop a guest if it runs, and start it with a fresh image\n\
    help: these lines";

/// A command of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Tell which guests there are.
    List,
    /// Tell what they did.
    Stats,
    /// Send input to a guest from now on.
    Attach(&'a str),
    /// Stop a guest.
    Destroy(&'a str),
    /// Stop a guest if it runs, and start it.
    Restart(&'a str),
    /// Tell which commands there are.
    Help,
}

/// A line that is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCommand<'a> {
    /// There is no such word.
    Unknown(&'a str),
    /// The command wants the name of a guest.
    WantsName(&'a str),
    /// There is more on the line than the command wants.
    TooMuch(&'a str),
}

impl core::fmt::Display for NoCommand<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "{word}: no such command; help lists them"),
            Self::WantsName(word) => write!(f, "{word}: name a guest; list tells which there are"),
            Self::TooMuch(word) => write!(f, "{word}: too many words"),
        }
    }
}

/// Reads a line; `None` where it is empty.
///
/// # Errors
///
/// The line is no command.
pub fn parse(line: &str) -> Result<Option<Command<'_>>, NoCommand<'_>> {
    let mut words = line.split_ascii_whitespace();
    let Some(word) = words.next() else {
        return Ok(None);
    };
    let (name, rest) = (words.next(), words.next());
    let named = |command: fn(&str) -> Command<'_>| match (name, rest) {
        (Some(name), None) => Ok(Some(command(name))),
        (None, _) => Err(NoCommand::WantsName(word)),
        (Some(_), Some(_)) => Err(NoCommand::TooMuch(word)),
    };
    let plain = |command| {
        if name.is_none() {
            Ok(Some(command))
        } else {
            Err(NoCommand::TooMuch(word))
        }
    };
    match word {
        "list" => plain(Command::List),
        "stats" => plain(Command::Stats),
        "help" => plain(Command::Help),
        "attach" => named(|name| Command::Attach(name)),
        "destroy" => named(|name| Command::Destroy(name)),
        "restart" => named(|name| Command::Restart(name)),
        _ => Err(NoCommand::Unknown(word)),
    }
}

/// Where input goes, and the command that is being typed.
#[derive(Debug, Default)]
pub struct Prompt {
    line: String<LINE_MAX>,
    /// The guest that input goes to, by its number.
    attached: Option<usize>,
}

/// What a byte of input brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing yet.
    Nothing,
    /// It is for this guest.
    Guest(usize, u8),
    /// This guest gets no more input.
    Detached(usize),
    /// A line was typed.
    Line(String<LINE_MAX>),
}

impl Prompt {
    /// An empty line, and no guest attached.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: String::new(),
            attached: None,
        }
    }

    /// Sends input to guest number `guest` from now on.
    pub fn attach(&mut self, guest: usize) {
        self.attached = Some(guest);
    }

    /// The guest that input goes to.
    #[must_use]
    pub fn attached(&self) -> Option<usize> {
        self.attached
    }

    /// Takes a byte. Bytes that are no printable ASCII, and those beyond the longest command, are
    /// dropped.
    pub fn byte(&mut self, byte: u8) -> Input {
        if let Some(guest) = self.attached {
            if byte != DETACH {
                return Input::Guest(guest, byte);
            }
            self.attached = None;
            return Input::Detached(guest);
        }
        match byte {
            b'\r' | b'\n' if !self.line.is_empty() => {
                return Input::Line(core::mem::take(&mut self.line));
            }
            // Backspace and Delete.
            0x08 | 0x7f => {
                self.line.pop();
            }
            b' '..=b'~' => {
                // A line that is too long is no command anyway.
                let _ = self.line.push(char::from(byte));
            }
            _ => {}
        }
        Input::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn type_in(prompt: &mut Prompt, text: &[u8]) -> Vec<Input> {
        text.iter()
            .map(|&byte| prompt.byte(byte))
            .filter(|input| *input != Input::Nothing)
            .collect()
    }

    fn line(text: &str) -> Input {
        Input::Line(text.try_into().unwrap())
    }

    #[test]
    fn commands_are_read() {
        assert_eq!(parse("  list "), Ok(Some(Command::List)));
        assert_eq!(parse("stats"), Ok(Some(Command::Stats)));
        assert_eq!(parse("help"), Ok(Some(Command::Help)));
        assert_eq!(parse("attach vm1"), Ok(Some(Command::Attach("vm1"))));
        assert_eq!(parse("destroy  vm2"), Ok(Some(Command::Destroy("vm2"))));
        assert_eq!(parse("restart vm2"), Ok(Some(Command::Restart("vm2"))));
        assert_eq!(parse(" "), Ok(None));
    }

    #[test]
    fn what_is_no_command_is_told_apart() {
        assert_eq!(parse("reboot"), Err(NoCommand::Unknown("reboot")));
        assert_eq!(parse("destroy"), Err(NoCommand::WantsName("destroy")));
        assert_eq!(parse("destroy vm1 vm2"), Err(NoCommand::TooMuch("destroy")));
        assert_eq!(parse("list vm1"), Err(NoCommand::TooMuch("list")));
    }

    #[test]
    fn lines_end_with_either_character_and_can_be_corrected() {
        let mut prompt = Prompt::new();
        assert_eq!(
            type_in(&mut prompt, b"lost\x7f\x08ist\r\n"),
            [line("loist")]
        );
        assert_eq!(type_in(&mut prompt, b"\x1b\x80list\n"), [line("list")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let mut prompt = Prompt::new();
        let mut text = [b'x'; LINE_MAX + 10];
        text[LINE_MAX + 9] = b'\n';
        assert_eq!(type_in(&mut prompt, &text), [line(&"x".repeat(LINE_MAX))]);
    }

    #[test]
    fn an_attached_guest_gets_all_but_the_way_out() {
        let mut prompt = Prompt::new();
        prompt.attach(1);
        let inputs = type_in(&mut prompt, b"l\r\x03\x1dhelp\n");
        let to_guest = |byte| Input::Guest(1, byte);
        assert_eq!(
            inputs[..4],
            [
                to_guest(b'l'),
                to_guest(b'\r'),
                to_guest(3),
                Input::Detached(1)
            ]
        );
        assert_eq!(inputs[4..], [line("help")]);
        assert_eq!(prompt.attached(), None);
    }
}
