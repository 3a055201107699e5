//! Collects what a guest writes until it is a line that can go out with the guest's tag.

use heapless::Vec;

/// The longest piece of a line that goes out at once, in bytes.
pub const CAPACITY: usize = 256;

/// A piece of a guest's output.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text, without the end of the line.
    pub text: Vec<u8, CAPACITY>,
    /// Whether the line ends here.
    pub complete: bool,
}

/// The line that a guest is writing.
#[derive(Debug, Default)]
pub struct LineBuffer {
    text: Vec<u8, CAPACITY>,
}

impl LineBuffer {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: Vec::new() }
    }

    /// Adds a byte. Gives a piece when the line ends or the buffer is full; a carriage return before the end of the
    /// line is dropped.
    pub fn push(&mut self, byte: u8) -> Option<Piece> {
        if byte == b'\n' {
            while self.text.last() == Some(&b'\r') {
                self.text.pop();
            }
            return Some(self.take(true));
        }
        if self.text.push(byte).is_err() {
            let piece = self.take(false);
            // There is room now.
            let _ = self.text.push(byte);
            return Some(piece);
        }
        None
    }

    /// What was written and has not gone out yet, if anything.
    pub fn flush(&mut self) -> Option<Piece> {
        (!self.text.is_empty()).then(|| self.take(false))
    }

    fn take(&mut self, complete: bool) -> Piece {
        Piece {
            text: core::mem::take(&mut self.text),
            complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec as List;

    fn pieces(buffer: &mut LineBuffer, text: &[u8]) -> List<(String, bool)> {
        text.iter()
            .filter_map(|&byte| buffer.push(byte))
            .map(|piece| {
                (
                    String::from_utf8(piece.text.to_vec()).unwrap(),
                    piece.complete,
                )
            })
            .collect()
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

    #[test]
    fn a_prompt_can_be_flushed_once() {
        let mut buffer = LineBuffer::new();
        assert!(pieces(&mut buffer, b"# ").is_empty());
        assert_eq!(
            buffer
                .flush()
                .map(|piece| (piece.text.to_vec(), piece.complete)),
            Some((b"# ".to_vec(), false))
        );
        assert_eq!(buffer.flush(), None);
    }
}
