//! Guests that share a CPU get their turns, whatever the others do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use end_to_end::Scenario;
use qemu::run::operator::{Heard, Operator};

/// For the next thing that a guest says.
const LIMIT: Duration = Duration::from_secs(120);

/// A time slice: a guest that is ready waits for no more where two share a CPU.
const SLICE_US: u64 = 10_000;
/// What the secure world needs to stop a call for an interrupt, and the hypervisor to change vCPUs,
/// at most.
const CHANGE_US: u64 = 1_000;

/// How late vm2 woke up, line by line, until vm1 says `end`.
fn lateness_until(operator: &mut Operator, end: &str) -> Result<Vec<u64>> {
    let mut late = Vec::new();
    loop {
        let Heard::Line(said) = operator.hear(LIMIT).context("the guests are silent")? else {
            continue;
        };
        if said.console == "vm1" && said.text == end {
            return Ok(late);
        }
        let told = said.text.strip_prefix("@@late ");
        late.extend(told.and_then(|us| us.strip_suffix(" us")?.parse::<u64>().ok()));
    }
}

#[test]
fn a_call_to_op_tee_holds_up_another_guest_no_longer_than_a_slice() {
    // One CPU that counts instructions, each a nanosecond of the machine's time: the host's load
    // does not show. AES of 1 MiB takes OP-TEE many slices in one call.
    let mut scenario = Scenario::described(
        r#"
        [machine]
        cpus = 1
        memory = "2GiB"

        [[guest]]
        name = "vm1"
        memory = "512MiB"
        cpus = [0]
        job = "echo begin; xtest --aes-perf -m CTR -s 1048576 -n 60 -w 0 && echo end"

        [[guest]]
        name = "vm2"
        memory = "16MiB"
        cpus = [0]
        payload = "wake_up"
        tee = "none"
        "#,
    )
    .may_restart("vm2")
    .timeout(300);
    scenario.options.overrides.icount = true;
    let (outcome, late) = scenario.attend(|mut operator| {
        lateness_until(&mut operator, "begin")?;
        let late = lateness_until(&mut operator, "end")?;
        operator.command("destroy vm2")?;
        Ok(late)
    });
    outcome.assert_passed();
    eprintln!("vm2 woke up late by {late:?} us");
    outcome.assert(
        late.iter().any(|&us| us > SLICE_US / 2),
        &format!("vm1's calls keep the CPU busy: {late:?}"),
    );
    outcome.assert(
        late.iter().all(|&us| us <= SLICE_US + CHANGE_US),
        &format!("vm2 waits for no more than a slice: {late:?}"),
    );
}
