//! What is played: made-up frames of the sizes that real streams have.

use cenc::{Block, Pattern, Scheme, Subsample};

use crate::random::Sequence;
use crate::reference::Reference;

/// A kind of stream.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    /// What it is called.
    pub name: &'static str,
    /// How it is protected.
    pub scheme: Scheme,
    /// Frames a second.
    pub rate: u32,
    /// Bits a second.
    pub bit_rate: u32,
    /// Bytes of a frame that others are decoded from (IDR). One comes each second.
    pub idr: u32,
    /// Slices of a frame: each has a header, which is clear.
    pub slices: u32,
}

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

/// The streams that are played.
pub const TITLES: &[Title] = &[
    Title {
        name: "1080p30",
        scheme: Scheme::Cenc,
        rate: 30,
        bit_rate: 8_000_000,
        idr: 200 * KIB,
        slices: 1,
    },
    Title {
        name: "2160p60",
        scheme: Scheme::Cbcs(Pattern::VIDEO),
        rate: 60,
        bit_rate: 16_800_000,
        idr: 280 * KIB,
        slices: 4,
    },
    Title {
        name: "100Mbit60",
        scheme: Scheme::Cenc,
        rate: 60,
        bit_rate: 100_000_000,
        idr: 2 * MIB,
        slices: 8,
    },
    Title {
        name: "100Mbit60-cbcs",
        scheme: Scheme::Cbcs(Pattern::VIDEO),
        rate: 60,
        bit_rate: 100_000_000,
        idr: 2 * MIB,
        slices: 8,
    },
    Title {
        name: "240Mbit60",
        scheme: Scheme::Cbcs(Pattern::VIDEO),
        rate: 60,
        bit_rate: 240_000_000,
        idr: 4 * MIB,
        slices: 16,
    },
];

impl Title {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TITLES.iter().find(|title| title.name == name)
    }

    /// Bytes of each frame of a second: the IDR frame first, and then what the bit rate leaves to
    /// the others, a third more or less.
    #[must_use]
    pub fn sizes(&self) -> Vec<u32> {
        let second = self.bit_rate / 8;
        let others = self.rate - 1;
        let mean = second.saturating_sub(self.idr) / others;
        let mut sequence = Sequence::new(u64::from(self.bit_rate));
        let mut sizes = vec![self.idr];
        // In pairs, so that the sum is what it should be.
        while sizes.len() < self.rate as usize {
            let more = sequence.between(0, mean / 3);
            sizes.extend([mean + more, mean - more]);
        }
        sizes.truncate(self.rate as usize);
        sizes
    }

    /// A second of the stream, protected with this key.
    #[must_use]
    pub fn second(&self, content_key: &[u8; 16]) -> Vec<Frame> {
        let cipher = Reference::new(content_key);
        let mut sequence = Sequence::new(u64::from(self.idr));
        self.sizes()
            .into_iter()
            .enumerate()
            .map(|(number, size)| {
                let table = table(size, self.slices, self.scheme, &mut sequence);
                let (iv, iv_length) = match self.scheme {
                    Scheme::Cenc => (sample_vector(number as u64), 8),
                    Scheme::Cbcs(_) => (CONSTANT_VECTOR, 16),
                };
                let mut clear = vec![0; size as usize];
                sequence.fill(&mut clear);
                let mut protected = clear.clone();
                cipher.protect(self.scheme, iv, &table, &mut protected);
                Frame {
                    iv,
                    iv_length,
                    table,
                    clear,
                    protected,
                }
            })
            .collect()
    }
}

/// A frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its counter block or initialization vector.
    pub iv: Block,
    /// How many bytes of it are sent.
    pub iv_length: usize,
    /// Its subsamples.
    pub table: Vec<Subsample>,
    /// What is to come out.
    pub clear: Vec<u8>,
    /// What goes in.
    pub protected: Vec<u8>,
}

/// That of all samples of a `cbcs` stream.
const CONSTANT_VECTOR: Block = *b"constant vector.";

/// Each sample of a `cenc` stream has a vector of eight bytes of its own.
fn sample_vector(number: u64) -> Block {
    let mut vector = [0; 16];
    let (first, _) = vector.split_at_mut(8);
    first.copy_from_slice(&(0x1234_5678_0000_0000 + number).to_be_bytes());
    vector
}

/// A table for a frame of `slices` slices of about the same size.
fn table(size: u32, slices: u32, scheme: Scheme, sequence: &mut Sequence) -> Vec<Subsample> {
    let slice = size / slices;
    (0..slices)
        .map(|number| {
            // The last one has what is left.
            let bytes = if number + 1 == slices {
                size - slice * (slices - 1)
            } else {
                slice
            };
            let header = sequence.between(20, 90).min(bytes);
            let protected = match scheme {
                // Whole blocks, as ISO/IEC 23001-7:2016, section 10.1, asks for; the header takes
                // the rest.
                Scheme::Cenc => (bytes - header) / 16 * 16,
                Scheme::Cbcs(_) => bytes - header,
            };
            Subsample {
                clear: bytes - protected,
                protected,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_called_as_whoever_starts_the_player_knows_them() {
        let names: Vec<_> = TITLES.iter().map(|title| title.name).collect();
        assert_eq!(names, drm_protocol::STREAMS);
    }

    #[test]
    fn a_second_has_the_bit_rate() {
        for title in TITLES {
            let sizes = title.sizes();
            assert_eq!(sizes.len(), title.rate as usize);
            let bits = sizes.iter().sum::<u32>() * 8;
            assert!(
                bits.abs_diff(title.bit_rate) < title.bit_rate / 50,
                "{}: {bits}",
                title.name
            );
        }
    }

    #[test]
    fn idr_frames_are_five_to_ten_times_the_average() {
        for title in TITLES {
            let average = f64::from(title.bit_rate / 8 / title.rate);
            let times = f64::from(title.idr) / average;
            assert!((5.0..=10.5).contains(&times), "{}: {times}", title.name);
            assert_eq!(title.sizes().iter().max(), Some(&title.idr));
            assert!(title.idr <= 4 * MIB);
        }
    }

    #[test]
    fn frames_are_protected_and_described() {
        let title = Title {
            idr: 30_000,
            bit_rate: 1_600_000,
            ..TITLES[1]
        };
        for frame in title.second(&[1; 16]) {
            let described: u32 = frame.table.iter().map(|s| s.clear + s.protected).sum();
            assert_eq!(described as usize, frame.clear.len());
            assert_eq!(frame.protected.len(), frame.clear.len());
            assert_ne!(frame.protected, frame.clear);
        }
    }
}
