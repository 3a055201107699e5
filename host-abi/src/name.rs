//! Names of guests.

/// The tag of the hypervisor's own lines on the console. The others are the guests' names.
pub const HYPERVISOR_TAG: &str = "bulkhead";

/// Characters of a guest's name: what a node's name may have (Devicetree Specification 0.4,
/// §2.2.1).
pub const NAME_MAX: usize = 31;

/// Whether a guest may have the name `name`: a letter, then letters, digits and `-`, all lower
/// case, at most [`NAME_MAX`] in all, and not [the hypervisor's](HYPERVISOR_TAG).
#[must_use]
pub fn is_guest_name(name: &str) -> bool {
    name != HYPERVISOR_TAG
        && name.len() <= NAME_MAX
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
        ] {
            assert!(!is_guest_name(name), "{name}");
        }
    }
}
