//! A guest that attacks OP-TEE gets what it is owed and no more, and the others do not notice.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::{Outcome, Scenario};
use qemu::base::progress::Progress;
use qemu::parts::workloads;
use qemu::run::operator::Operator;

/// How often vm1 goes through its attacks while vm2 runs xtest. Each time it leaves what it leaves,
/// as it powers off.
const LIVES: u32 = 2;

/// For all attacks of a life, on a host that has other things to do, too.
const LIMIT: Duration = Duration::from_secs(300);

/// xtest again and again, until somebody types a line.
const XTEST_UNTIL_TOLD: &str =
    "while :; do xtest 1004 1008 4001 || exit 1; read -r -t 1 what && exit 0; done";

/// What vm2 says at the start of each round of [`XTEST_UNTIL_TOLD`].
const ROUND: &str = "Run test suite with level=0";

/// A machine on which vm1 runs the payload `hostile`, on vm2's CPU and on one of its own.
fn beside_xtest(optee: &str) -> Scenario {
    Scenario::described(&format!(
        r#"
        [machine]
        cpus = 2
        memory = "2GiB"
        optee = "{optee}"

        [[guest]]
        name = "vm1"
        memory = "64MiB"
        cpus = [0, 1]
        payload = "hostile"
        [guest.tas]
        deny = []
        [[guest.disk]]
        size = "16MiB"

        [[guest]]
        name = "vm2"
        memory = "512MiB"
        cpus = [1]
        job = "{XTEST_UNTIL_TOLD}"
        "#
    ))
    .may_restart("vm1")
    .timeout(1200)
}

/// Waits until vm1 has gone through its cases and is off.
fn attacked(operator: &mut Operator) -> Result<()> {
    let done = operator.wait_for("vm1", LIMIT, |line| line.starts_with("@@done "))?;
    ensure!(done.ends_with(" failed=0"), "{done}");
    operator.wait_for("bulkhead", LIMIT, |line| line == "vm1: off")?;
    Ok(())
}

/// Asserts that OP-TEE is well, and has translation tables left.
#[track_caller]
fn assert_op_tee_is_well(outcome: &Outcome) {
    let log = outcome.log("secure-world");
    for sign in ["Panic", "data-abort", "Halting", "exhausted"] {
        outcome.assert(!log.contains(sign), &format!("OP-TEE says no `{sign}`"));
    }
    // OP-TEE 4.5 tells how many translation tables there are.
    let full = log.lines().find(|line| {
        let counts = line
            .split_once("xlat tables used ")
            .map(|(_, counts)| counts.trim());
        counts
            .and_then(|counts| counts.split_once(" / "))
            .is_some_and(|(used, all)| used == all)
    });
    outcome.assert(full.is_none(), &format!("OP-TEE has tables left: {full:?}"));
}

fn attacks_beside_xtest(optee: &str) {
    let (outcome, ()) = beside_xtest(optee).attend(|mut operator| {
        // The first time, vm2 comes up meanwhile.
        attacked(&mut operator)?;
        for life in 1..LIVES {
            operator
                .wait_for("vm2", LIMIT, |line| line.contains(ROUND))
                .context("vm2 does not go on")?;
            operator.command("restart vm1")?;
            attacked(&mut operator).with_context(|| format!("after restart {life}"))?;
        }
        operator
            .wait_for("vm2", LIMIT, |line| line.contains(ROUND))
            .context("vm2 does not go on")?;
        operator.tell("vm2", b"enough\r")
    });
    outcome.assert_passed();
    assert_op_tee_is_well(&outcome);
    let vm2 = outcome.log("vm2");
    let rounds = vm2
        .lines()
        .filter(|line| line.contains("test cases of which 0 failed"));
    outcome.assert(
        rounds.count() >= LIVES as usize,
        "vm2's xtest passes in every round",
    );
}

#[test]
fn attacks_on_op_tee_4_5_do_not_reach_another_guest() {
    attacks_beside_xtest("debian");
}

#[test]
fn attacks_on_op_tee_from_source_do_not_reach_another_guest() {
    attacks_beside_xtest("source");
}

/// A guest's share of the 64 identifiers that OP-TEE has for address spaces: there are two guests.
const SHARE: u32 = 32;

/// How many sessions vm1 takes in each of its lives, each with an address space of its own.
const TAKEN: u32 = 28;

/// Sessions with applications that Linux may have open by itself, or that OP-TEE opens for
/// another's sake.
const OTHERS: u32 = 4;

/// How often vm1 resets itself under a call that never ends.
const RESETS: u32 = 6;

/// How many identifiers vm1 was charged with at the end of each life.
fn charges(log: &str) -> Vec<u32> {
    let told = log.lines().filter_map(|line| {
        let (_, count) = line
            .strip_prefix("warning: vm1: ")?
            .split_once("still runs for it, ")?;
        let (count, _) = count.split_once(" in all")?;
        count.parse().ok()
    });
    told.collect()
}

/// For Linux to come up and take its sessions.
const LIFE_LIMIT: Duration = Duration::from_secs(180);

fn identifiers_run_out_for_their_guest_alone(optee: &str) {
    let overlay = tempfile::tempdir().expect("a temporary folder can be made");
    workloads::overlay(&["session-hog"], overlay.path(), &Progress::silent())
        .expect("the program is built");
    let scenario = Scenario::described(&format!(
        r#"
        [machine]
        cpus = 2
        memory = "2GiB"
        optee = "{optee}"

        [[guest]]
        name = "vm1"
        memory = "512MiB"
        cpus = [0]
        job = "session-hog occupy {TAKEN}"

        [[guest]]
        name = "vm2"
        memory = "512MiB"
        cpus = [1]
        job = "while session-hog probe; do echo probed; read -r -t 1 what && exit 0; done; exit 1"
        "#
    ))
    .overlay("vm1", overlay.path())
    .overlay("vm2", overlay.path())
    .may_restart("vm1")
    .timeout(900);
    let (outcome, opened) = scenario.attend(|mut operator| {
        let mut opened: Vec<u32> = Vec::new();
        for life in 0..=RESETS {
            let line = operator
                .wait_for("vm1", LIFE_LIMIT, |line| line.starts_with("hog: opened "))
                .with_context(|| format!("in life {life}, after {opened:?}"))?;
            let count = line.rsplit_once(' ').map(|(_, count)| count.parse());
            opened.push(count.context("no number")??);
            if life < RESETS {
                operator.wait_for("bulkhead", LIFE_LIMIT, |line| line == "vm1: reset")?;
            }
        }
        operator.ask("destroy vm1", LIMIT, |line| line == "vm1: off")?;
        operator.wait_for("vm2", LIMIT, |line| line == "probed")?;
        operator.tell("vm2", b"enough\r")?;
        Ok(opened)
    });
    outcome.assert_passed();
    outcome.assert(
        !outcome.log("secure-world").contains("Halting"),
        "OP-TEE is well",
    );
    let charges = charges(&outcome.log("bulkhead"));
    eprintln!("vm1 opened {opened:?} and was charged with {charges:?}");
    outcome.assert(opened[0] == TAKEN, "the first life gets what it takes");
    // What the call that never ends keeps is lost; how much else is over in time depends on the
    // host.
    outcome.assert(
        charges.len() >= RESETS as usize && charges.is_sorted(),
        &format!("what a life leaves is charged to its guest: {charges:?}"),
    );
    for (opened, charge) in opened[1..].iter().zip(&charges) {
        let left = SHARE.saturating_sub(*charge);
        outcome.assert(
            *opened <= left && *opened >= left.saturating_sub(OTHERS).min(TAKEN),
            &format!("a life that is charged with {charge} opens {opened}"),
        );
    }
}

#[test]
fn identifiers_of_op_tee_4_5_run_out_for_their_guest_alone() {
    identifiers_run_out_for_their_guest_alone("debian");
}

#[test]
fn identifiers_of_op_tee_from_source_run_out_for_their_guest_alone() {
    identifiers_run_out_for_their_guest_alone("source");
}
