//! Names of guests.

/// The tag of the hypervisor's own lines on the console. The others are the guests' names.
pub const HYPERVISOR_TAG: &str = "bulkhead";

/// Characters of a guest's name: what a node's name may have (Devicetree Specification 0.4,
/// §2.2.1).
pub const NAME_MAX: usize = 31;

/// Names that no guest may have, since they are others' on the console and among its logs.
pub const RESERVED_NAMES: [&str; 6] = [
    HYPERVISOR_TAG,
    "error",
    "firmware",
    "panic",
    "secure-world",
    "warning",
];

/// Whether a guest may have the name `name`: a letter, then letters, digits and `-`, all lower
/// case, at most [`NAME_MAX`] in all, and none of the [reserved ones](RESERVED_NAMES).
#[must_use]
pub fn is_guest_name(name: &str) -> bool {
    is_name(name) && !RESERVED_NAMES.contains(&name)
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_guests_are_those_of_nodes_in_lower_case() {
        for name in ["a", "vm1", "tv-set-2", "abcdefghijklmnopqrstuvwxyz01234"] {
            assert!(is_guest_name(name), "{name}");
        }
        for name in [
            "",
            "1vm",
            "-a",
            "Vm1",
            "vm_1",
            "vm 1",
            "vm1|",
            "vé",
            "abcdefghijklmnopqrstuvwxyz012345",
            "bulkhead",
            "panic",
            "secure-world",
        ] {
            assert!(!is_guest_name(name), "{name}");
        }
    }
}
