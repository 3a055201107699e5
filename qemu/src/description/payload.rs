//! `payload`: what a guest runs that has no operating system.

use super::file::GuestTable;
use super::{ConfigError, Refusals, Work};

/// The payloads of `guest-shim/`.
const PAYLOADS: &[&str] = &[
    "conformance",
    "dispatch_cost",
    "flood",
    "fuzz",
    "hostile",
    "restart",
    "tee_abi",
    "tee_limits",
    "tee_user",
    "timer_extremes",
    "trespass",
    "wake_up",
    "witness",
];

/// A payload stands for kernel, initramfs and job.
pub(super) fn choose(refuse: Refusals<'_>, table: &GuestTable) -> Result<Work, ConfigError> {
    let place = format!("guest {}: payload", table.name);
    let name = table.payload.clone().unwrap_or_default();
    if table.kernel.is_some() || table.initramfs.is_some() || table.job.is_some() {
        return Err(refuse.at(
            place,
            "a guest that runs a payload has no kernel, no initramfs and no job",
            "Leave out `payload`, or leave out `kernel`, `initramfs` and `job`.",
        ));
    }
    if !PAYLOADS.contains(&name.as_str()) {
        return Err(refuse.at(
            place,
            format!("there is no payload `{name}`"),
            format!("The payloads are: {}.", PAYLOADS.join(", ")),
        ));
    }
    Ok(Work::Payload(name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::{Description, GuestCommand, Mediator, Overrides};

    fn parse(machine: &str, guest: &str) -> Result<Description, ConfigError> {
        parse_with(machine, guest, &Overrides::default())
    }

    fn parse_with(
        machine: &str,
        guest: &str,
        overrides: &Overrides,
    ) -> Result<Description, ConfigError> {
        let text = format!(
            "[machine]\n{machine}\n[[guest]]\nname = \"vm1\"\nmemory = \"16MiB\"\n{guest}\n"
        );
        Description::parse(Path::new("m.toml"), &text, overrides)
    }

    #[test]
    fn a_payload_stands_for_kernel_initramfs_and_job() {
        let description = parse("", "payload = \"conformance\"").unwrap();
        let guest = &description.guests[0];
        assert_eq!(guest.work, Work::Payload("conformance".to_owned()));
        assert_eq!((&guest.kernel, &guest.initramfs), (&None, &None));
    }

    #[test]
    fn an_unknown_payload_is_refused() {
        let error = parse("", "payload = \"../kernel\"").unwrap_err();
        assert_eq!(error.place, "guest vm1: payload");
        assert!(error.problem.contains("there is no payload"), "{error}");
        assert!(error.remedy.contains("conformance"), "{error}");
    }

    #[test]
    fn a_payload_beside_a_job_is_refused() {
        let error = parse("", "payload = \"restart\"\njob = \"true\"").unwrap_err();
        assert_eq!(error.place, "guest vm1: payload");
        assert!(error.problem.contains("no job"), "{error}");
    }

    #[test]
    fn a_command_for_a_payload_is_refused() {
        let overrides = Overrides {
            exec: vec![GuestCommand {
                guest: "vm1".to_owned(),
                command: "true".to_owned(),
            }],
            ..Overrides::default()
        };
        let error = parse_with("", "payload = \"restart\"", &overrides).unwrap_err();
        assert_eq!(error.place, "--exec vm1");
        assert!(error.problem.contains("no shell"), "{error}");
    }

    #[test]
    fn the_mediators_are_those_that_are_named() {
        let payload = "payload = \"conformance\"\ntee = \"none\"";
        let mediators = |machine| parse(machine, payload).unwrap().machine.mediators;
        assert_eq!(mediators(""), [Mediator::Optee]);
        assert_eq!(mediators("mediators = [\"optee\"]"), [Mediator::Optee]);
        assert_eq!(mediators("mediators = []"), []);
        assert!(parse("mediators = [\"other\"]", payload).is_err());
    }

    #[test]
    fn a_tee_without_its_mediator_is_refused() {
        let error = parse("mediators = []", "payload = \"conformance\"").unwrap_err();
        assert_eq!(error.place, "guest vm1: tee");
        assert!(error.problem.contains("mediator"), "{error}");
    }
}
