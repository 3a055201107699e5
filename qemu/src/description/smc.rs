//! `[guest.smc]`: which SMCs and HVCs of a guest go to the firmware, and which are denied.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use host_abi::binding::SMC_RANGES_MAX;
use smccc::IdRange;

use super::{ConfigError, Refusals};

/// Reads a list of ranges, each written as `"0x8400ff01"` or `"0xc2000000-0xc200ffff"`.
fn ranges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IdRange>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: &String| {
        range(text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` names no SMC: write an identifier such as \"0x8400ff01\", or two with `-` between them"
            ))
        })
    };
    texts.iter().map(read).collect()
}

fn range(text: &str) -> Option<IdRange> {
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(IdRange {
        first: number(first)?,
        last: number(last)?,
    })
}

/// What a guest may call beside what the hypervisor serves itself and its TEE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SmcPolicy {
    /// What goes to the firmware.
    #[serde(default, deserialize_with = "ranges")]
    pub forward: Vec<IdRange>,
    /// What is refused, even if it is served or forwarded otherwise.
    #[serde(default, deserialize_with = "ranges")]
    pub deny: Vec<IdRange>,
}

/// Refuses what the hypervisor would refuse.
pub(super) fn check(
    refuse: Refusals<'_>,
    guest: &str,
    policy: &SmcPolicy,
) -> Result<(), ConfigError> {
    for (name, list) in [("forward", &policy.forward), ("deny", &policy.deny)] {
        let place = format!("guest {guest}: smc.{name}");
        if list.len() > SMC_RANGES_MAX {
            return Err(refuse.at(
                place,
                format!("names {} ranges, more than {SMC_RANGES_MAX}", list.len()),
                "Join ranges.",
            ));
        }
        if let Some(range) = list.iter().find(|range| range.last < range.first) {
            return Err(refuse.at(
                place,
                format!(
                    "{:#010x} to {:#010x} ends before it starts",
                    range.first, range.last
                ),
                "Write the lower identifier first.",
            ));
        }
    }
    if let Some(range) = policy.forward.iter().find(|range| !range.is_forwardable()) {
        return Err(refuse.at(
            format!("guest {guest}: smc.forward"),
            format!(
                "{:#010x} to {:#010x} can't be forwarded",
                range.first, range.last
            ),
            "Name calls of one owner: CPU, SiP, OEM or trusted applications, or 0x8400ff00 to 0x8400ff03.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::{Description, Overrides};

    fn parse(smc: &str) -> Result<Description, ConfigError> {
        let text = format!("[[guest]]\nname = \"vm1\"\nmemory = \"512MiB\"\n[guest.smc]\n{smc}\n");
        Description::parse(Path::new("m.toml"), &text, &Overrides::default())
    }

    #[track_caller]
    fn refused(smc: &str, place: &str, problem: &str) {
        let error = parse(smc).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }

    #[test]
    fn identifiers_and_ranges_of_them_are_read() {
        let text = "forward = [\"0x8400ff01\", \"0xc2000000-0xc200ffff\"]\ndeny = [\"0x84000000\"]";
        let policy = parse(text).unwrap().guests.remove(0).smc;
        let range = |first, last| IdRange { first, last };
        assert_eq!(
            policy.forward,
            [
                range(0x8400_ff01, 0x8400_ff01),
                range(0xc200_0000, 0xc200_ffff)
            ]
        );
        assert_eq!(policy.deny, [range(0x8400_0000, 0x8400_0000)]);
    }

    #[test]
    fn nothing_is_forwarded_or_denied_unless_it_is_said() {
        assert_eq!(
            parse("").unwrap().guests.remove(0).smc,
            SmcPolicy::default()
        );
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        for text in [
            "8400ff01",
            "0x",
            "0x123456789",
            "0x1-",
            "0x1-0x2-0x3",
            "SiP",
        ] {
            refused(&format!("forward = [\"{text}\"]"), "line 5", "names no SMC");
        }
    }

    #[test]
    fn a_backward_range_is_refused() {
        refused(
            "deny = [\"0x82000002-0x82000001\"]",
            "guest vm1: smc.deny",
            "ends before it starts",
        );
    }

    #[test]
    fn too_many_ranges_are_refused() {
        let ranges = vec!["\"0x82000000\""; SMC_RANGES_MAX + 1].join(", ");
        for list in ["forward", "deny"] {
            refused(
                &format!("{list} = [{ranges}]"),
                &format!("guest vm1: smc.{list}"),
                "more than 16",
            );
        }
    }

    #[test]
    fn what_the_hypervisor_or_a_mediator_serves_is_not_forwarded() {
        for text in [
            "0x80000000",
            "0x84000008",
            "0x8400fef0-0x8400ff01",
            "0x8600ff01",
            "0xb2000004",
            "0x32000004",
            "0x82000000-0x83000000",
        ] {
            refused(
                &format!("forward = [\"{text}\"]"),
                "guest vm1: smc.forward",
                "can't be forwarded",
            );
        }
        for text in [
            "0x8400ff00-0x8400ff03",
            "0xc2000000-0xc200ffff",
            "0xb0000000",
        ] {
            assert!(parse(&format!("forward = [\"{text}\"]")).is_ok(), "{text}");
        }
    }
}
