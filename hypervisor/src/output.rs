//! What waits to go out on the one UART: a ring of lines for each source, of which each gets its turn.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bytes of lines, the oldest first. Each line ends with a line feed, and is in the ring as a whole.
#[derive(Debug)]
struct Ring {
    bytes: Box<[u8]>,
    /// Where the oldest byte lies.
    first: usize,
    len: usize,
    /// Lines that did not fit since the last one that did, and their bytes.
    lost: Lost,
}

/// Lines that did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Ring {
    fn new(capacity: usize) -> Self {
        Self {
            bytes: alloc::vec![0; capacity].into_boxed_slice(),
            first: 0,
            len: 0,
            lost: Lost::default(),
        }
    }

    fn free(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// Adds bytes, for which there is room.
    fn push(&mut self, bytes: &[u8]) {
        let capacity = self.bytes.len();
        let start = (self.first + self.len) % capacity;
        let (before_end, rest) = bytes.split_at(bytes.len().min(capacity - start));
        self.bytes[start..start + before_end.len()].copy_from_slice(before_end);
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.len += bytes.len();
    }

    #[inline]
    fn pop(&mut self) -> Option<u8> {
        if self.len == 0 {
            return None;
        }
        let byte = *self.bytes.get(self.first)?;
        self.len -= 1;
        self.first += 1;
        if self.first == self.bytes.len() {
            self.first = 0;
        }
        Some(byte)
    }
}

/// The rings of all sources, which are numbers from 0 on.
///
/// Sources take turns, a line each, so that a line waits for no more than one of each other source and for what waits in
/// its own ring.
#[derive(Debug, Default)]
pub struct Output {
    rings: Vec<Ring>,
    /// Whose line goes out, or went out last.
    current: usize,
    /// Whether a part of that line is still to go out.
    within_line: bool,
    /// Bytes in all rings.
    len: usize,
}

impl Output {
    /// No source yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rings: Vec::new(),
            current: 0,
            within_line: false,
            len: 0,
        }
    }

    /// Adds a source with a ring of `capacity` bytes, which is not 0; gives its number.
    pub fn add_source(&mut self, capacity: usize) -> usize {
        self.rings.push(Ring::new(capacity));
        self.rings.len() - 1
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that `source` has room for.
    #[must_use]
    pub fn free(&self, source: usize) -> usize {
        self.rings.get(source).map_or(0, Ring::free)
    }

    /// Adds a line of `source`, given in parts that end with a line feed. A line that does not fit is lost as a whole;
    /// says whether it fits.
    pub fn push(&mut self, source: usize, parts: &[&[u8]]) -> bool {
        let Some(ring) = self.rings.get_mut(source) else {
            return false;
        };
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes > ring.free() {
            ring.lost.lines += 1;
            ring.lost.bytes += bytes as u64;
            return false;
        }
        parts.iter().for_each(|part| ring.push(part));
        self.len += bytes;
        true
    }

    /// What `source` lost since this was last asked, if anything.
    pub fn take_lost(&mut self, source: usize) -> Option<Lost> {
        let lost = core::mem::take(&mut self.rings.get_mut(source)?.lost);
        (lost != Lost::default()).then_some(lost)
    }

    /// The next byte that is to go out, with its source.
    #[inline]
    pub fn pop(&mut self) -> Option<(usize, u8)> {
        if !self.within_line {
            self.current = self.next_source()?;
        }
        let byte = self.rings.get_mut(self.current)?.pop()?;
        self.len -= 1;
        self.within_line = byte != b'\n';
        Some((self.current, byte))
    }

    /// Whose turn it is after the current one.
    fn next_source(&self) -> Option<usize> {
        let count = self.rings.len();
        (1..=count)
            .map(|n| (self.current + n) % count)
            .find(|&source| self.rings[source].len != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn output(capacities: &[usize]) -> Output {
        let mut output = Output::new();
        for (source, &capacity) in capacities.iter().enumerate() {
            assert_eq!(output.add_source(capacity), source);
        }
        output
    }

    fn all(output: &mut Output) -> String {
        core::iter::from_fn(|| output.pop())
            .map(|(_, byte)| char::from(byte))
            .collect()
    }

    #[test]
    fn a_lines_parts_go_out_together() {
        let mut output = output(&[64, 64]);
        assert!(output.push(0, &[b"vm1", b"| ", b"one", b"\n"]));
        assert!(output.push(1, &[b"vm2| two\n"]));
        assert!(output.push(0, &[b"vm1| three\n"]));
        assert_eq!(all(&mut output), "vm2| two\nvm1| one\nvm1| three\n");
        assert!(output.is_empty());
    }

    #[test]
    fn a_line_of_another_source_does_not_wait_for_a_flood() {
        let mut output = output(&[4096, 64]);
        while output.push(0, &[b"flood\n"]) {}
        assert_eq!(output.pop(), Some((0, b'f')));
        assert!(output.push(1, &[b"word\n"]));
        let rest: String = all(&mut output);
        assert!(rest.starts_with("lood\nword\nflood\n"), "{rest:.40}");
    }

    #[test]
    fn sources_share_evenly_line_by_line() {
        let mut output = output(&[4096; 3]);
        for source in 0..3 {
            while output.push(source, &[b"0123456789\n"]) {}
        }
        let mut sent = [0; 3];
        for _ in 0..11 * 30 {
            let (source, _) = output.pop().unwrap();
            sent[source] += 1;
        }
        assert_eq!(sent, [110; 3]);
    }

    #[test]
    fn what_does_not_fit_is_lost_as_a_whole_and_counted() {
        let mut output = output(&[10]);
        assert!(output.push(0, &[b"12345\n"]));
        assert!(!output.push(0, &[b"12345", b"\n"]));
        assert!(!output.push(0, &[b"1234\n"]));
        assert!(output.push(0, &[b"123\n"]), "the rest is free");
        assert_eq!(
            output.take_lost(0),
            Some(Lost {
                lines: 2,
                bytes: 11
            })
        );
        assert_eq!(output.take_lost(0), None);
        assert_eq!(all(&mut output), "12345\n123\n");
        assert_eq!(output.free(0), 10);
    }

    #[test]
    fn a_source_that_is_none_has_no_room() {
        let mut output = output(&[8]);
        assert!(!output.push(1, &[b"\n"]));
        assert_eq!((output.free(1), output.take_lost(1)), (0, None));
        assert_eq!(output.pop(), None);
    }

    proptest! {
        /// Each source's lines come whole and in their order, whatever comes between.
        #[test]
        fn lines_come_whole_and_in_order(steps in prop::collection::vec((0usize..3, 0usize..40, 0usize..60), 0..200)) {
            let mut output = output(&[100, 64, 50]);
            let mut expected = [const { String::new() }; 3];
            let mut sent = [const { String::new() }; 3];
            let mut last: Option<(usize, u8)> = None;
            let mut take = |output: &mut Output, sent: &mut [String; 3]| {
                let Some((source, byte)) = output.pop() else { return Ok(false) };
                if let Some((before, end)) = last {
                    prop_assert!(before == source || end == b'\n', "a line was cut");
                }
                last = Some((source, byte));
                sent[source].push(char::from(byte));
                Ok(true)
            };
            for (n, (source, len, pops)) in steps.into_iter().enumerate() {
                let text = alloc::format!("{n}{}", "x".repeat(len));
                if output.push(source, &[text.as_bytes(), b"\n"]) {
                    expected[source].push_str(&text);
                    expected[source].push('\n');
                }
                for _ in 0..pops {
                    take(&mut output, &mut sent)?;
                }
            }
            while take(&mut output, &mut sent)? {}
            prop_assert_eq!(sent, expected);
        }
    }
}
