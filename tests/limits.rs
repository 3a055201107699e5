//! How much guests can share with the TEE at the same time, what is refused beyond, and that
//! nothing is left of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use end_to_end::Scenario;
use host_abi::console::Event;
use qemu::run::operator::{DETACH, Heard, Operator, Said};

const GUESTS: [&str; 2] = ["vm1", "vm2"];

/// For what takes a moment.
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody at the console who sees how far each guest has come, whatever else is going on.
struct Watch {
    operator: Operator,
    /// The stage that each guest is at.
    stages: BTreeMap<String, String>,
}

impl Watch {
    /// Waits until `accept` takes a line, or something that was noted before.
    fn until<T>(
        &mut self,
        what: &str,
        mut accept: impl FnMut(&BTreeMap<String, String>, Option<&Said>) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + LIMIT;
        if let Some(taken) = accept(&self.stages, None) {
            return Ok(taken);
        }
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            let heard = self.operator.hear(rest).with_context(|| what.to_owned())?;
            let Heard::Line(said) = heard else {
                continue;
            };
            ensure!(
                !said.text.contains("@@failed"),
                "{}: {}",
                said.console,
                said.text
            );
            if let Some(stage) = said.text.strip_prefix("@@at ") {
                self.stages.insert(said.console.clone(), stage.to_owned());
            }
            if let Some(taken) = accept(&self.stages, Some(&said)) {
                return Ok(taken);
            }
        }
    }

    /// Waits until these guests are at a stage.
    fn reach(&mut self, guests: &[&str], stage: &str) -> Result<()> {
        self.until(stage, |stages, _| {
            let there = |guest: &&str| stages.get(*guest).is_some_and(|at| at == stage);
            guests.iter().all(there).then_some(())
        })
    }

    /// Types a command at the hypervisor's prompt and waits for a line of its that begins like
    /// this.
    fn ask(&mut self, command: &str, answer: &str) -> Result<String> {
        self.operator.command(command)?;
        self.until(command, |_, said| {
            let said = said.filter(|said| said.console == "bulkhead")?;
            said.text.starts_with(answer).then(|| said.text.clone())
        })
    }

    /// What these guests hold: buffers, pages and calls in flight. They are told of in the order
    /// of the description.
    fn hold(&mut self, guests: &[&str]) -> Result<Vec<(u64, u64, u64)>> {
        self.operator.command("stats")?;
        let held = |guest: &&str| {
            self.until(guest, |_, said| {
                match said.map(|said| Event::parse(&said.text))? {
                    Event::Tee { name, stats } if name == *guest => {
                        Some((stats.buffers, stats.pinned_pages, stats.calls_in_flight))
                    }
                    _ => None,
                }
            })
        };
        guests.iter().map(held).collect()
    }

    /// Presses a key at each of these guests' consoles.
    fn go_on(&mut self, guests: &[&str]) -> Result<()> {
        for guest in guests {
            self.stages.remove(*guest);
            self.ask(&format!("attach {guest}"), &format!("{guest}: attached"))?;
            self.operator.type_in(b"x")?;
            self.operator.type_in(&[DETACH])?;
        }
        Ok(())
    }
}

#[test]
fn guests_share_as_much_as_they_may_and_nothing_is_left() {
    let scenario = Scenario::described(
        r#"
        [machine]
        cpus = 2
        memory = "1GiB"

        [[guest]]
        name = "vm1"
        memory = "128MiB"
        cpus = [0]
        payload = "tee_limits"
        [guest.limits]
        shm-total-max = "24MiB"
        [guest.tas]
        deny = []

        [[guest]]
        name = "vm2"
        memory = "128MiB"
        cpus = [1]
        tee-conduit = "hvc"
        payload = "tee_limits"
        [guest.limits]
        shm-total-max = "16MiB"
        shm-buffers-max = 1010
        [guest.tas]
        deny = []
        "#,
    )
    .may_restart("vm2");
    let (outcome, ()) = scenario.attend(|operator| {
        let mut watch = Watch {
            operator,
            stages: BTreeMap::new(),
        };
        for (stage, expected) in [
            ("start", [(0, 0, 0); 2]),
            // A buffer of 8 MiB, then as many of them as each may have in all.
            ("large", [(1, 2048, 0); 2]),
            ("total", [(3, 6144, 0), (2, 4096, 0)]),
            // Buffers of 4 KiB, then as many as each may have. Others are refused, time and again.
            ("many", [(1000, 1000, 0); 2]),
            ("full", [(1024, 1024, 0), (1010, 1010, 0)]),
            ("refused", [(1024, 1024, 0), (1010, 1010, 0)]),
            ("nothing", [(0, 0, 0); 2]),
            // A call that waits for its guest.
            ("owing", [(3, 21, 1); 2]),
        ] {
            watch.reach(&GUESTS, stage)?;
            let held = watch.hold(&GUESTS)?;
            ensure!(held == expected, "at {stage} they hold {held:?}");
            if stage != "owing" {
                watch.go_on(&GUESTS)?;
            }
        }
        // One powers off without having answered, the other one is restarted.
        watch.go_on(&["vm1"])?;
        watch.until("vm1: off", |_, said| {
            said.is_some_and(|said| said.text == "vm1: off")
                .then_some(())
        })?;
        watch.operator.command("stats")?;
        let stats = watch.until("what vm1 left", |_, said| {
            match said.map(|said| Event::parse(&said.text))? {
                Event::Guest { name: "vm1", stats } => Some(stats),
                _ => None,
            }
        })?;
        ensure!(stats.pages == 0, "{stats:?}");
        watch.stages.clear();
        watch.ask("restart vm2", "vm2: reset")?;
        for stage in ["start", "large", "total", "many"] {
            watch.reach(&["vm2"], stage)?;
            watch.go_on(&["vm2"])?;
        }
        watch.reach(&["vm2"], "full")?;
        watch.ask("destroy vm2", "vm2: off")?;
        Ok(())
    });
    outcome.assert_passed();
    outcome.assert(
        !outcome.log("bulkhead").contains("still known"),
        "no page stays with the secure world",
    );
}

#[test]
fn a_trusted_application_works_on_8_mib_in_both_guests() {
    // Hashes a registered buffer of 8 MiB; a trusted application does.
    let command = "xtest --sha-perf -s 8388608 -n 3 -l 1";
    let outcome = Scenario::of("two-guests.toml")
        .exec("vm1", command)
        .exec("vm2", command)
        .run();
    outcome.assert_passed();
    for guest in ["vm1", "vm2"] {
        outcome.assert(
            outcome.log(guest).contains("MiB/s"),
            "it says how fast it was",
        );
    }
}
