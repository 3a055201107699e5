//! Whose a line is.

use crate::name::NAME_MAX;

/// The most bytes that a line has beside a guest's text: its name, a [`Mark`] and a line feed.
pub const PIECE_OVERHEAD_MAX: usize = NAME_MAX + 2 + 1;

/// What stands between the tag and the text of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The line is whole, or the end of one.
    End,
    /// The line goes on in the next one with the same tag.
    Part,
}

impl Mark {
    /// How it is written.
    #[must_use]
    #[inline]
    pub const fn as_bytes(self) -> &'static [u8; 2] {
        match self {
            Self::End => b"| ",
            Self::Part => b"+ ",
        }
    }
}

/// A line of the console that carries a tag, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// The tag, which may be one that nobody has.
    pub tag: &'a [u8],
    /// Whether the text goes on.
    pub mark: Mark,
    /// The text.
    pub text: &'a [u8],
}

impl<'a> Tagged<'a> {
    /// Reads a line, without its end. `None` carries no tag: the firmware's do not.
    ///
    /// The space after the mark may be missing where nothing follows.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let end = line.iter().position(|byte| matches!(byte, b'|' | b'+'))?;
        let (tag, rest) = line.split_at_checked(end)?;
        let (mark, text) = match rest {
            [b'|'] => (Mark::End, &rest[1..]),
            [b'+'] => (Mark::Part, &rest[1..]),
            [b'|', b' ', text @ ..] => (Mark::End, text),
            [b'+', b' ', text @ ..] => (Mark::Part, text),
            _ => return None,
        };
        Some(Self { tag, mark, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_is_written_is_read() {
        for mark in [Mark::End, Mark::Part] {
            for text in [&b""[..], b" ", b"vm2| x", b"\xff+ \0"] {
                let line: Vec<u8> = [b"vm1", &mark.as_bytes()[..], text].concat();
                let tag = b"vm1";
                assert_eq!(Tagged::parse(&line), Some(Tagged { tag, mark, text }));
            }
        }
    }

    #[test]
    fn lines_without_a_tag_are_told_apart() {
        for line in ["", "NOTICE:  BL31", "vm1|x", "vm1+", "a+b"] {
            let parsed = Tagged::parse(line.as_bytes());
            let tag = (line == "vm1+").then_some(&b"vm1"[..]);
            assert_eq!(parsed.map(|line| line.tag), tag, "{line}");
        }
    }

    #[test]
    fn the_longest_piece_has_its_overhead() {
        let name = "n".repeat(NAME_MAX);
        let line = [name.as_bytes(), Mark::Part.as_bytes(), b"\n"].concat();
        assert_eq!(line.len(), PIECE_OVERHEAD_MAX);
    }
}
