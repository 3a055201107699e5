//! Four guests use an OP-TEE that was built for four, at the same time.

use end_to_end::Scenario;

#[test]
fn four_guests_run_xtest_at_the_same_time() {
    let outcome = Scenario::of("four-guests.toml").run();
    outcome.assert_passed();
    assert_eq!(outcome.report.guests.len(), 4);

    let optee = outcome.report.versions.optee.as_ref();
    let version = optee.and_then(|optee| optee.version.as_deref());
    for guest in &outcome.report.guests {
        assert_eq!(guest.exit_status, Some(0), "{}", guest.name);
        outcome.assert(
            version
                .zip(guest.optee.as_deref())
                .is_some_and(|(built, seen)| built.starts_with(&format!("{seen}."))),
            "the guest sees the OP-TEE that was built",
        );
        outcome.assert(
            outcome
                .log(&guest.name)
                .contains("test cases of which 0 failed"),
            "xtest says that no case failed",
        );
    }

    let jobs: Option<Vec<_>> = outcome
        .report
        .guests
        .iter()
        .map(|guest| guest.started.zip(guest.ended))
        .collect();
    let together = jobs.map(|jobs| {
        let last_start = jobs.iter().map(|job| job.0).fold(f64::MIN, f64::max);
        let first_end = jobs.iter().map(|job| job.1).fold(f64::MAX, f64::min);
        let shortest = jobs
            .iter()
            .map(|job| job.1 - job.0)
            .fold(f64::MAX, f64::min);
        (first_end - last_start) / shortest
    });
    outcome.assert(
        together.is_some_and(|together| together > 0.5),
        "the shortest job runs for the most part while all others do",
    );
}

#[test]
fn four_guests_go_through_the_abi_at_the_same_time() {
    let mut description =
        String::from("[machine]\ncpus = 4\nmemory = \"1GiB\"\noptee = \"source\"\n");
    for n in 1..=4 {
        let (own, next) = (n - 1, n % 4);
        description.push_str(&format!(
            "[[guest]]\nname = \"vm{n}\"\nmemory = \"64MiB\"\ncpus = [{own}, {next}]\npayload = \"tee_abi\"\n[guest.tas]\ndeny = []\n"
        ));
    }
    let outcome = Scenario::described(&description).run();
    outcome.assert_passed();
    for n in 1..=4 {
        let log = outcome.log(&format!("vm{n}"));
        let done = log.lines().find_map(|line| line.strip_prefix("@@done "));
        outcome.assert(
            done.is_some_and(|counts| counts.ends_with(" failed=0")),
            &format!("no case failed in vm{n}: {done:?}"),
        );
    }
}
