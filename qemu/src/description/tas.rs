//! `[guest.tas]`: which trusted applications a guest may open.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use host_abi::binding::{TAS_MAX, TeeChoice, UUID_SIZE};

use super::{ConfigError, Refusals};

/// The name of a trusted application. Written as `"8aaaf200-2450-11e4-abe2-0002a5d5c51b"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid(pub [u8; UUID_SIZE]);

impl Uuid {
    /// Hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562, section 4).
    fn parse(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        let hexadecimal = text.bytes().all(|c| c == b'-' || c.is_ascii_hexdigit());
        if !hexadecimal || !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return None;
        }
        let number = u128::from_str_radix(&groups.concat(), 16).ok()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", u128::from_be_bytes(self.0));
        let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
        write!(
            formatter,
            "{a}-{b}-{c}-{}-{}",
            &digits[16..20],
            &digits[20..]
        )
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no UUID: write one such as \"8aaaf200-2450-11e4-abe2-0002a5d5c51b\""
            ))
        })
    }
}

/// Which trusted applications a guest may open, those that are part of the TEE among them. Without
/// a list, all but OP-TEE's own tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TaAccess {
    /// These and no others.
    pub allow: Option<Vec<Uuid>>,
    /// All but these.
    pub deny: Option<Vec<Uuid>>,
}

/// Refuses what the hypervisor would refuse.
pub(super) fn check(
    refuse: Refusals<'_>,
    guest: &str,
    tee: TeeChoice,
    access: &TaAccess,
) -> Result<(), ConfigError> {
    let place = format!("guest {guest}: tas");
    if tee == TeeChoice::None && *access != TaAccess::default() {
        return Err(refuse.at(
            place,
            "a guest with tee = \"none\" opens no trusted applications",
            "Leave out the lists, or write tee = \"optee\".",
        ));
    }
    if access.allow.is_some() && access.deny.is_some() {
        return Err(refuse.at(
            place,
            "has both a list of what is allowed and a list of what is denied",
            "Leave out one: `allow` denies all else, and `deny` allows all else.",
        ));
    }
    for (name, list) in [("allow", &access.allow), ("deny", &access.deny)] {
        let list = list.as_deref().unwrap_or_default();
        if list.len() > TAS_MAX {
            return Err(refuse.at(
                format!("{place}.{name}"),
                format!("names {} applications, more than {TAS_MAX}", list.len()),
                "Write the other list, if that is shorter.",
            ));
        }
        let mut rest = list;
        while let Some((name_of_ta, others)) = rest.split_first() {
            if others.contains(name_of_ta) {
                return Err(refuse.at(
                    format!("{place}.{name}"),
                    format!("names {name_of_ta} twice"),
                    "Name it once.",
                ));
            }
            rest = others;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::{Description, Overrides};

    const NAME: &str = "00112233-4455-6677-8899-aabbccddEEff";
    const OTHER: &str = "8aaaf200-2450-11e4-abe2-0002a5d5c51b";

    fn parse(fields: &str) -> Result<Description, ConfigError> {
        let text = format!("[[guest]]\nname = \"vm1\"\nmemory = \"512MiB\"\n{fields}\n");
        Description::parse(Path::new("m.toml"), &text, &Overrides::default())
    }

    fn access(tas: &str) -> TaAccess {
        let mut description = parse(&format!("[guest.tas]\n{tas}")).unwrap();
        description.guests.remove(0).tas
    }

    #[track_caller]
    fn refused(fields: &str, place: &str, problem: &str) {
        let error = parse(fields).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }

    #[test]
    fn names_are_read_in_the_order_of_their_text() {
        let name = Uuid(std::array::from_fn(|index| index as u8 * 0x11));
        let listed = access(&format!("allow = [\"{NAME}\"]"));
        assert_eq!(listed.allow, Some(vec![name]));
        assert_eq!(listed.deny, None);
        assert_eq!(name.to_string(), NAME.to_lowercase());
        let listed = access(&format!("deny = [\"{NAME}\", \"{OTHER}\"]"));
        assert_eq!(listed.deny.map(|list| list.len()), Some(2));
    }

    #[test]
    fn an_empty_list_is_not_no_list() {
        assert_eq!(access("allow = []").allow, Some(Vec::new()));
        assert_eq!(access(""), TaAccess::default());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "001122334455-6677-8899-aabbccddeeff",
            "00112233445566778899aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddeef",
            "00112233-4455-6677-8899-aabbccddeegg",
            "+0112233-4455-6677-8899-aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddeeff-",
        ] {
            let fields = format!("[guest.tas]\nallow = [\"{text}\"]");
            refused(&fields, "line 5", "is no UUID");
        }
    }

    #[test]
    fn both_lists_are_refused() {
        let fields = format!("[guest.tas]\nallow = [\"{NAME}\"]\ndeny = []");
        refused(&fields, "guest vm1: tas", "has both");
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        let fields = format!("[guest.tas]\ndeny = [\"{NAME}\", \"{OTHER}\", \"{NAME}\"]");
        refused(&fields, "guest vm1: tas.deny", "twice");
    }

    #[test]
    fn too_many_names_are_refused() {
        let names: Vec<_> = (0..=TAS_MAX)
            .map(|n| format!("\"00000000-0000-0000-0000-{n:012x}\""))
            .collect();
        let fields = format!("[guest.tas]\nallow = [{}]", names.join(", "));
        refused(&fields, "guest vm1: tas.allow", "more than 256");
    }

    #[test]
    fn lists_without_a_tee_are_refused() {
        let fields = format!("tee = \"none\"\n[guest.tas]\nallow = [\"{NAME}\"]");
        refused(&fields, "guest vm1: tas", "opens no trusted applications");
    }
}
