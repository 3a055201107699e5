//! Addresses as distinct types: what a guest says ([`Ipa`]) is never taken for what the machine
//! means ([`Pa`]).

#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// Bytes in a page, the unit of OP-TEE's page lists and of stage 2 (4 KiB granule).
pub const PAGE_SIZE: u64 = 4096;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `bytes` further on, or `None` where that wraps.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The start of the page that holds this address.
            #[must_use]
            pub const fn page(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }

            /// The offset of this address in its page, in bytes.
            #[must_use]
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }

            /// Whether the address is a multiple of `alignment`, a power of two.
            #[must_use]
            pub const fn is_aligned(self, alignment: u64) -> bool {
                self.0 & (alignment - 1) == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:#x}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

address!(
    /// An intermediate physical address: what a guest takes for physical. Only stage 2 turns it
    /// into a [`Pa`].
    Ipa,
    "IPA "
);
address!(
    /// A physical address. Never shown to a guest.
    Pa,
    "PA "
);

/// A stretch of guest memory that is contiguous both in IPA and in PA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the run starts for the guest.
    pub ipa: Ipa,
    /// Where it starts in physical memory.
    pub pa: Pa,
    /// Its length in bytes.
    pub len: u64,
}

impl Run {
    /// The physical address of `ipa`, if the run holds it.
    #[must_use]
    pub fn translate(&self, ipa: Ipa) -> Option<Pa> {
        let offset = ipa.0.checked_sub(self.ipa.0)?;
        (offset < self.len).then(|| Pa(self.pa.0 + offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_page_and_an_offset_in_it() {
        let address = Ipa(0x4000_1234);
        assert_eq!(
            (address.page(), address.page_offset()),
            (Ipa(0x4000_1000), 0x234)
        );
        assert!(address.is_aligned(4) && !address.is_aligned(8));
    }

    #[test]
    fn addition_tells_where_it_wraps() {
        assert_eq!(Pa(u64::MAX - 1).checked_add(1), Some(Pa(u64::MAX)));
        assert_eq!(Pa(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn a_run_translates_what_it_holds() {
        let run = Run {
            ipa: Ipa(0x1000),
            pa: Pa(0x9000),
            len: 0x800,
        };
        assert_eq!(run.translate(Ipa(0x1000)), Some(Pa(0x9000)));
        assert_eq!(run.translate(Ipa(0x17ff)), Some(Pa(0x97ff)));
        assert_eq!(
            (run.translate(Ipa(0x1800)), run.translate(Ipa(0xfff))),
            (None, None)
        );
    }
}
