//! What waits to go out on the one UART: a ring of lines for each source, of which each gets its
//! turn.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bytes of lines, the oldest first. Each line ends with a line feed, and is in the ring as a
/// whole.
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

    /// The oldest bytes, as far as they lie in one piece.
    fn oldest(&self) -> &[u8] {
        let end = self.bytes.len().min(self.first + self.len);
        self.bytes.get(self.first..end).unwrap_or_default()
    }

    /// Forgets `count` of the [oldest](Self::oldest) bytes.
    fn forget(&mut self, count: usize) {
        self.len -= count;
        self.first += count;
        if self.first == self.bytes.len() {
            self.first = 0;
        }
    }
}

/// The rings of all sources, which are numbers from 0 on.
///
/// Sources take turns, a line each, so that a line waits for no more than one of each other source
/// and for what waits in its own ring.
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

    /// Adds a line of `source`, given in parts that end with a line feed. A line that does not fit
    /// is lost as a whole; returns whether it fits.
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

    /// Passes the bytes that go out next, of one line at most, to `send`: up to `limit`, as long as
    /// that says that it took one. Says whose they are and how many were taken; `None` where
    /// nothing waits.
    #[inline]
    pub fn send(
        &mut self,
        limit: usize,
        mut send: impl FnMut(u8) -> bool,
    ) -> Option<(usize, usize)> {
        let source = if self.within_line {
            self.current
        } else {
            self.next_source()?
        };
        let ring = self.rings.get_mut(source)?;
        let bytes = ring.oldest();
        let bytes = bytes.get(..limit).unwrap_or(bytes);
        let mut sent = 0;
        let mut last = None;
        while let Some(&byte) = bytes.get(sent)
            && last != Some(b'\n')
            && send(byte)
        {
            last = Some(byte);
            sent += 1;
        }
        if let Some(byte) = last {
            self.current = source;
            self.within_line = byte != b'\n';
        }
        ring.forget(sent);
        self.len -= sent;
        Some((source, sent))
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

    /// The next byte, with its source.
    fn next(output: &mut Output) -> Option<(usize, u8)> {
        let mut taken = None;
        let (source, sent) = output.send(1, |byte| {
            taken = Some(byte);
            true
        })?;
        assert_eq!(sent, 1);
        Some((source, taken?))
    }

    fn all(output: &mut Output) -> String {
        core::iter::from_fn(|| next(output))
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
        assert_eq!(next(&mut output), Some((0, b'f')));
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
            let (source, _) = next(&mut output).unwrap();
            sent[source] += 1;
        }
        assert_eq!(sent, [110; 3]);
    }

    #[test]
    fn a_line_goes_out_as_far_as_it_is_taken_and_keeps_its_turn() {
        let mut output = output(&[16, 16]);
        let send = |output: &mut Output, limit, room| {
            let mut sent = String::new();
            let result = output.send(limit, |byte| {
                let takes = sent.len() < room;
                if takes {
                    sent.push(char::from(byte));
                }
                takes
            });
            (result, sent)
        };
        for line in [b"one\n", b"two\n", b"six\n"] {
            assert!(output.push(1, &[b"x", line]));
        }
        assert!(output.push(0, &[b"vm1\n"]));
        assert_eq!(send(&mut output, 9, 0), (Some((1, 0)), "".into()));
        assert_eq!(send(&mut output, 2, 9), (Some((1, 2)), "xo".into()));
        assert_eq!(send(&mut output, 9, 0), (Some((1, 0)), "".into()));
        assert_eq!(send(&mut output, 9, 9), (Some((1, 3)), "ne\n".into()));
        assert_eq!(send(&mut output, 9, 9), (Some((0, 4)), "vm1\n".into()));
        assert_eq!(send(&mut output, 9, 9), (Some((1, 5)), "xtwo\n".into()));
        assert!(output.push(1, &[b"xten\n"]), "around the end of the ring");
        assert_eq!(all(&mut output), "xsix\nxten\n");
        assert_eq!(send(&mut output, 9, 9), (None, "".into()));
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
        assert_eq!(next(&mut output), None);
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
                let Some((source, byte)) = next(output) else { return Ok(false) };
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
