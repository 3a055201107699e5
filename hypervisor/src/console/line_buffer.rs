//! Collects what a guest writes until it is a line that can go out with the guest's tag.

use heapless::Vec;

/// The longest piece of a line that goes out at once, in bytes.
pub const CAPACITY: usize = 256;

/// A piece of a guest's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The text, without the end of the line.
    pub text: &'a [u8],
    /// Whether the line ends here.
    pub complete: bool,
}

/// The line that a guest is writing.
#[derive(Debug, Default)]
pub struct LineBuffer {
    text: Vec<u8, CAPACITY>,
    /// The first byte of a character of UTF-8 of which bytes are still to come, and how many.
    lead: u8,
    continuation_bytes: u8,
}

/// Stands for a byte that is no text.
const NO_TEXT: u8 = b'?';

impl LineBuffer {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            text: Vec::new(),
            lead: 0,
            continuation_bytes: 0,
        }
    }

    /// Adds a byte of text. Passes a piece to `out` when the line ends or the buffer is full; a
    /// carriage return before the end of the line is dropped.
    ///
    /// Other control characters come out as text, so that they do nothing to the terminal that
    /// shows it: those of ASCII as `^[`, those of C1 and what is no UTF-8 as question marks.
    pub fn push(&mut self, byte: u8, out: impl FnOnce(Piece<'_>)) {
        match byte {
            b' '..=b'~' | b'\t' => {
                self.continuation_bytes = 0;
                self.add(&[byte], out);
            }
            b'\n' => {
                while self.text.ends_with(b"^M") {
                    self.text.truncate(self.text.len() - 2);
                }
                self.continuation_bytes = 0;
                self.take(true, out);
            }
            ..b' ' | 0x7f => {
                self.continuation_bytes = 0;
                self.add(&[b'^', byte ^ 0x40], out);
            }
            0x80..0xc0 if self.continuation_bytes > 0 => {
                self.continuation_bytes -= 1;
                let first = core::mem::take(&mut self.lead);
                match first {
                    // A control character of C1, or a longer form of a character of ASCII.
                    0xc2 if byte < 0xa0 => self.add(&[NO_TEXT], out),
                    0xe0 if byte < 0xa0 => self.add(&[NO_TEXT, NO_TEXT], out),
                    0xf0 if byte < 0x90 => self.add(&[NO_TEXT, NO_TEXT], out),
                    0 => self.add(&[byte], out),
                    _ => self.add(&[first, byte], out),
                }
            }
            0xc2..0xf5 => {
                self.lead = byte;
                self.continuation_bytes = match byte {
                    0xc2..0xe0 => 1,
                    0xe0..0xf0 => 2,
                    _ => 3,
                };
            }
            _ => {
                self.continuation_bytes = 0;
                self.add(&[NO_TEXT], out);
            }
        }
    }

    /// Adds a byte that can be shown as it is, if it is one and there is room. Returns whether it
    /// did; else [`push`](Self::push) does.
    #[inline]
    pub fn push_plain(&mut self, byte: u8) -> bool {
        let plain = matches!(byte, b' '..=b'~') && self.text.push(byte).is_ok();
        if plain {
            self.continuation_bytes = 0;
        }
        plain
    }

    /// Adds a byte for a person whose terminal does what the guest says. Passes on pieces as
    /// [`push`](Self::push) does.
    pub fn push_raw(&mut self, byte: u8, out: impl FnOnce(Piece<'_>)) {
        if byte == b'\n' {
            while self.text.last() == Some(&b'\r') {
                self.text.pop();
            }
            return self.take(true, out);
        }
        self.add(&[byte], out);
    }

    fn add(&mut self, bytes: &[u8], out: impl FnOnce(Piece<'_>)) {
        if self.text.extend_from_slice(bytes).is_ok() {
            return;
        }
        self.take(false, out);
        // There is room now.
        let _ = self.text.extend_from_slice(bytes);
    }

    /// Passes what was written and has not gone out yet, if anything, to `out`.
    pub fn flush(&mut self, out: impl FnOnce(Piece<'_>)) {
        if !self.text.is_empty() {
            self.take(false, out);
        }
    }

    fn take(&mut self, complete: bool, out: impl FnOnce(Piece<'_>)) {
        out(Piece {
            text: &self.text,
            complete,
        });
        self.text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec as List;

    fn pieces(buffer: &mut LineBuffer, text: &[u8]) -> List<(String, bool)> {
        let mut pieces = List::new();
        for &byte in text {
            buffer.push(byte, |Piece { text, complete }| {
                pieces.push((String::from_utf8(text.to_vec()).unwrap(), complete));
            });
        }
        pieces
    }

    fn rest(buffer: &mut LineBuffer) -> List<u8> {
        let mut rest = List::new();
        buffer.flush(|piece| {
            assert!(!piece.complete);
            rest = piece.text.to_vec();
        });
        rest
    }

    #[test]
    fn a_line_goes_out_when_it_ends() {
        let mut buffer = LineBuffer::new();
        assert_eq!(pieces(&mut buffer, b"one\r\ntwo"), [("one".into(), true)]);
        assert_eq!(
            pieces(&mut buffer, b"!\n\n"),
            [("two!".into(), true), (String::new(), true)]
        );
    }

    #[test]
    fn a_long_line_goes_out_in_pieces() {
        let mut buffer = LineBuffer::new();
        let got = pieces(&mut buffer, &[b'x'; CAPACITY + 1]);
        assert_eq!(got, [("x".repeat(CAPACITY), false)]);
        assert_eq!(pieces(&mut buffer, b"\n"), [("x".into(), true)]);
    }

    fn shown(text: &[u8]) -> String {
        let mut buffer = LineBuffer::new();
        let mut shown: String = pieces(&mut buffer, text)
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        shown.push_str(&String::from_utf8(rest(&mut buffer)).unwrap());
        shown
    }

    #[test]
    fn control_characters_come_out_as_text() {
        assert_eq!(shown(b"\x1b[2Jred\x07\x7f\0\ttab"), "^[[2Jred^G^?^@\ttab");
        assert_eq!(shown(b"over\rwritten"), "over^Mwritten");
        assert_eq!(shown(b"vm2| \rx\r\r\n"), "vm2| ^Mx");
    }

    #[test]
    fn utf_8_passes_and_what_is_none_does_not() {
        assert_eq!(shown("Grüße, 日本 😀".as_bytes()), "Grüße, 日本 😀");
        for no_text in [
            &b"\x9b"[..],
            b"\xc2\x9b",
            b"\xc0\x9b",
            b"\xe0\x82\x9b",
            b"\xf0\x80\x82\x9b",
            b"\xf8\x9b",
            b"\xff",
            b"\xc3",
            b"\xc3\xc3",
            b"\xe2\x82",
        ] {
            let mut line = no_text.to_vec();
            line.extend(b"2J\n");
            let mut buffer = LineBuffer::new();
            let mut text = List::new();
            for byte in line {
                buffer.push(byte, |piece| text = piece.text.to_vec());
            }
            let kept = &text[..text.len() - 2];
            let c1 = kept
                .windows(2)
                .any(|pair| pair[0] == 0xc2 && pair[1] < 0xa0);
            assert!(
                !c1 && !kept
                    .first()
                    .is_some_and(|&byte| (0x80..0xa0).contains(&byte)),
                "{no_text:x?} came out as {text:x?}"
            );
        }
    }

    #[test]
    fn no_byte_that_a_terminal_obeys_comes_out() {
        for byte in (0..=0x1f)
            .chain(0x7f..0xc0)
            .filter(|&byte| byte != b'\t' && byte != b'\n')
        {
            let text = shown(&[b'x', byte, b'y']);
            assert!(
                text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{byte:#x}: {text}"
            );
        }
    }

    #[test]
    fn an_attached_person_gets_what_the_guest_says() {
        let mut buffer = LineBuffer::new();
        let raw = b"\x1b[1mbold\r\n";
        let mut shown = List::new();
        for &byte in raw {
            buffer.push_raw(byte, |piece| shown = piece.text.to_vec());
        }
        assert_eq!(shown, b"\x1b[1mbold");
    }

    #[test]
    fn a_prompt_can_be_flushed_once() {
        let mut buffer = LineBuffer::new();
        assert!(pieces(&mut buffer, b"# ").is_empty());
        assert_eq!(rest(&mut buffer), b"# ");
        assert_eq!(rest(&mut buffer), b"");
    }
}
