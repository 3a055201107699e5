//! What a person types on the machine's console: commands to the hypervisor, or input to the guest
//! that is attached.

use heapless::String;
use host_abi::console::{DETACH, LINE_MAX};

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
