//! A guest that starts again and again leaves nothing behind, and the others do not notice.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::Scenario;
use qemu::operator::{DETACH, Operator};

/// How often a guest is restarted while the other one runs xtest.
const RESTARTS: u32 = 200;

/// For what takes a moment.
const LIMIT: Duration = Duration::from_secs(30);

/// Both of what the hypervisor says of a guest on `stats`: its own counters and those of its TEE.
fn stats(operator: &mut Operator, guest: &str) -> Result<(String, String)> {
    let own = format!("{guest}: ");
    let tee = format!("{guest}: TEE: ");
    let first = operator.ask("stats", LIMIT, |line| {
        line.starts_with(&own) && line.contains(" starts, ")
    })?;
    let second = operator.wait_for("bulkhead", LIMIT, |line| line.starts_with(&tee))?;
    Ok((first, second))
}

/// What a guest holds now: the pages that the secure world knows, its buffers and their pages. How many calls are under
/// way depends on the moment.
fn held(stats: &(String, String)) -> (String, String) {
    let pages = stats.0.rsplit(", ").next().unwrap_or_default();
    let now = stats.1.rsplit("; now ").next().unwrap_or_default();
    let now = now.rsplit_once(", ").map_or(now, |(held, _calls)| held);
    (pages.to_owned(), now.to_owned())
}

#[test]
#[ignore = "takes minutes: cargo test --release -p end-to-end --test restarts -- --ignored"]
fn a_guest_that_is_restarted_leaves_nothing_and_disturbs_nobody() {
    let scenario = Scenario::described(
        r#"
        [machine]
        cpus = 2
        memory = "2GiB"

        [[guest]]
        name = "vm1"
        memory = "512MiB"
        cpus = [0, 1]
        job = "for n in 1 2 3; do xtest 1001 1004 1008 4001 6001 || exit 1; done"

        [[guest]]
        name = "vm2"
        memory = "16MiB"
        cpus = [1]
        payload = "tee_user"
        "#,
    )
    .may_restart("vm2")
    .timeout(600);
    let (outcome, (first, last)) = scenario.attend(|mut operator| {
        let occupied =
            |operator: &mut Operator| operator.wait_for("vm2", LIMIT, |line| line == "@@occupied");
        operator.wait_for("vm1", 4 * LIMIT, |line| line.contains("Core self tests"))?;
        operator.command("restart vm2")?;
        occupied(&mut operator)?;
        let first = held(&stats(&mut operator, "vm2")?);
        for n in 2..=RESTARTS {
            operator.command("restart vm2")?;
            occupied(&mut operator).with_context(|| format!("after restart {n}"))?;
        }
        let last = stats(&mut operator, "vm2")?;
        ensure!(
            last.0
                .starts_with(&format!("vm2: {} starts, ", RESTARTS + 1)),
            "{last:?}"
        );
        let list = operator.ask("list", LIMIT, |line| line.starts_with("vm1: "))?;
        ensure!(
            list.contains(": running, "),
            "the restarts took longer than xtest"
        );
        operator.ask("destroy vm2", LIMIT, |line| line == "vm2: off")?;
        let after = operator.ask("stats", LIMIT, |line| line.starts_with("vm2: "))?;
        ensure!(
            after.ends_with(", 0 pages known to the secure world"),
            "{after}"
        );
        Ok((first, held(&last)))
    });
    outcome.assert_passed();
    outcome.assert(first == last, &format!("{first:?} is {last:?}"));
    let vm2 = outcome.guest("vm2");
    outcome.assert(
        vm2.resets == RESTARTS,
        "vm2 was reset as often as it was told",
    );
    outcome.assert(
        !outcome.log("vm2").contains("@@failed"),
        "the TEE served vm2 in each of its lives",
    );
    outcome.assert(
        outcome
            .log("vm1")
            .matches("test cases of which 0 failed")
            .count()
            == 3,
        "xtest passes in vm1",
    );
    outcome.assert(
        !outcome.log("bulkhead").contains("still known"),
        "no page stays with the secure world",
    );
}

#[test]
#[ignore = "takes minutes: cargo test --release -p end-to-end --test restarts -- --ignored"]
fn a_guest_that_reboots_or_panics_comes_back() {
    let scenario = Scenario::of("two-guests.toml")
        .exec(
            "vm2",
            "xtest -t regression 1004 || exit 1; echo ready; read -r what
            case $what in
            reboot) reboot -f ;;
            panic) echo c >/proc/sysrq-trigger ;;
            esac
            test \"$what\" = off",
        )
        .may_restart("vm2")
        .timeout(300);
    let (outcome, ()) = scenario.attend(|mut operator| {
        for what in ["reboot", "panic", "off"] {
            operator.wait_for("vm2", 4 * LIMIT, |line| line == "ready")?;
            operator.ask("attach vm2", LIMIT, |line| {
                line.starts_with("vm2: attached")
            })?;
            operator.type_in(format!("{what}\r").as_bytes())?;
            if what != "off" {
                operator.wait_for("bulkhead", LIMIT, |line| line == "vm2: reset")?;
            }
            operator.type_in(&[DETACH])?;
        }
        Ok(())
    });
    outcome.assert_passed();
    assert_eq!(outcome.guest("vm2").resets, 2);
    assert_eq!(outcome.guest("vm1").resets, 0);
    let passes = outcome.log("vm2").matches(" of which 0 failed").count();
    outcome.assert(passes == 2 * 3, "xtest passes in each life");
}
