//! A guest does what it wants with its timers, and the machine goes on (docs/qemu-faults.md).

use std::time::Duration;

use anyhow::Result;
use end_to_end::Scenario;

/// For the next thing that a guest says.
const LIMIT: Duration = Duration::from_secs(60);

/// Lines of the neighbour's that come after the other guest is off, each after 10 waits for its
/// timer.
const LINES_AFTER: usize = 5;

#[test]
fn a_timer_set_to_the_end_of_time_disturbs_no_neighbour() {
    let scenario = Scenario::described(
        r#"
        [machine]
        cpus = 2
        memory = "1GiB"
        mediators = []

        [[guest]]
        name = "vm1"
        memory = "16MiB"
        cpus = [0]
        payload = "timer_extremes"
        tee = "none"

        [[guest]]
        name = "vm2"
        memory = "16MiB"
        cpus = [1]
        payload = "wake_up"
        tee = "none"
        "#,
    )
    .may_restart("vm2");
    let (outcome, ()) = scenario.attend(|mut operator| -> Result<()> {
        operator.wait_for("vm1", LIMIT, |line| line == "@@stood")?;
        for _ in 0..LINES_AFTER {
            operator.wait_for("vm2", LIMIT, |line| line.starts_with("@@late "))?;
        }
        operator.command("destroy vm2")
    });
    outcome.assert_passed();
}
