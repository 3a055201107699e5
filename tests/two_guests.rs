//! Two guests share one OP-TEE, at the same time.

use end_to_end::Scenario;

#[test]
fn two_guests_run_xtest_at_the_same_time() {
    let outcome = Scenario::of("two-guests.toml").run();
    outcome.assert_passed();

    let (vm1, vm2) = (outcome.guest("vm1"), outcome.guest("vm2"));
    for guest in [vm1, vm2] {
        assert_eq!(guest.exit_status, Some(0));
        assert_eq!(guest.optee.as_deref(), Some("4.10"), "{}", guest.name);
        let log = outcome.log(&guest.name);
        let summary = log
            .lines()
            .find(|line| line.contains("test cases of which 0 failed"));
        outcome.assert(summary.is_some(), "xtest says that no case failed");
        outcome.assert(
            log.contains("regression_1004") && log.contains("pkcs11_1004"),
            "the job is the regression and the PKCS#11 cases",
        );
    }
    assert_eq!(vm1.kernel, vm2.kernel);

    let interval = |guest: &qemu::run::report::GuestReport| guest.started.zip(guest.ended);
    let overlap = interval(vm1)
        .zip(interval(vm2))
        .map(|((start1, end1), (start2, end2))| {
            let longest = (end1 - start1).min(end2 - start2);
            (end1.min(end2) - start1.max(start2)) / longest
        });
    outcome.assert(
        overlap.is_some_and(|overlap| overlap > 0.5),
        "the shorter job runs for the most part while the other one does",
    );

    let log = outcome.log("bulkhead");
    for line in ["vm1: off", "vm2: off", "all guests are off"] {
        outcome.assert(log.lines().any(|l| l == line), line);
    }
}

#[test]
fn the_same_with_all_that_a_cpu_can_have() {
    let mut scenario = Scenario::of("two-guests.toml")
        .exec("vm1", "xtest 1001 1004")
        .exec("vm2", "xtest 1001 1004");
    scenario.options.overrides.cpu = Some("max,pauth-impdef=on".to_owned());
    let outcome = scenario.run();
    outcome.assert_passed();
    for guest in ["vm1", "vm2"] {
        let log = outcome.log(guest);
        outcome.assert(
            log.contains("of which 0 failed") && log.contains("pkcs11_1004"),
            "xtest passes",
        );
    }
}
