//! What is typed at the hypervisor's prompt.

use core::fmt;

/// The longest command, in bytes.
pub const LINE_MAX: usize = 80;

/// Control-]: back from a guest to the hypervisor's prompt.
pub const DETACH: u8 = 0x1d;

/// A command of the prompt. It is written as it is to be typed, but for the carriage return at its
/// end.
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

impl<'a> Command<'a> {
    /// Reads a line; `None` where it is empty.
    ///
    /// # Errors
    ///
    /// The line is no command.
    pub fn parse(line: &'a str) -> Result<Option<Self>, NoCommand<'a>> {
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else {
            return Ok(None);
        };
        let (name, rest) = (words.next(), words.next());
        let topic = Topic::ALL.into_iter().find(|topic| topic.word() == word);
        let topic = topic.ok_or(NoCommand::Unknown(word))?;
        let command = match (topic, name) {
            (Topic::List, None) => Self::List,
            (Topic::Stats, None) => Self::Stats,
            (Topic::Help, None) => Self::Help,
            (Topic::Attach, Some(name)) => Self::Attach(name),
            (Topic::Destroy, Some(name)) => Self::Destroy(name),
            (Topic::Restart, Some(name)) => Self::Restart(name),
            (Topic::List | Topic::Stats | Topic::Help, Some(_)) => {
                return Err(NoCommand::TooMuch(word));
            }
            (Topic::Attach | Topic::Destroy | Topic::Restart, None) => {
                return Err(NoCommand::WantsName(word));
            }
        };
        match rest {
            None => Ok(Some(command)),
            Some(_) => Err(NoCommand::TooMuch(word)),
        }
    }

    /// Which command it is.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::List => Topic::List,
            Self::Stats => Topic::Stats,
            Self::Attach(_) => Topic::Attach,
            Self::Destroy(_) => Topic::Destroy,
            Self::Restart(_) => Topic::Restart,
            Self::Help => Topic::Help,
        }
    }
}

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic().word())?;
        match self {
            Self::Attach(name) | Self::Destroy(name) | Self::Restart(name) => write!(f, " {name}"),
            Self::List | Self::Stats | Self::Help => Ok(()),
        }
    }
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

/// A command that `help` tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// [`Command::List`]
    List,
    /// [`Command::Stats`]
    Stats,
    /// [`Command::Attach`]
    Attach,
    /// [`Command::Destroy`]
    Destroy,
    /// [`Command::Restart`]
    Restart,
    /// [`Command::Help`]
    Help,
}

impl Topic {
    /// All commands, in the order in which `help` tells of them.
    pub const ALL: [Self; 6] = [
        Self::List,
        Self::Stats,
        Self::Attach,
        Self::Destroy,
        Self::Restart,
        Self::Help,
    ];

    /// The first word of the command.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stats => "stats",
            Self::Attach => "attach",
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Help => "help",
        }
    }

    /// The line of `help` about it.
    const fn line(self) -> &'static str {
        match self {
            Self::List => "list: the guests and what they are up to",
            Self::Stats => "stats: what the heap holds, and what each guest and its TEE did so far",
            Self::Attach => "attach NAME: type to a guest, until Control-]",
            Self::Destroy => "destroy NAME: stop a guest",
            Self::Restart => {
                "restart NAME: stop a guest if it runs, and start it with a fresh image"
            }
            Self::Help => "help: these lines",
        }
    }

    pub(super) fn scan(line: &mut super::scanner::Scanner<'_>) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|topic| line.literal(topic.line()).is_some())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString as _;

    #[test]
    fn commands_are_read() {
        assert_eq!(Command::parse("  list "), Ok(Some(Command::List)));
        assert_eq!(Command::parse("stats"), Ok(Some(Command::Stats)));
        assert_eq!(Command::parse("help"), Ok(Some(Command::Help)));
        assert_eq!(
            Command::parse("attach vm1"),
            Ok(Some(Command::Attach("vm1")))
        );
        assert_eq!(
            Command::parse("destroy  vm2"),
            Ok(Some(Command::Destroy("vm2")))
        );
        assert_eq!(
            Command::parse("restart vm2"),
            Ok(Some(Command::Restart("vm2")))
        );
        assert_eq!(Command::parse(" "), Ok(None));
    }

    #[test]
    fn what_is_no_command_is_told_apart() {
        assert_eq!(Command::parse("reboot"), Err(NoCommand::Unknown("reboot")));
        assert_eq!(
            Command::parse("destroy"),
            Err(NoCommand::WantsName("destroy"))
        );
        assert_eq!(
            Command::parse("destroy vm1 vm2"),
            Err(NoCommand::TooMuch("destroy"))
        );
        assert_eq!(Command::parse("list vm1"), Err(NoCommand::TooMuch("list")));
    }

    proptest! {
        #[test]
        fn what_is_typed_is_read(topic in 0..Topic::ALL.len(), name in "[!-~]{1,40}") {
            let command = match Topic::ALL[topic] {
                Topic::List => Command::List,
                Topic::Stats => Command::Stats,
                Topic::Attach => Command::Attach(&name),
                Topic::Destroy => Command::Destroy(&name),
                Topic::Restart => Command::Restart(&name),
                Topic::Help => Command::Help,
            };
            let typed = command.to_string();
            prop_assert!(typed.len() <= LINE_MAX);
            prop_assert_eq!(Command::parse(&typed), Ok(Some(command)));
        }

        #[test]
        fn any_line_is_read_without_a_panic(line in "\\PC*") {
            let _ = Command::parse(&line);
        }
    }
}
