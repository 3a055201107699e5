//! What goes with a sample: which key and which initialization vector, and the table of its
//! subsamples.

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

/// Stands before the table. The table's length is what is left of the buffer; a table without
/// entries says that the whole sample is protected.
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

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const CBCS: Scheme = Scheme::Cbcs(Pattern::VIDEO);

    /// A header with its table, as a player writes them.
    fn info(iv_length: u32, count: u32, table: &[Subsample]) -> Vec<u8> {
        let header = SampleHeader {
            key_id: *b"the key's own ID",
            iv: *b"12345678\0\0\0\0\0\0\0\0",
            iv_length: iv_length.into(),
            subsamples: count.into(),
        };
        let mut bytes = header.as_bytes().to_vec();
        for subsample in table {
            bytes.extend(SubsampleEntry::from(*subsample).as_bytes());
        }
        bytes
    }

    const TABLE: [Subsample; 2] = [
        Subsample {
            clear: 1,
            protected: 0x0203_0405,
        },
        Subsample {
            clear: u32::MAX,
            protected: 0,
        },
    ];

    #[test]
    fn a_header_and_its_table_come_out_as_they_were() {
        let bytes = info(16, 2, &TABLE);
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[40..48], [1, 0, 0, 0, 5, 4, 3, 2]);
        let read = SampleInfo::read(&bytes, CBCS).unwrap();
        assert_eq!(&read.header.key_id, b"the key's own ID");
        assert!(read.subsamples().eq(TABLE));
        assert!(SampleInfo::read(&info(16, 0, &[]), Scheme::Cenc).is_some());
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused() {
        let bytes = info(16, 2, &TABLE);
        for length in 0..bytes.len() {
            assert!(
                SampleInfo::read(&bytes[..length], CBCS).is_none(),
                "{length}"
            );
        }
        for count in [0, 1, 3, u32::MAX] {
            let bytes = info(16, count, &TABLE);
            assert!(SampleInfo::read(&bytes, CBCS).is_none(), "{count}");
        }
    }

    #[test]
    fn vectors_have_8_bytes_in_cenc_or_16() {
        assert!(SampleInfo::read(&info(8, 2, &TABLE), Scheme::Cenc).is_some());
        assert!(SampleInfo::read(&info(8, 2, &TABLE), CBCS).is_none());
        for length in [0, 7, 9, 12, 17, u32::MAX] {
            let bytes = info(length, 2, &TABLE);
            assert!(SampleInfo::read(&bytes, Scheme::Cenc).is_none(), "{length}");
        }
        let mut bytes = info(8, 2, &TABLE);
        bytes[31] = 1;
        assert!(SampleInfo::read(&bytes, Scheme::Cenc).is_none());
    }

    #[test]
    fn a_table_has_its_limit() {
        let most = [Subsample::default(); SUBSAMPLES_MAX];
        let bytes = info(16, SUBSAMPLES_MAX as u32, &most);
        assert_eq!(bytes.len(), SAMPLE_INFO_MAX);
        assert!(SampleInfo::read(&bytes, CBCS).is_some());
        let more = [Subsample::default(); SUBSAMPLES_MAX + 1];
        let bytes = info(16, SUBSAMPLES_MAX as u32 + 1, &more);
        assert!(SampleInfo::read(&bytes, CBCS).is_none());
    }

    #[test]
    fn schemes_and_their_numbers_belong_together() {
        for known in [Scheme::Cenc, CBCS, Scheme::Cbcs(Pattern::WHOLE)] {
            let (number, pattern) = scheme_numbers(known);
            assert_eq!(scheme(number, pattern), Some(known));
        }
        assert_eq!(scheme_numbers(CBCS), (SCHEME_CBCS, 0x0109));
        for (number, pattern) in [
            (0, 0),
            (3, 0),
            (SCHEME_CENC, 0x109),
            (SCHEME_CBCS, 0),
            (SCHEME_CBCS, 0x1_0109),
            (SCHEME_CBCS, 0x0110),
        ] {
            assert_eq!(scheme(number, pattern), None, "{number} {pattern:#x}");
        }
    }
}
