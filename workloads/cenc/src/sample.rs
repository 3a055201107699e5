//! A sample's table, checked, and the steps that decrypt the sample.

use core::ops::Range;

use crate::{BLOCK, Block, Engine};

/// How a sample is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// AES-128-CTR.
    Cenc,
    /// AES-128-CBC over a pattern of blocks.
    Cbcs(Pattern),
}

/// Which blocks of a subsample are encrypted: some, then some not, and again from the start
/// (ISO/IEC 23001-7:2016, section 9.6). A block that the subsample's end cuts is clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    crypt: u8,
    skip: u8,
}

impl Pattern {
    /// One block of ten, as video has it.
    pub const VIDEO: Self = Self { crypt: 1, skip: 9 };
    /// All whole blocks, as audio has it.
    pub const WHOLE: Self = Self { crypt: 1, skip: 0 };
    /// What the four bits of either number can say (section 12.2, `default_crypt_byte_block`).
    const MOST: u8 = 15;

    /// Blocks that are encrypted, then blocks that are clear. `None` if that is no pattern.
    #[must_use]
    pub const fn new(crypt: u8, skip: u8) -> Option<Self> {
        if crypt == 0 || crypt > Self::MOST || skip > Self::MOST {
            return None;
        }
        Some(Self { crypt, skip })
    }

    /// Encrypted blocks of a turn: 1 to 15.
    #[must_use]
    pub const fn crypt(self) -> u8 {
        self.crypt
    }

    /// Clear blocks of a turn: up to 15.
    #[must_use]
    pub const fn skip(self) -> u8 {
        self.skip
    }
}

/// A part of a sample: clear bytes, then protected ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subsample {
    /// Clear bytes.
    pub clear: u32,
    /// Protected bytes.
    pub protected: u32,
}

/// Why a table does not describe a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It describes more bytes than there are: it overruns, or the sample is cut short.
    Overrun,
    /// It leaves bytes at the end undescribed.
    Remainder,
}

/// A sample whose table is checked.
#[derive(Clone, Debug)]
pub struct Sample<T> {
    scheme: Scheme,
    iv: Block,
    table: T,
    length: usize,
}

impl<T> Sample<T>
where
    T: Iterator<Item = Subsample> + Clone,
{
    /// A sample of `length` bytes. `iv` is the first counter block or the chains' initialization
    /// vector. An empty table says that the whole sample is protected.
    ///
    /// # Errors
    ///
    /// The table describes more or fewer bytes.
    pub fn new(scheme: Scheme, iv: Block, table: T, length: usize) -> Result<Self, Flaw> {
        let sample = Self {
            scheme,
            iv,
            table,
            length,
        };
        let mut described = 0usize;
        for subsample in sample.subsamples() {
            for part in [subsample.clear, subsample.protected] {
                described = usize::try_from(part)
                    .ok()
                    .and_then(|part| described.checked_add(part))
                    .filter(|sum| *sum <= length)
                    .ok_or(Flaw::Overrun)?;
            }
        }
        if described == length {
            Ok(sample)
        } else {
            Err(Flaw::Remainder)
        }
    }

    /// Its bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The clear and the protected part of each subsample.
    fn parts(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.subsamples().scan(0usize, |start, subsample| {
            // Within the length, as `new` has checked.
            let protected = start.saturating_add(subsample.clear as usize);
            let end = protected.saturating_add(subsample.protected as usize);
            let parts = (*start..protected, protected..end);
            *start = end;
            Some(parts)
        })
    }

    fn subsamples(&self) -> impl Iterator<Item = Subsample> + use<T> {
        let mut table = self.table.clone().peekable();
        // A sample longer than a subsample can be has a table.
        let whole = table.peek().is_none().then(|| Subsample {
            clear: 0,
            protected: u32::try_from(self.length).unwrap_or(u32::MAX),
        });
        whole.into_iter().chain(table)
    }

    /// Has `engine` decrypt the sample. `scratch` is memory for blocks that lie apart; the larger
    /// it is, the fewer calls the engine gets.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub fn decrypt<E: Engine>(&self, engine: &mut E, scratch: &mut [u8]) -> Result<(), E::Error> {
        match self.scheme {
            Scheme::Cenc => self.decrypt_stream(engine),
            Scheme::Cbcs(pattern) => self.decrypt_chains(engine, pattern, scratch),
        }
    }

    fn decrypt_stream<E: Engine>(&self, engine: &mut E) -> Result<(), E::Error> {
        let mut stream = Stream::start(self.iv, engine)?;
        for (clear, protected) in self.parts() {
            if !clear.is_empty() {
                engine.copy(clear);
            }
            stream.decrypt(engine, protected)?;
        }
        Ok(())
    }

    fn decrypt_chains<E: Engine>(
        &self,
        engine: &mut E,
        pattern: Pattern,
        scratch: &mut [u8],
    ) -> Result<(), E::Error> {
        for (clear, protected) in self.parts() {
            let blocks = protected.len() / BLOCK;
            if blocks == 0 {
                engine.copy(clear.start..protected.end);
                continue;
            }
            engine.start(&self.iv)?;
            if pattern.skip == 0 {
                let tail = protected.start.saturating_add(blocks * BLOCK);
                engine.copy(clear);
                engine.decrypt(protected.start..tail)?;
                engine.copy(tail..protected.end);
            } else {
                engine.copy(clear.start..protected.end);
                let runs = Runs::of(pattern, protected.start, blocks);
                decrypt_runs(engine, runs, scratch)?;
            }
        }
        Ok(())
    }
}

/// The key stream of `cenc`, which runs through all subsamples.
struct Stream {
    iv: Block,
    /// Bytes until the counter has no further value.
    left: u128,
}

impl Stream {
    fn start<E: Engine>(iv: Block, engine: &mut E) -> Result<Self, E::Error> {
        engine.start(&iv)?;
        let [.., a, b, c, d, e, f, g, h] = iv;
        let counter = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let blocks = (1u128 << 64) - u128::from(counter);
        Ok(Self {
            iv,
            left: blocks * BLOCK as u128,
        })
    }

    /// The counter is the lower half of the block and has no carry into the upper half (ISO/IEC
    /// 23001-7:2016, section 9.3), unlike that of a cipher in CTR mode, which is the whole block.
    fn decrypt<E: Engine>(&mut self, engine: &mut E, range: Range<usize>) -> Result<(), E::Error> {
        let mut rest = range;
        while !rest.is_empty() {
            if self.left == 0 {
                let (_, counter) = self.iv.split_at_mut(BLOCK / 2);
                counter.fill(0);
                *self = Self::start(self.iv, engine)?;
            }
            let length = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
            let end = rest.start.saturating_add(length);
            engine.decrypt(rest.start..end)?;
            self.left = self.left.saturating_sub(length as u128);
            rest.start = end;
        }
        Ok(())
    }
}

/// The encrypted blocks of a subsample with a pattern, in runs of blocks that lie side by side.
#[derive(Clone)]
struct Runs {
    pattern: Pattern,
    offset: usize,
    blocks: usize,
}

impl Runs {
    /// Of `blocks` whole blocks that begin at `offset`.
    fn of(pattern: Pattern, offset: usize, blocks: usize) -> Self {
        Self {
            pattern,
            offset,
            blocks,
        }
    }
}

impl Iterator for Runs {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.blocks == 0 {
            return None;
        }
        let crypt = self.blocks.min(usize::from(self.pattern.crypt));
        let turn = usize::from(self.pattern.crypt) + usize::from(self.pattern.skip);
        let run = self.offset..self.offset.saturating_add(crypt * BLOCK);
        self.offset = self.offset.saturating_add(turn * BLOCK);
        self.blocks = self.blocks.saturating_sub(turn);
        Some(run)
    }
}

/// Decrypts the blocks of `runs`, which lie apart, together: a call of a cipher costs more than
/// copies of blocks do.
fn decrypt_runs<E: Engine>(
    engine: &mut E,
    mut runs: Runs,
    scratch: &mut [u8],
) -> Result<(), E::Error> {
    let longest = usize::from(runs.pattern.crypt) * BLOCK;
    if scratch.len() < longest {
        return runs.try_for_each(|run| engine.decrypt(run));
    }
    while runs.blocks > 0 {
        // Only the last run of all may be shorter than the others, so that what is filled is one
        // piece.
        let mut filled = 0usize;
        let places = scratch.chunks_exact_mut(longest);
        for (place, run) in places.zip(runs.clone()) {
            engine.read(run.start, place.get_mut(..run.len()).unwrap_or_default());
            filled = filled.saturating_add(run.len());
        }
        engine.decrypt_blocks(scratch.get_mut(..filled).unwrap_or_default())?;
        let places = scratch.chunks_exact(longest);
        for (place, run) in places.zip(runs.by_ref()) {
            engine.write(run.start, place.get(..run.len()).unwrap_or_default());
        }
    }
    Ok(())
}
