//! Which trusted applications a guest may open, and how often it may call.

use end_to_end::Scenario;

/// TEEC_ERROR_ACCESS_DENIED, as xtest prints it.
const ACCESS_DENIED: &str = "0xffff0001";

#[test]
fn a_guest_opens_what_its_lists_allow_and_nothing_else() {
    // Both may use xtest's own TA of case 1006; one because it is all that is allowed, one because
    // only the TA of case 1004 and the pseudo-TA of case 1001 are denied.
    let outcome = Scenario::described(
        r#"
        [machine]
        cpus = 2
        memory = "2GiB"

        [[guest]]
        name = "only"
        memory = "384MiB"
        [guest.tas]
        allow = ["5b9e0e40-2636-11e1-ad9e-0002a5d5c51b"]

        [[guest]]
        name = "but"
        memory = "384MiB"
        [guest.limits]
        tee-calls-per-second = 200
        [guest.tas]
        deny = ["cb3e5ba0-adf1-11e0-998b-0002a5d5c51b", "d96a5b40-c3e5-21e3-8794-1002a5d5c61b"]
        "#,
    )
    .exec("only", SCRIPT)
    .exec("but", SCRIPT)
    .run();
    outcome.assert_passed();
    for guest in ["only", "but"] {
        let log = outcome.log(guest);
        outcome.assert(
            log.contains(ACCESS_DENIED),
            "a session that is not allowed is refused as such",
        );
    }
}

/// Case 1001 has OP-TEE test itself, by a part of it that a guest can halt it through.
#[test]
fn a_guest_without_lists_opens_all_but_op_tee_s_tests() {
    let outcome = Scenario::described(
        r#"
        [machine]
        cpus = 1
        memory = "1GiB"

        [[guest]]
        name = "vm1"
        memory = "384MiB"
        job = "xtest -t regression 1004 && xtest -t regression 1006 && ! xtest -t regression 1001"
        "#,
    )
    .run();
    outcome.assert_passed();
    let log = outcome.log("vm1");
    outcome.assert(
        log.contains(ACCESS_DENIED),
        "a session with OP-TEE's tests is refused as such",
    );
}

/// Succeeds if case 1006 passes and cases 1001 and 1004 do not.
const SCRIPT: &str =
    "xtest -t regression 1006 && ! xtest -t regression 1001 && ! xtest -t regression 1004";
