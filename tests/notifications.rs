//! Asynchronous notifications: OP-TEE's own test of them (`core/tests/notif_test_wd.c`) notifies
//! each guest every second and expects it to call back before the next time.

use end_to_end::Scenario;

/// Succeeds if Linux enabled notifications and gets more of them while it sleeps.
const SCRIPT: &str = "dmesg | grep 'Asynchronous notifications enabled' || exit 1
    count() { awk '/optee_notification/ { n = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i; print n }' /proc/interrupts; }
    before=$(count); sleep 4; after=$(count)
    echo \"notifications: $before, then $after\"
    test \"$after\" -ge $((before + 2))";

/// Runs the script in these guests of a machine and looks at what OP-TEE, which knows them by
/// numbers from 1 on, says of them.
fn all_are_notified(config: &str, guests: &[&str]) {
    let script = SCRIPT.replace('\n', ";");
    let scenario = guests.iter().fold(Scenario::of(config), |scenario, guest| {
        scenario.exec(guest, &script)
    });
    let outcome = scenario.run();
    outcome.assert_passed();
    // OP-TEE counts for each client how often the guest did not call back in time.
    let log = outcome.log("secure-world");
    for client in 1..=guests.len() {
        let in_time = format!("WD {client} call_count 3, timeout_count 0");
        outcome.assert(log.contains(&in_time), &in_time);
    }
}

#[test]
fn both_guests_are_notified_at_the_same_time() {
    all_are_notified("two-guests.toml", &["vm1", "vm2"]);
}

#[test]
fn four_guests_are_notified_at_the_same_time() {
    all_are_notified("four-guests.toml", &["vm1", "vm2", "vm3", "vm4"]);
}
