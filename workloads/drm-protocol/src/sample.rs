//! What goes with a sample: which key and which initialization vector, and the table of its subsamples.

use cenc::{BLOCK, Block, Pattern, Scheme, Subsample};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::KeyId;

/// The number of [`Scheme::Cenc`].
pub const SCHEME_CENC: u32 = 1;
/// The number of [`Scheme::Cbcs`].
pub const SCHEME_CBCS: u32 = 2;

/// The most subsamples of a sample.
pub const SUBSAMPLES_MAX: usize = 1024;
/// Bytes of a header with the longest table.
pub const SAMPLE_INFO_MAX: usize =
    size_of::<SampleHeader>() + SUBSAMPLES_MAX * size_of::<SubsampleEntry>();

/// Stands before the table. The table's length is what is left of the buffer; a table without entries says that the whole sample
/// is protected.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SampleHeader {
    /// The key that the sample is encrypted with.
    pub key_id: KeyId,
    /// The initialization vector; of one of 8 bytes, the rest is 0.
    pub iv: Block,
    /// Its bytes: 8 (`cenc` only) or 16.
    pub iv_length: U32,
    /// Entries of the table.
    pub subsamples: U32,
}

/// An entry of the table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SubsampleEntry {
    /// Clear bytes.
    pub clear: U32,
    /// Protected bytes behind them.
    pub protected: U32,
}

const _: () = assert!(size_of::<SampleHeader>() == 40);
const _: () = assert!(size_of::<SubsampleEntry>() == 8);

impl From<SubsampleEntry> for Subsample {
    fn from(entry: SubsampleEntry) -> Self {
        Self {
            clear: entry.clear.get(),
            protected: entry.protected.get(),
        }
    }
}

impl From<Subsample> for SubsampleEntry {
    fn from(subsample: Subsample) -> Self {
        Self {
            clear: subsample.clear.into(),
            protected: subsample.protected.into(),
        }
    }
}

/// A header and its table, as they lie in memory that no one else can change.
#[derive(Clone, Copy, Debug)]
pub struct SampleInfo<'a> {
    /// The header.
    pub header: &'a SampleHeader,
    /// The table.
    pub table: &'a [SubsampleEntry],
}

impl<'a> SampleInfo<'a> {
    /// Reads them. `None` if that is not what the bytes are.
    #[must_use]
    pub fn read(bytes: &'a [u8], scheme: Scheme) -> Option<Self> {
        let (header, rest) = SampleHeader::ref_from_prefix(bytes).ok()?;
        let table = <[SubsampleEntry]>::ref_from_bytes(rest).ok()?;
        let long_iv = match (header.iv_length.get(), scheme) {
            (8, Scheme::Cenc) => false,
            (16, _) => true,
            _ => return None,
        };
        let second_half = header.iv.get(BLOCK / 2..)?;
        let fits = usize::try_from(header.subsamples.get()) == Ok(table.len());
        (fits && table.len() <= SUBSAMPLES_MAX && (long_iv || second_half.iter().all(|b| *b == 0)))
            .then_some(Self { header, table })
    }

    /// The subsamples.
    pub fn subsamples(&self) -> impl Iterator<Item = Subsample> + Clone + use<'a> {
        self.table.iter().map(|entry| Subsample::from(*entry))
    }
}

/// The scheme that a player means by these numbers.
#[must_use]
pub fn scheme(number: u32, pattern: u32) -> Option<Scheme> {
    match (number, pattern.to_le_bytes()) {
        (SCHEME_CENC, [0, 0, 0, 0]) => Some(Scheme::Cenc),
        (SCHEME_CBCS, [skip, crypt, 0, 0]) => Pattern::new(crypt, skip).map(Scheme::Cbcs),
        _ => None,
    }
}

/// The numbers of a scheme: its own and its pattern's.
#[must_use]
pub fn scheme_numbers(scheme: Scheme) -> (u32, u32) {
    match scheme {
        Scheme::Cenc => (SCHEME_CENC, 0),
        Scheme::Cbcs(pattern) => {
            let pattern = [pattern.skip(), pattern.crypt(), 0, 0];
            (SCHEME_CBCS, u32::from_le_bytes(pattern))
        }
    }
}
