//! What the hypervisor says that a guest costs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use end_to_end::Scenario;
use qemu::run::operator::{DETACH, Operator};

/// For what takes a moment.
const LIMIT: Duration = Duration::from_secs(60);

/// The number in front of `what` in the guest's bill.
fn amount(bill: &str, what: &str) -> Option<u64> {
    let (before, _) = bill.split_once(what)?;
    before.split_whitespace().last()?.parse().ok()
}

/// The hypervisor's bill for vm1.
fn bill(operator: &mut Operator) -> Result<String> {
    operator.ask("stats", LIMIT, |line| line.starts_with("vm1: EL2: "))
}

#[test]
fn a_bill_tells_what_el2_did_for_each_cause() {
    let mut scenario =
        Scenario::of("one-guest.toml").exec("vm1", "echo ready; read -r go; xtest 4001");
    scenario.options.overrides.icount = true;
    let (outcome, (idle, last)) = scenario.attend(|mut operator| {
        operator.wait_for("vm1", LIMIT, |line| line == "ready")?;
        let idle = bill(&mut operator)?;
        operator.ask("attach vm1", LIMIT, |line| {
            line.starts_with("vm1: attached")
        })?;
        operator.type_in(b"\r")?;
        operator.type_in(&[DETACH])?;
        operator.wait_for("vm1", 4 * LIMIT, |line| line.contains("of which 0 failed"))?;
        Ok((idle, bill(&mut operator)?))
    });
    outcome.assert_passed();
    let grown = |what: &str| -> Result<u64> {
        let (before, after) = (amount(&idle, what), amount(&last, what));
        let after = after.with_context(|| format!("{what} in {last}"))?;
        Ok(after - before.unwrap_or(0))
    };
    let calls = grown(" yielding TEE calls").expect("xtest calls OP-TEE");
    outcome.assert(calls > 100, &last);
    outcome.assert(amount(&last, " interrupts in").is_some(), &last);
    let (_, tee_calls) = last
        .split_once(" yielding TEE calls in ")
        .expect("the calls are there");
    let instructions = amount(tee_calls, " instructions").expect("instructions are counted");
    // Less than entering and leaving a guest takes would be no count; as much as OP-TEE takes would
    // be OP-TEE's.
    let each = instructions / amount(&last, " yielding TEE calls").unwrap_or(1);
    outcome.assert((100..10_000).contains(&each), &last);
}

/// The most instructions of EL2, with interrupts masked, for what is not a TEE's call.
const MASKED_MAX: u64 = 4000;

/// The most that one of what the bill calls `what` took.
fn longest(bill: &str, what: &str) -> Option<u64> {
    let (_, entry) = bill.split_once(what)?;
    amount(entry, " at most")
}

/// A turn that a step of a report falls into comes after the exit that led to it: both together are
/// the time without interrupts.
#[test]
fn a_long_answer_holds_no_interrupt_up() {
    let mut scenario = Scenario::of("one-guest.toml").exec("vm1", "echo ready; read -r go");
    scenario.options.overrides.icount = true;
    let (outcome, (before, after)) = scenario.attend(|mut operator| {
        operator.wait_for("vm1", LIMIT, |line| line == "ready")?;
        // What is longest then is the line that tells of the guest's start.
        let before = bill(&mut operator)?;
        operator.command("list")?;
        operator.ask("help", LIMIT, |line| line.starts_with("help: "))?;
        let after = bill(&mut operator)?;
        operator.ask("attach vm1", LIMIT, |line| {
            line.starts_with("vm1: attached")
        })?;
        operator.type_in(b"\r")?;
        Ok((before, after))
    });
    outcome.assert_passed();
    let interrupts = longest(&after, " interrupts in ").expect("typing interrupts");
    let turns = longest(&after, " turns in ").expect("the guest waits");
    let none_longer = Some(turns) == longest(&before, " turns in ");
    outcome.assert(none_longer || interrupts + turns <= MASKED_MAX, &after);
    for what in [
        " interrupts in ",
        " other calls in ",
        " device accesses in ",
        " registers in ",
    ] {
        outcome.assert(
            longest(&after, what).is_some_and(|most| most <= MASKED_MAX),
            &after,
        );
    }
}
