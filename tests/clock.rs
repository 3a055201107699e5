//! The time of day in guests.

use std::time::{SystemTime, UNIX_EPOCH};

use end_to_end::Scenario;

/// The time here, in seconds since 1970.
fn here() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.expect("it is after 1970").as_secs()
}

/// Says the time, and the time of another day on which it sets its clock; then that of the clock.
const SETS_ITS_CLOCK: &str = "date +@@time=%s; date -s @1000000000 && hwclock -u -w && date -s @0 && hwclock -u -s && date +@@set=%s";

/// Says the time after the other guest has set its clock.
const WAITS: &str = "read -r -t 60 line; hwclock -u -s && date +@@time=%s";

#[test]
fn guests_know_the_time_and_each_sets_its_own_clock() {
    let before = here();
    let (outcome, ()) = Scenario::described(
        r#"
        [machine]
        cpus = 2
        memory = "1GiB"
        mediators = []

        [[guest]]
        name = "vm1"
        memory = "256MiB"
        cpus = [0]
        tee = "none"

        [[guest]]
        name = "vm2"
        memory = "256MiB"
        cpus = [1]
        tee = "none"
        "#,
    )
    .exec("vm1", SETS_ITS_CLOCK)
    .exec("vm2", WAITS)
    .attend(|mut operator| {
        operator.wait_for("bulkhead", std::time::Duration::from_secs(120), |line| {
            line == "vm1: off"
        })?;
        operator.tell("vm2", b"go on\r")
    });
    outcome.assert_passed();
    let after = here();
    let said = |guest: &str, what: &str| {
        let log = outcome.log(guest);
        let time = log.lines().find_map(|line| line.trim().strip_prefix(what));
        time.and_then(|time| time.parse::<u64>().ok()).unwrap_or(0)
    };
    for guest in ["vm1", "vm2"] {
        let time = said(guest, "@@time=");
        outcome.assert(
            (before - 1..=after + 1).contains(&time),
            &format!("{guest} says that it is {time}, between {before} and {after}"),
        );
    }
    let set = said("vm1", "@@set=");
    outcome.assert(
        (1_000_000_000..1_000_000_060).contains(&set),
        &format!("vm1's clock is as it was set: {set}"),
    );
}
