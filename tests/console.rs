//! A guest that floods the console holds up itself alone, and what it writes does nothing to a
//! person's terminal.

use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::Scenario;
use qemu::run::operator::{Heard, Operator};

/// For the next thing that the machine says.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines of the neighbour's that are looked at, each after ten times that it woke up.
const NEIGHBOUR_LINES: usize = 6;
/// A time slice, and what a change of vCPUs and the console's work may add.
const LATE_MAX_US: u64 = 10_000 + 1_000;

/// Both guests on one CPU, which is the console's, too; it counts instructions, each a nanosecond
/// of the machine's time.
fn flooded() -> Scenario {
    let mut scenario = Scenario::described(
        r#"
        [machine]
        cpus = 1
        memory = "1GiB"
        mediators = []

        [[guest]]
        name = "vm1"
        memory = "16MiB"
        cpus = [0]
        payload = "flood"
        tee = "none"

        [[guest]]
        name = "vm2"
        memory = "16MiB"
        cpus = [0]
        payload = "wake_up"
        tee = "none"
        "#,
    )
    .may_restart("vm1")
    .may_restart("vm2");
    scenario.options.overrides.icount = true;
    scenario
}

fn destroy_both(operator: &mut Operator) -> Result<()> {
    operator.command("destroy vm1")?;
    operator.command("destroy vm2")
}

/// How late vm2 woke up, in microseconds, and the lines of vm1 that came between.
fn listen(operator: &mut Operator) -> Result<(Vec<u64>, Vec<String>)> {
    let (mut late, mut flood) = (Vec::new(), Vec::new());
    while late.len() < NEIGHBOUR_LINES {
        let Heard::Line(said) = operator.hear(LIMIT)? else {
            continue;
        };
        match said.console.as_str() {
            "vm1" => flood.push(said.text),
            "vm2" => {
                let told = said.text.strip_prefix("@@late ");
                late.extend(told.and_then(|us| us.strip_suffix(" us")?.parse::<u64>().ok()));
            }
            _ => {}
        }
    }
    Ok((late, flood))
}

#[test]
fn a_flood_holds_up_the_flooder_alone_and_loses_nothing() {
    let (outcome, (late, flood)) = flooded().attend(|mut operator| {
        operator.wait_for("vm1", LIMIT, |line| line.contains("@@flood 1"))?;
        let heard = listen(&mut operator)?;
        // A person is answered meanwhile.
        operator.ask("stats", LIMIT, |line| line.starts_with("vm2: "))?;
        operator.ask("list", LIMIT, |line| line.starts_with("vm2: running"))?;
        destroy_both(&mut operator)?;
        Ok(heard)
    });
    outcome.assert_passed();
    outcome.assert(
        late.iter().all(|&us| us <= LATE_MAX_US),
        &format!("vm2 is not held up: {late:?}"),
    );
    let number = |line: &String| -> Result<u64> {
        let text = line.strip_prefix("^[[2J@@flood ");
        let number = text.and_then(|text| text.strip_suffix("^G^??1m^Mvm2| @@late 0 us"));
        ensure!(number.is_some(), "{line:?}");
        Ok(number.unwrap_or_default().parse()?)
    };
    let numbers: Result<Vec<u64>> = flood.iter().map(number).collect();
    let numbers = numbers.expect("control characters come out as text");
    outcome.assert(
        numbers.len() > 100 && numbers.is_sorted_by(|one, next| *next == one + 1),
        &format!("all of {} lines came, in order", numbers.len()),
    );
    for byte in outcome.log("vm1").bytes() {
        assert!(byte >= b' ' || byte == b'\n', "vm1.log has {byte:#x}");
    }
}
