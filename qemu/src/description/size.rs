//! Sizes as people write them: `"512MiB"`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// A number of bytes, written as a whole number and one of the units B, KiB, MiB and GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(u64);

/// Why a text is no [`Size`].
#[derive(Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// There is no unit, or one that is not known.
    #[error(
        "`{0}` is no size: write a whole number and a unit, such as 512MiB or 3GiB (units: B, KiB, MiB, GiB)"
    )]
    Form(String),
    /// The number does not fit 64 bits.
    #[error("`{0}` is more than 64 bits can hold")]
    TooLarge(String),
}

/// The units from the largest to the smallest; `B` last, because the others end in it.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    /// A size in bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in MiB. To be used for constants.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The size in bytes.
    pub const fn to_bytes(self) -> u64 {
        self.0
    }

    /// The size in whole KiB, rounded down.
    pub const fn to_kib(self) -> u64 {
        self.0 >> 10
    }

    /// The size in whole MiB, rounded down.
    pub const fn to_mib(self) -> u64 {
        self.0 >> 20
    }

    /// Whether the size is a multiple of `unit` bytes.
    pub const fn is_multiple_of(self, unit: u64) -> bool {
        self.0.is_multiple_of(unit)
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let form = || SizeError::Form(text.to_owned());
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .ok_or_else(form)?;
        let number = number.trim_end();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }
}

impl TryFrom<String> for Size {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = UNITS
            .into_iter()
            .find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit))
            .unwrap_or(("B", 1));
        write!(formatter, "{} {name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_two() {
        assert_eq!("512MiB".parse(), Ok(Size::mib(512)));
        assert_eq!("3GiB".parse(), Ok(Size::mib(3 * 1024)));
        assert_eq!("4 KiB".parse(), Ok(Size::bytes(4096)));
        assert_eq!("17B".parse(), Ok(Size::bytes(17)));
    }

    #[test]
    fn a_number_without_a_known_unit_is_refused() {
        for text in [
            "512", "512M", "512MB", "MiB", "-1MiB", "0x10MiB", "1.5GiB", "",
        ] {
            assert_eq!(text.parse::<Size>(), Err(SizeError::Form(text.to_owned())));
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        for text in ["17179869184GiB", "99999999999999999999B"] {
            assert_eq!(
                text.parse::<Size>(),
                Err(SizeError::TooLarge(text.to_owned()))
            );
        }
    }

    #[test]
    fn the_largest_unit_that_divides_is_shown() {
        assert_eq!(Size::mib(512).to_string(), "512 MiB");
        assert_eq!(Size::mib(3072).to_string(), "3 GiB");
        assert_eq!(Size::bytes(4097).to_string(), "4097 B");
        assert_eq!(Size::bytes(0).to_string(), "0 B");
    }
}
