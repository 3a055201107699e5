//! Which OP-TEE a machine gets, and how many guests it has room for.

use std::path::Path;

use super::optee_build::{self, OPTEE_IMAGES};
use super::{ConfigError, Description, Optee, Refusals};
use host_abi::binding::{TA_INSTANCES_MAX, TeeChoice};

/// Guests that OP-TEE, as Debian builds it, has room for (`CFG_VIRT_GUEST_COUNT`).
const DEBIAN_GUESTS_MAX: usize = 2;

/// What `optee` stands for when it is left out.
const DEFAULT: &str = "source";

/// Takes `optee` and `optee-flags`, of which a path is relative to `folder`.
pub(super) fn choose(
    refuse: Refusals<'_>,
    folder: &Path,
    optee: Option<&str>,
    flags: Option<Vec<String>>,
    has_own_firmware: bool,
) -> Result<Optee, ConfigError> {
    let is_built = optee.unwrap_or(DEFAULT) == "source" && !has_own_firmware;
    if flags.is_some() && !is_built {
        return Err(refuse.at(
            "machine: optee-flags",
            "only an OP-TEE that is built from source can be told how",
            "Write optee = \"source\", or leave out `optee-flags`.",
        ));
    }
    if optee == Some("source") && has_own_firmware {
        return Err(refuse.at(
            "machine: optee",
            "a firmware of your own has its OP-TEE in it, so that none needs building",
            "Leave out `optee`, or leave out `firmware`.",
        ));
    }
    match optee.unwrap_or(DEFAULT) {
        "debian" => Ok(Optee::Debian),
        "source" => {
            let flags = flags.unwrap_or_default();
            let flaw = flags
                .iter()
                .find_map(|flag| Some((flag, optee_build::flaw(flag)?)));
            if let Some((flag, flaw)) = flaw {
                return Err(refuse.at(
                    "machine: optee-flags",
                    format!("`{flag}` {flaw}"),
                    "Write, say, optee-flags = [\"CFG_CRYPTO_WITH_CE=n\"].",
                ));
            }
            Ok(Optee::Source { flags })
        }
        path => {
            let images = folder.join(path);
            // An empty file is fine: an OP-TEE without paging has nothing pageable.
            if let Some(missing) = OPTEE_IMAGES
                .map(|name| images.join(name))
                .into_iter()
                .find(|image| !image.is_file())
            {
                return Err(refuse.at(
                    "machine: optee",
                    format!("there is no file {}", missing.display()),
                    "Leave it out or write \"source\" for the newest OP-TEE, \"debian\" for that of Debian's stable release, or the \
                     path of a folder with tee-header_v2.bin, tee-pager_v2.bin and tee-pageable_v2.bin.",
                ));
            }
            Ok(Optee::Folder(images))
        }
    }
}

/// Refuses more guests with OP-TEE than there is room for.
pub(super) fn check_room(
    refuse: Refusals<'_>,
    description: &Description,
) -> Result<(), ConfigError> {
    let (room, whose, remedy) = match &description.machine.optee {
        // What a firmware or an OP-TEE of the user's own has room for is not known.
        _ if description.machine.firmware.is_some() => return Ok(()),
        Optee::Folder(_) => return Ok(()),
        Optee::Debian => (
            DEBIAN_GUESTS_MAX,
            "Debian's OP-TEE",
            "Leave out `optee` in [machine] for an OP-TEE that is built with room for all, or write tee = \"none\" for this \
             guest.",
        ),
        Optee::Source { .. } => (
            optee_build::GUESTS_MAX,
            "OP-TEE's secure memory",
            "Write tee = \"none\" for this guest.",
        ),
    };
    let mut with_tee = description
        .guests
        .iter()
        .filter(|guest| guest.tee == TeeChoice::Optee);
    match with_tee.nth(room) {
        Some(guest) => Err(refuse.at(
            format!("guest {}: tee", guest.name),
            format!("{whose} has room for {room} guests, and this is one more"),
            remedy,
        )),
        None => Ok(()),
    }
}

/// Refuses shares of OP-TEE's identifiers that are more than there are, or leave none for a guest
/// that names no share (`share_identifiers`, `hypervisor/src/description/guest.rs`).
pub(super) fn check_identifiers(
    refuse: Refusals<'_>,
    description: &Description,
) -> Result<(), ConfigError> {
    let (mut named, mut others) = (0_u32, 0_u32);
    for guest in &description.guests {
        match guest.limits.ta_instances_max {
            _ if guest.tee == TeeChoice::None => {}
            Some(share) => named = named.saturating_add(share.get()),
            None => others = others.saturating_add(1),
        }
    }
    if named.saturating_add(others) <= TA_INSTANCES_MAX {
        return Ok(());
    }
    let problem = if named > TA_INSTANCES_MAX {
        format!(
            "the guests name {named} together, and OP-TEE has {TA_INSTANCES_MAX} for all of them"
        )
    } else {
        format!(
            "the guests name {named} together, and of OP-TEE's {TA_INSTANCES_MAX} that leaves too few for those that name \
             none ({others})"
        )
    };
    Err(refuse.at(
        "the guests' limits.ta-instances-max",
        problem,
        "Name less, or leave the field out for guests that share the rest evenly.",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::description::Overrides;

    /// A machine with these fields and this many guests with OP-TEE.
    fn machine(fields: &str, guests: usize) -> String {
        let guests: String = (1..=guests)
            .map(|number| format!("[[guest]]\nname = \"vm{number}\"\nmemory = \"256MiB\"\n"))
            .collect();
        format!("[machine]\n{fields}\n{guests}")
    }

    fn parse(text: &str) -> Result<Description, ConfigError> {
        Description::parse(Path::new("machine.toml"), text, &Overrides::default())
    }

    #[track_caller]
    fn refused(text: &str, place: &str, problem: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(problem), "{error}");
        error.remedy
    }

    #[test]
    fn a_third_guest_is_refused_with_debian_s_build_as_one_more_than_it_has_room_for() {
        let text = machine("optee = \"debian\"", 3);
        let remedy = refused(&text, "guest vm3: tee", "room for 2 guests");
        assert!(remedy.contains("Leave out `optee`"), "{remedy}");
        assert!(parse(&format!("{text}tee = \"none\"")).is_ok());
    }

    #[test]
    fn a_build_from_source_is_for_all_guests_with_a_tee() {
        for fields in ["", "optee = \"source\""] {
            let text = machine(fields, 4);
            let description = parse(&format!("{text}tee = \"none\"\n")).unwrap();
            assert_eq!(
                description.machine.optee,
                Optee::Source { flags: Vec::new() }
            );
            assert_eq!(description.optee_guests(), 3);
        }
    }

    #[test]
    fn debian_s_build_is_taken_where_it_is_named() {
        let description = parse(&machine("optee = \"debian\"", 2)).unwrap();
        assert_eq!(description.machine.optee, Optee::Debian);
    }

    #[test]
    fn more_guests_than_secure_memory_holds_are_refused() {
        let most = optee_build::GUESTS_MAX;
        assert!(parse(&machine("optee = \"source\"", most)).is_ok());
        refused(
            &machine("optee = \"source\"", most + 1),
            &format!("guest vm{}: tee", most + 1),
            &format!("room for {most} guests"),
        );
    }

    #[test]
    fn a_third_guest_is_left_to_an_optee_of_the_user_s_own() {
        let folder = TempDir::new().unwrap();
        for name in OPTEE_IMAGES {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let own = format!("optee = {:?}", folder.path());
        assert!(parse(&machine(&own, 3)).is_ok());
    }

    #[test]
    fn a_third_guest_is_left_to_a_firmware_of_the_user_s_own() {
        let folder = TempDir::new().unwrap();
        let firmware = folder.path().join("fw.bios");
        fs::write(&firmware, "x").unwrap();
        assert!(parse(&machine(&format!("firmware = {firmware:?}"), 3)).is_ok());
    }

    #[test]
    fn a_build_beside_a_firmware_that_brings_its_own_is_refused() {
        let folder = TempDir::new().unwrap();
        let firmware = folder.path().join("fw.bios");
        fs::write(&firmware, "x").unwrap();
        let fields = format!("optee = \"source\"\nfirmware = {firmware:?}");
        refused(&machine(&fields, 1), "machine: optee", "firmware");
        let fields = format!("optee-flags = []\nfirmware = {firmware:?}");
        refused(&machine(&fields, 1), "machine: optee-flags", "built");
    }

    #[test]
    fn flags_reach_the_build() {
        for optee in ["", "optee = \"source\"\n"] {
            let fields = format!("{optee}optee-flags = [\"CFG_CRYPTO_WITH_CE=n\"]");
            let flags = vec!["CFG_CRYPTO_WITH_CE=n".to_owned()];
            let description = parse(&machine(&fields, 1)).unwrap();
            assert_eq!(description.machine.optee, Optee::Source { flags });
        }
    }

    #[test]
    fn flags_without_a_build_are_refused() {
        let text = machine("optee = \"debian\"\noptee-flags = []", 1);
        refused(&text, "machine: optee-flags", "built from source");
    }

    #[test]
    fn flags_that_can_t_be_taken_are_refused() {
        for flag in ["CFG_CRYPTO_WITH_CE", "CFG_VIRT_GUEST_COUNT=9"] {
            let fields = format!("optee = \"source\"\noptee-flags = [{flag:?}]");
            refused(&machine(&fields, 1), "machine: optee-flags", flag);
        }
    }

    #[test]
    fn images_that_are_not_there_are_refused() {
        refused(
            &machine("optee = \"missing\"", 1),
            "machine: optee",
            "missing/tee-header_v2.bin",
        );
    }
}
