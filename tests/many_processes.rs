//! More processes call OP-TEE at the same time than it has threads.

use end_to_end::Scenario;

/// Processes in each guest; OP-TEE has two threads for a guest.
const PROCESSES: usize = 8;
/// How often each process goes through the cases.
const ROUNDS: usize = 3;

#[test]
fn eight_processes_in_each_of_two_guests_get_done() {
    // Case 1002 has OP-TEE work with values and buffers; case 1003 has several threads at once wait
    // for each other inside of OP-TEE. Both use pseudo-TAs, of which there is room for any number
    // of sessions.
    let script = format!(
        "for n in $(seq {PROCESSES}); do
            (for m in $(seq {ROUNDS}); do for case in 1002 1003; do
                xtest -t regression $case >/tmp/$n.$m.$case 2>&1 || {{ cat /tmp/$n.$m.$case; exit 1; }}
            done; done) &
            all=\"$all $!\"
        done
        for one in $all; do wait $one || failed=1; done
        test -z \"$failed\"; status=$?
        echo \"passed: $(cat /tmp/*.*.100? | grep -c '^1 test case of which 0 failed')\"
        exit $status"
    );
    let outcome = Scenario::of("two-guests.toml")
        .exec("vm1", &script)
        .exec("vm2", &script)
        .timeout(400)
        .run();
    outcome.assert_passed();
    for guest in ["vm1", "vm2"] {
        let all = format!("passed: {}", PROCESSES * ROUNDS * 2);
        let log = outcome.log(guest);
        outcome.assert(log.lines().any(|line| line == all), &all);
    }
}
