//! Splits what comes out of the machine's one UART into the consoles of its guests, the hypervisor
//! and the firmware (docs/console.md).

pub use host_abi::console::HYPERVISOR_TAG;
use host_abi::console::{Mark, Tagged};

/// A longer line is cut, so that a guest that never ends one can't fill the host's memory.
const LINE_MAX: usize = 64 << 10;

/// Whose console a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The firmware: what carries no tag.
    Firmware,
    /// The hypervisor.
    Hypervisor,
    /// A guest, by its index among those named to [`Splitter::new`].
    Guest(usize),
}

/// A whole line of one console, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose it is.
    pub source: Source,
    /// Its bytes, as they came; not always UTF-8.
    pub bytes: Vec<u8>,
}

impl Line {
    /// The line as text, with a replacement character for what is no UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Takes the UART's bytes in whatever pieces they come and gives back lines.
#[derive(Debug)]
pub struct Splitter {
    tags: Vec<(Vec<u8>, Source)>,
    /// The line on the UART that has no end yet.
    raw: Vec<u8>,
    /// For each tag the parts of a line whose end has not come.
    parts: Vec<Vec<u8>>,
}

impl Splitter {
    /// A splitter for the guests of these names.
    pub fn new<'a>(guests: impl IntoIterator<Item = &'a str>) -> Self {
        let guests = guests
            .into_iter()
            .enumerate()
            .map(|(index, name)| (name.as_bytes().to_vec(), Source::Guest(index)));
        let hypervisor = (HYPERVISOR_TAG.as_bytes().to_vec(), Source::Hypervisor);
        let tags: Vec<_> = std::iter::once(hypervisor).chain(guests).collect();
        let parts = vec![Vec::new(); tags.len()];
        Self {
            tags,
            raw: Vec::new(),
            parts,
        }
    }

    /// Takes the next bytes of the UART; calls `sink` for each line that ends in them.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Line)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.raw.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.raw.len() >= LINE_MAX {
                let raw = std::mem::take(&mut self.raw);
                self.raw_line(&raw, &mut sink);
            }
        }
    }

    /// Gives out what has no end, when no more bytes will come.
    pub fn finish(&mut self, mut sink: impl FnMut(Line)) {
        let raw = std::mem::take(&mut self.raw);
        if !raw.is_empty() {
            self.raw_line(&raw, &mut sink);
        }
        for ((_, source), part) in self.tags.iter().zip(&mut self.parts) {
            let bytes = std::mem::take(part);
            if !bytes.is_empty() {
                sink(Line {
                    source: *source,
                    bytes,
                });
            }
        }
    }

    fn raw_line(&mut self, raw: &[u8], sink: &mut impl FnMut(Line)) {
        let raw = trim_end(raw);
        let Some((index, whole, text)) = self.tagged(raw) else {
            sink(Line {
                source: Source::Firmware,
                bytes: raw.to_vec(),
            });
            return;
        };
        let (Some((_, source)), Some(part)) = (self.tags.get(index), self.parts.get_mut(index))
        else {
            return;
        };
        part.extend_from_slice(text);
        if whole || part.len() >= LINE_MAX {
            sink(Line {
                source: *source,
                bytes: trim_end(&std::mem::take(part)).to_vec(),
            });
        }
    }

    /// The index of the line's tag, whether the line ends here, and its text.
    fn tagged<'a>(&self, raw: &'a [u8]) -> Option<(usize, bool, &'a [u8])> {
        let Tagged { tag, mark, text } = Tagged::parse(raw)?;
        let index = self.tags.iter().position(|(name, _)| name == tag)?;
        Some((index, mark == Mark::End, text))
    }
}

/// Without the line's end. Carriage returns come from the UART's driver and from terminals alike.
fn trim_end(line: &[u8]) -> &[u8] {
    let mut line = line;
    while let [rest @ .., b'\r' | b'\n'] = line {
        line = rest;
    }
    line
}

/// Picks one console's text out of the UART's bytes as it comes, parts of lines at once.
#[derive(Debug)]
pub struct Follower {
    tag: Vec<u8>,
    /// The line on the UART that has no end yet.
    raw: Vec<u8>,
}

impl Follower {
    /// Of a guest, by its name.
    pub fn new(guest: &str) -> Self {
        Self {
            tag: guest.as_bytes().to_vec(),
            raw: Vec::new(),
        }
    }

    /// Takes the next bytes of the UART; gives the text in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.raw.extend_from_slice(piece);
            if !piece.ends_with(b"\n") && self.raw.len() < LINE_MAX {
                continue;
            }
            let raw = std::mem::take(&mut self.raw);
            let line = raw.strip_suffix(b"\n").unwrap_or(&raw);
            let Some(said) = Tagged::parse(line).filter(|said| said.tag == self.tag) else {
                continue;
            };
            text.extend_from_slice(said.text);
            if said.mark == Mark::End {
                text.extend_from_slice(&raw[line.len()..]);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<(Source, String)> {
        let mut splitter = Splitter::new(["vm1", "vm2"]);
        let mut lines = Vec::new();
        let mut sink = |line: Line| lines.push((line.source, line.text()));
        for piece in pieces {
            splitter.feed(piece, &mut sink);
        }
        splitter.finish(&mut sink);
        lines
    }

    fn line(source: Source, text: &str) -> (Source, String) {
        (source, text.to_owned())
    }

    #[test]
    fn lines_go_to_the_console_of_their_tag() {
        let lines = split(&[b"NOTICE:  BL31\r\nbulkhead| hello\r\nvm2| two\nvm1| one\n"]);
        assert_eq!(
            lines,
            [
                line(Source::Firmware, "NOTICE:  BL31"),
                line(Source::Hypervisor, "hello"),
                line(Source::Guest(1), "two"),
                line(Source::Guest(0), "one"),
            ]
        );
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let text = b"fw\nvm1| one\nvm2+ tw\nvm2| o\n";
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(split(&bytes), split(&[text]));
    }

    #[test]
    fn parts_are_joined_across_the_lines_of_others() {
        let lines = split(&[b"vm1+ on\nvm2+ tw\nbulkhead| x\nvm1| e\nvm2+ o an\nvm2| d a half\n"]);
        assert_eq!(
            lines,
            [
                line(Source::Hypervisor, "x"),
                line(Source::Guest(0), "one"),
                line(Source::Guest(1), "two and a half"),
            ]
        );
    }

    #[test]
    fn a_part_keeps_its_spaces() {
        assert_eq!(
            split(&[b"vm1+ a \nvm1|  b\n"]),
            [line(Source::Guest(0), "a  b")]
        );
    }

    #[test]
    fn an_empty_line_is_a_line() {
        assert_eq!(
            split(&[b"vm1| \nvm2|\n\n"]),
            [
                line(Source::Guest(0), ""),
                line(Source::Guest(1), ""),
                line(Source::Firmware, ""),
            ]
        );
    }

    #[test]
    fn what_only_looks_tagged_is_the_firmware_s() {
        for text in ["vm9| x", "vm1 | x", " vm1| x", "vm1|x", "vm1", "|", "a+b"] {
            assert_eq!(
                split(&[text.as_bytes(), b"\n"]),
                [line(Source::Firmware, text)]
            );
        }
    }

    #[test]
    fn a_guest_s_text_cannot_speak_for_another() {
        assert_eq!(
            split(&[b"vm1| bulkhead| panic: no\n"]),
            [line(Source::Guest(0), "bulkhead| panic: no")]
        );
    }

    #[test]
    fn garbage_is_kept_and_shown_with_replacement_characters() {
        let mut splitter = Splitter::new(["vm1"]);
        let mut lines = Vec::new();
        splitter.feed(b"vm1| \xff\xfe\0caf\xc3\n", |line| lines.push(line));
        assert_eq!(lines[0].bytes, b"\xff\xfe\0caf\xc3");
        assert_eq!(lines[0].text(), "\u{fffd}\u{fffd}\0caf\u{fffd}");
    }

    #[test]
    fn what_has_no_end_comes_out_at_the_end() {
        assert_eq!(
            split(&[b"vm1+ half\nvm2| whole"]),
            [
                line(Source::Guest(1), "whole"),
                line(Source::Guest(0), "half"),
            ]
        );
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let lines = split(&[&vec![b'x'; LINE_MAX + 10]]);
        assert_eq!(lines.len(), 1, "one feed without an end is one raw line");
        let pieces = vec![&b"0123456789abcdef"[..]; LINE_MAX / 16 + 1];
        let lines = split(&pieces);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].1.len(), LINE_MAX);
    }

    #[test]
    fn parts_without_an_end_are_cut() {
        let mut part = b"vm1+ ".to_vec();
        part.extend(vec![b'x'; 1000]);
        part.push(b'\n');
        let pieces = vec![part.as_slice(); 100];
        let lines = split(&pieces);
        assert!(lines.len() > 1);
        assert_eq!(
            lines.iter().map(|(_, text)| text.len()).sum::<usize>(),
            100_000
        );
    }

    #[test]
    fn a_follower_sees_one_guest_s_text_as_it_comes() {
        let text =
            b"fw\nvm1+ ~\nvm2| x\nvm1+  # l\nbulkhead| vm1| y\nvm1+ s\r\nvm1| \nvm1| bin\nvm1+ ";
        let expected = b"~ # ls\r\nbin\n";
        assert_eq!(Follower::new("vm1").feed(text), expected);
        let mut follower = Follower::new("vm1");
        let pieces: Vec<u8> = text.iter().flat_map(|b| follower.feed(&[*b])).collect();
        assert_eq!(pieces, expected);
    }
}
