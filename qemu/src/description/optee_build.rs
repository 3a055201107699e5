//! How an OP-TEE for these machines is built, and what of it is the user's to say.

/// OP-TEE's images, of which the last may be empty.
pub(crate) const OPTEE_IMAGES: [&str; 3] = [
    "tee-header_v2.bin",
    "tee-pager_v2.bin",
    "tee-pageable_v2.bin",
];

/// The fewest guests that an OP-TEE is built for: as many as Debian's package is, so that most
/// machines have the same one. Also a machine whose guests have no TEE boots with one.
pub const GUESTS_MIN: usize = 2;

/// The most guests that an OP-TEE is built for. A sixth of its memory is not enough to load two TAs
/// of which one calls the other (xtest 1008 gets OUT_OF_MEMORY); a fifth is.
pub const GUESTS_MAX: usize = 5;

/// How OP-TEE is built whatever the user says (OP-TEE 4.10, `mk/config.mk` and
/// `core/arch/arm/plat-vexpress/conf.mk`): what this machine, its other parts and its guests rest
/// on.
const FIXED: &[&str] = &[
    "CROSS_COMPILE=aarch64-linux-gnu-",
    "CROSS_COMPILE64=aarch64-linux-gnu-",
    "PLATFORM=vexpress-qemu_armv8a",
    "CFG_ARM64_core=y",
    "CFG_USER_TA_TARGETS=ta_arm64",
    "CFG_ARM_GICV3=y",
    "CFG_NS_VIRTUALIZATION=y",
    // A build in a checkout would take that checkout's revision for its own.
    "CFG_OS_REV_REPORTS_GIT_SHA1=n",
];

/// The further variable that holds the number of guests.
const GUEST_COUNT: &str = "CFG_VIRT_GUEST_COUNT";

/// How OP-TEE is built unless the user says otherwise.
const DEFAULTS: &[&str] = &[
    // As Debian builds it: each session opened and closed is a line of the log.
    "CFG_TEE_CORE_LOG_LEVEL=3",
    // Without its assertions, some of which a guest can make fail, by which OP-TEE would halt for
    // all (docs/optee-versions.md).
    "CFG_TEE_CORE_DEBUG=n",
    // With the CPU's instructions for AES and SHA, which Debian's build leaves out.
    "CFG_CRYPTO_WITH_CE=y",
];

/// Options of a build of this version for a number of guests, as make takes them, with the user's
/// own `flags`, `CFG_NAME=VALUE` each.
#[must_use]
pub(crate) fn options(version: &str, guests: usize, flags: &[String]) -> Vec<String> {
    let defaults = DEFAULTS
        .iter()
        .filter(|default| !flags.iter().any(|flag| name(flag) == name(default)));
    FIXED
        .iter()
        .chain(defaults)
        .map(|option| (*option).to_owned())
        .chain([
            format!("{GUEST_COUNT}={guests}"),
            format!("TEE_IMPL_VERSION={version}"),
        ])
        .chain(flags.iter().cloned())
        .collect()
}

/// Says why an option of the user's can't be taken, if it can't.
#[must_use]
pub fn flaw(flag: &str) -> Option<&'static str> {
    let Some((name, value)) = flag.split_once('=') else {
        return Some("has no form NAME=VALUE");
    };
    let is_name = name.strip_prefix("CFG_").is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    // The value goes through make and a shell.
    let is_value = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-+.,:/".contains(&byte));
    if !is_name {
        Some("sets none of OP-TEE's options, whose names begin with CFG_")
    } else if !is_value {
        Some("has a value with characters other than letters, digits and _-+.,:/")
    } else if name == GUEST_COUNT {
        Some("sets the number of guests, which is that of the description")
    } else if FIXED.iter().any(|fixed| self::name(fixed) == name) {
        Some("sets what the machine rests on")
    } else {
        None
    }
}

/// The name in `NAME=VALUE`.
fn name(option: &str) -> &str {
    option.split_once('=').map_or(option, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_can_t_be_taken_are_told_apart() {
        for flag in ["CFG_CRYPTO_WITH_CE=n", "CFG_CORE_HEAP_SIZE=98304", "CFG_X="] {
            assert_eq!(flaw(flag), None, "{flag}");
        }
        for (flag, part) in [
            ("CFG_CRYPTO_WITH_CE", "NAME=VALUE"),
            ("O=/elsewhere", "begin with CFG_"),
            ("CFG_=y", "begin with CFG_"),
            ("CFG_A B=y", "begin with CFG_"),
            ("CFG_X=$(shell true)", "characters"),
            ("CFG_X=a b", "characters"),
            ("CFG_VIRT_GUEST_COUNT=9", "number of guests"),
            ("CFG_NS_VIRTUALIZATION=n", "rests on"),
        ] {
            let flaw = flaw(flag).unwrap_or_default();
            assert!(flaw.contains(part), "{flag}: {flaw}");
        }
    }
}
