//! A guest that starts again and again leaves nothing behind, and the others do not notice.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use end_to_end::{Outcome, Scenario};
use host_abi::console::{Event, GuestStats, HeapStats};
use qemu::run::operator::Operator;

/// Names how often a guest is restarted while the other one runs xtest.
const RESTARTS: &str = "RESTARTS";

/// How often it is otherwise.
const RESTARTS_USUALLY: u32 = 50;

/// For so many restarts, on a host that has other things to do, too.
const SECONDS_A_RESTART: u64 = 3;

/// For what takes a moment.
const LIMIT: Duration = Duration::from_secs(60);

/// xtest again and again, until somebody types a line.
const XTEST_UNTIL_TOLD: &str =
    "while :; do xtest 1001 1004 1008 4001 6001 || exit 1; read -r -t 1 what && exit 0; done";

/// The first line of [`XTEST_UNTIL_TOLD`].
const FIRST_CASE: &str = "Core self tests";

/// What `stats` tells.
#[derive(Debug)]
struct Stats {
    /// What the hypervisor's heap holds.
    heap: HeapStats,
    /// The guest's own counters.
    guest: GuestStats,
}

impl Stats {
    fn ask(operator: &mut Operator, guest: &str) -> Result<Self> {
        let is_heap = |line: &str| matches!(Event::parse(line), Event::Heap { .. });
        let is_own = |line: &str| {
            let event = Event::parse(line);
            matches!(event, Event::Guest { name, .. } if name == guest)
        };
        let heap = operator.ask("stats", LIMIT, is_heap)?;
        let own = operator.wait_for("bulkhead", LIMIT, is_own)?;
        match (Event::parse(&heap), Event::parse(&own)) {
            (Event::Heap { stats: heap }, Event::Guest { stats: guest, .. }) => {
                Ok(Self { heap, guest })
            }
            _ => bail!("{heap} and {own} are no stats"),
        }
    }

    /// Asserts that the guest is off, and that nobody knows any memory of it.
    fn nothing_is_shared(&self) -> Result<()> {
        ensure!(self.guest.pages == 0, "{self:?}");
        Ok(())
    }
}

/// Waits for a line of the hypervisor's about a guest.
fn hear(operator: &mut Operator, news: &str) -> Result<()> {
    operator.wait_for("bulkhead", LIMIT, |line| {
        line == news || line.strip_prefix("error: ") == Some(news)
    })?;
    Ok(())
}

/// Asserts what must hold of the guest that runs [`XTEST_UNTIL_TOLD`], and of what is left of the
/// others.
#[track_caller]
fn assert_undisturbed(outcome: &Outcome) {
    outcome.assert_passed();
    outcome.assert(outcome.guest("vm1").resets == 0, "vm1 goes on");
    let vm1 = outcome.log("vm1");
    outcome.assert(
        vm1.contains("test cases of which 0 failed"),
        "xtest passes in vm1",
    );
    outcome.assert(
        !outcome.log("bulkhead").contains("still known"),
        "no page stays with the secure world",
    );
}

#[test]
fn a_guest_that_is_restarted_leaves_nothing_and_disturbs_nobody() {
    let named = std::env::var(RESTARTS).map(|restarts| restarts.parse());
    let restarts: u32 = named.map_or(RESTARTS_USUALLY, |restarts| {
        restarts.expect("RESTARTS is a number")
    });
    let scenario = Scenario::described(&format!(
        r#"
        [machine]
        cpus = 2
        memory = "2GiB"

        [[guest]]
        name = "vm1"
        memory = "512MiB"
        cpus = [0, 1]
        job = "{XTEST_UNTIL_TOLD}"
        [guest.tas]
        deny = []

        [[guest]]
        name = "vm2"
        memory = "16MiB"
        cpus = [1]
        payload = "tee_user"
        [guest.tas]
        deny = []
        "#,
    ))
    .may_restart("vm2")
    .timeout(u64::from(restarts) * SECONDS_A_RESTART);
    let (outcome, left_at) = scenario.attend(|mut operator| {
        let occupied = |operator: &mut Operator| {
            let line = operator.wait_for("vm2", LIMIT, |line| line.starts_with("@@"))?;
            let rpc = line.strip_prefix("@@occupied, and left a call at ");
            rpc.map(str::to_owned).with_context(|| line.clone())
        };
        let destroy = |operator: &mut Operator| {
            operator.ask("destroy vm2", LIMIT, |line| line == "vm2: off")?;
            let stats = Stats::ask(operator, "vm2")?;
            stats.nothing_is_shared().map(|()| stats.heap)
        };
        operator.wait_for("vm1", 4 * LIMIT, |line| line.contains(FIRST_CASE))?;
        let heap_without = destroy(&mut operator)?;
        operator.command("restart vm2")?;
        occupied(&mut operator)?;
        let first = Stats::ask(&mut operator, "vm2")?;

        let mut left_at = BTreeMap::<String, u32>::new();
        for n in 1..=restarts {
            // At another point of its calls each time.
            sleep(Duration::from_millis(u64::from(n) * 7 % 40));
            operator.command("restart vm2")?;
            let rpc = occupied(&mut operator).with_context(|| format!("after restart {n}"))?;
            *left_at.entry(rpc).or_default() += 1;
        }

        let last = Stats::ask(&mut operator, "vm2")?;
        let starts = u64::from(restarts) + 2;
        ensure!(last.guest.starts == starts, "{last:?}");
        ensure!(first.heap == last.heap, "{first:?} became {last:?}");
        let heap_after = destroy(&mut operator)?;
        ensure!(
            heap_without == heap_after,
            "{heap_without} became {heap_after}"
        );
        operator.tell("vm1", b"enough\r")?;
        Ok(left_at)
    });
    assert_undisturbed(&outcome);
    outcome.assert(
        outcome.guest("vm2").resets == restarts,
        "vm2 was reset as often as it was told",
    );
    eprintln!("calls were left at {left_at:?}");
    for rpc in ["Alloc", "SHM_ALLOC", "FS", "LOAD_TA", "SHM_FREE"] {
        outcome.assert(
            left_at.contains_key(rpc),
            &format!("a call is left at {rpc}"),
        );
    }
}

/// What a Linux guest does in each of its lives: looks whether all is as in the first one, uses the
/// TEE, fills its memory and then does what it is told.
const LIFE: &str = r#"
    echo "image $(cat /bin/busybox /usr/lib/optee_armtz/* | md5sum)"
    test ! -e /scribble || exit 1
    xtest -t regression 1004 || exit 1
    tr '\0' '\252' </dev/zero | head -c 1000000 >/scribble
    for n in 1 2 3 4 5 6 7; do cat /scribble /scribble >/twice; mv /twice /scribble; done
    echo ready
    read -r what
    case $what in
    reboot) reboot -f ;;
    panic) echo c >/proc/sysrq-trigger ;;
    poweroff) sleep 1; poweroff -f ;;
    busy) while xtest -t regression 1006 && echo at work; do :; done ;;
    esac
    test "$what" = off"#;

#[test]
fn a_linux_guest_starts_afresh_however_it_ended() {
    let scenario = Scenario::of("two-guests.toml")
        .exec("vm1", XTEST_UNTIL_TOLD)
        .exec("vm2", LIFE)
        .may_restart("vm2")
        .timeout(600);
    let (outcome, heaps) = scenario.attend(|mut operator| {
        let mut heaps = BTreeSet::new();
        let mut live = |operator: &mut Operator, how: &str| {
            operator
                .wait_for("vm2", 4 * LIMIT, |line| line == "ready")
                .with_context(|| format!("before {how}"))?;
            heaps.insert(Stats::ask(operator, "vm2")?.heap.to_string());
            operator.tell("vm2", format!("{how}\r").as_bytes())
        };
        let at_work =
            |operator: &mut Operator| operator.wait_for("vm2", LIMIT, |line| line == "at work");
        live(&mut operator, "reboot")?;
        live(&mut operator, "panic")?;

        live(&mut operator, "busy")?;
        at_work(&mut operator)?;
        operator.command("restart vm2")?;
        hear(&mut operator, "vm2: reset")?;

        live(&mut operator, "busy")?;
        at_work(&mut operator)?;
        operator.command("destroy vm2")?;
        hear(&mut operator, "vm2: off")?;
        Stats::ask(&mut operator, "vm2")?.nothing_is_shared()?;
        operator.command("restart vm2")?;

        live(&mut operator, "poweroff")?;
        hear(&mut operator, "vm2: off")?;
        Stats::ask(&mut operator, "vm2")?.nothing_is_shared()?;
        operator.command("restart vm2")?;

        live(&mut operator, "off")?;
        operator.tell("vm1", b"enough\r")?;
        Ok(heaps)
    });
    assert_undisturbed(&outcome);
    outcome.assert(
        outcome.guest("vm2").resets == 3,
        "vm2 was reset three times",
    );
    outcome.assert(
        heaps.len() == 1,
        &format!("each life takes the hypervisor's heap alike: {heaps:?}"),
    );
    let vm2 = outcome.log("vm2");
    let images: Vec<_> = vm2.lines().filter(|l| l.starts_with("image ")).collect();
    outcome.assert(
        images.len() == 6 && images.iter().all(|image| *image == images[0]),
        &format!("vm2 begins each of its lives with the same files: {images:?}"),
    );
}
