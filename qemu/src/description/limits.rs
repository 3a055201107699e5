//! What a guest may have of shared memory and of its TEE: `[guest.limits]`.

use std::num::NonZeroU32;

use host_abi::binding::{
    DEFAULT_SHM_BUFFER_BYTES, DEFAULT_SHM_TOTAL_BYTES, SHM_BUFFERS_MAX, SHM_BYTES_MAX,
    SHM_BYTES_MIN, TA_INSTANCES_MAX, TeeChoice,
};

use super::error::{ConfigError, Refusals};
use super::file::LimitsTable;
use super::size::Size;

/// Limits of a guest; `None` leaves the hypervisor's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest shared buffer.
    pub shm_buffer_max: Option<Size>,
    /// Shared buffers at once.
    pub shm_buffers_max: Option<u32>,
    /// All shared buffers together.
    pub shm_total_max: Option<Size>,
    /// Calls of the TEE that begin in a second.
    pub tee_calls_per_second: Option<NonZeroU32>,
    /// Instances of trusted applications at once.
    pub ta_instances_max: Option<NonZeroU32>,
}

/// What one shared buffer, and all of them, may have where a description says nothing.
const SHM_BUFFER_DEFAULT: Size = Size::bytes(DEFAULT_SHM_BUFFER_BYTES);
const SHM_TOTAL_DEFAULT: Size = Size::bytes(DEFAULT_SHM_TOTAL_BYTES);
const SHM_MIN: Size = Size::bytes(SHM_BYTES_MIN);
const SHM_MAX: Size = Size::bytes(SHM_BYTES_MAX);

/// Checks the limits of the guest `name`, each by itself.
pub(super) fn check(
    refuse: Refusals<'_>,
    name: &str,
    tee: TeeChoice,
    table: &LimitsTable,
) -> Result<Limits, ConfigError> {
    let place = |field: &str| format!("guest {name}: limits.{field}");
    let number = |field: &str, value: Option<u32>, max: u32| match value {
        Some(value) if !(1..=max).contains(&value) => Err(refuse.at(
            place(field),
            format!("{value} is no number from 1 to {max}"),
            "Write one that is, or leave the field out.",
        )),
        _ => Ok(value.and_then(NonZeroU32::new)),
    };
    let size = |field: &str, value: Option<Size>| match value {
        Some(value) if !(SHM_MIN..=SHM_MAX).contains(&value) => Err(refuse.at(
            place(field),
            format!("{value} is no size from {SHM_MIN} to {SHM_MAX}"),
            "Write one that is, or leave the field out.",
        )),
        _ => Ok(value),
    };
    let shm_total_max = size("shm-total-max", table.shm_total_max)?;
    // Who allows less in all allows no more to one.
    let below = |total: &Size| *total < SHM_BUFFER_DEFAULT;
    let limits = Limits {
        shm_buffer_max: size("shm-buffer-max", table.shm_buffer_max)?
            .or(shm_total_max.filter(below)),
        shm_buffers_max: number("shm-buffers-max", table.shm_buffers_max, SHM_BUFFERS_MAX)?
            .map(NonZeroU32::get),
        shm_total_max,
        tee_calls_per_second: number("tee-calls-per-second", table.tee_calls_per_second, u32::MAX)?,
        ta_instances_max: number("ta-instances-max", table.ta_instances_max, TA_INSTANCES_MAX)?,
    };
    if tee == TeeChoice::None && limits != Limits::default() {
        return Err(refuse.at(
            format!("guest {name}: limits"),
            "a guest with tee = \"none\" has no TEE to use up",
            "Leave out the limits, or write tee = \"optee\".",
        ));
    }
    let total = limits.shm_total_max.unwrap_or(SHM_TOTAL_DEFAULT);
    if let Some(buffer) = limits.shm_buffer_max
        && buffer > total
    {
        return Err(refuse.at(
            place("shm-buffer-max"),
            format!("one buffer of {buffer} is more than all buffers together, {total}"),
            "Make shm-total-max at least as large as shm-buffer-max.",
        ));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::{Description, Overrides};

    /// A description with these fields of a guest's limits for each guest.
    fn parse(guests: &[&str]) -> Result<Description, ConfigError> {
        let text: String = (1..)
            .zip(guests)
            .map(|(number, fields)| {
                format!(
                    "[[guest]]\nname = \"vm{number}\"\nmemory = \"256MiB\"\n[guest.limits]\n{fields}\n"
                )
            })
            .collect();
        Description::parse(Path::new("machine.toml"), &text, &Overrides::default())
    }

    #[track_caller]
    fn refused(guests: &[&str], place: &str, problem: &str) {
        let error = parse(guests).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }

    #[test]
    fn limits_without_a_tee_are_refused() {
        let text = "[[guest]]\nname = \"vm1\"\nmemory = \"256MiB\"\ntee = \"none\"\n\
                    [guest.limits]\nshm-buffers-max = 1";
        let error = Description::parse(Path::new("machine.toml"), text, &Overrides::default());
        let error = error.unwrap_err();
        assert_eq!(error.place, "guest vm1: limits");
        assert!(error.problem.contains("has no TEE to use up"), "{error}");
    }

    #[test]
    fn numbers_that_the_hypervisor_refuses_are_refused() {
        for (field, wrong) in [
            ("shm-buffers-max", &[0, 65_537][..]),
            ("tee-calls-per-second", &[0]),
            ("ta-instances-max", &[0, 65]),
        ] {
            for wrong in wrong {
                let fields = format!("{field} = {wrong}");
                let place = format!("guest vm1: limits.{field}");
                refused(
                    &[&fields],
                    &place,
                    &format!("{wrong} is no number from 1 to "),
                );
            }
        }
        for right in [
            "shm-buffers-max = 1",
            "shm-buffers-max = 65536",
            "tee-calls-per-second = 4294967295",
            "ta-instances-max = 64",
        ] {
            parse(&[right]).unwrap();
        }
    }

    #[test]
    fn sizes_that_the_hypervisor_refuses_are_refused() {
        for field in ["shm-buffer-max", "shm-total-max"] {
            for wrong in ["0B", "4095B", "1025GiB"] {
                let fields = format!("{field} = \"{wrong}\"");
                let place = format!("guest vm1: limits.{field}");
                refused(&[&fields], &place, "is no size from 4 KiB to 1024 GiB");
            }
        }
        parse(&["shm-total-max = \"4KiB\""]).unwrap();
        parse(&["shm-total-max = \"1024GiB\"\nshm-buffer-max = \"1024GiB\""]).unwrap();
    }

    #[test]
    fn more_instances_than_op_tee_has_identifiers_are_refused() {
        let place = "the guests' limits.ta-instances-max";
        refused(
            &["ta-instances-max = 40", "ta-instances-max = 25"],
            place,
            "name 65 together",
        );
        parse(&["ta-instances-max = 40", "ta-instances-max = 24"]).unwrap();
        refused(&["ta-instances-max = 63", "", ""], place, "too few");
        parse(&["ta-instances-max = 62", "", ""]).unwrap();
    }

    #[test]
    fn a_buffer_limit_above_the_total_is_refused() {
        refused(
            &["shm-buffer-max = \"2MiB\"\nshm-total-max = \"1MiB\""],
            "guest vm1: limits.shm-buffer-max",
            "more than all buffers together",
        );
    }

    #[test]
    fn a_buffer_limit_above_the_hypervisor_s_total_is_refused() {
        refused(
            &["shm-buffer-max = \"257MiB\""],
            "guest vm1: limits.shm-buffer-max",
            "more than all buffers together, 256",
        );
    }

    #[test]
    fn a_total_limits_each_buffer_too() {
        let limits = |total| {
            let fields = format!("shm-total-max = \"{total}\"");
            parse(&[&fields]).unwrap().guests[0].limits
        };
        assert_eq!(limits("16MiB").shm_buffer_max, Some(Size::mib(16)));
        assert_eq!(limits("64MiB").shm_buffer_max, None);
    }
}
