//! A guest whose secure storage fails, or that goes while OP-TEE waits for it, harms no other
//! guest.

use std::time::Duration;

use anyhow::Result;
use end_to_end::{Outcome, Scenario};
use qemu::base::progress::Progress;
use qemu::parts::workloads;
use qemu::run::operator::Operator;
use tempfile::TempDir;

/// For what takes a moment.
const LIMIT: Duration = Duration::from_secs(120);

/// Makes room for the supplicant that is the program itself.
const WITHOUT_SUPPLICANT: &str = "kill $(pidof tee-supplicant); sleep 1";

/// xtest again and again, until somebody types a line.
const XTEST_UNTIL_TOLD: &str =
    "while :; do xtest 1004 6001 || exit 1; read -r -t 5 what && exit 0; done";

/// How often vm2 goes while it owes a read.
const OWING: usize = 5;

/// The guests' program.
fn program() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    workloads::overlay(&["storage-faults"], folder.path(), &Progress::silent())
        .expect("the program is built");
    folder
}

fn wait(operator: &mut Operator, console: &str, line: &str) -> Result<()> {
    operator.wait_for(console, LIMIT, |said| said.starts_with(line))?;
    Ok(())
}

/// Two guests with a CPU each.
fn machine(optee: &str) -> Scenario {
    let guest = |number: u32| {
        format!(
            "[[guest]]\nname = \"vm{number}\"\nmemory = \"512MiB\"\ncpus = [{}]\n",
            number - 1
        )
    };
    let (vm1, vm2) = (guest(1), guest(2));
    Scenario::described(&format!(
        "[machine]\ncpus = 2\nmemory = \"2GiB\"\noptee = {optee:?}\n{vm1}{vm2}"
    ))
}

/// How many identifiers vm2 was charged with at the end of each life that left some to OP-TEE.
fn charges(outcome: &Outcome) -> Vec<u32> {
    let log = outcome.log("bulkhead");
    let told = log.lines().filter_map(|line| {
        let (_, count) = line
            .strip_prefix("warning: vm2: ")?
            .split_once("still runs for it, ")?;
        count.split_once(" in all")?.0.parse().ok()
    });
    told.collect()
}

fn panics(outcome: &Outcome) -> bool {
    outcome.log("secure-world").contains("Panic")
}

#[test]
fn wrong_answers_of_a_supplicant_harm_nobody_else() {
    let overlay = program();
    let faults = "storage-faults rollback && storage-faults some Create LoadApplication";
    let outcome = machine("source")
        .overlay("vm2", overlay.path())
        .exec("vm1", XTEST_UNTIL_TOLD)
        .exec("vm2", &format!("{WITHOUT_SUPPLICANT}; {faults}"))
        .timeout(600);
    let (outcome, ()) = outcome.attend(|mut operator| {
        operator.wait_for("bulkhead", 4 * LIMIT, |line| line == "vm2: off")?;
        operator.tell("vm1", b"enough\r")
    });
    outcome.assert_passed();
    outcome.assert(!panics(&outcome), "OP-TEE goes on");
    let steps = outcome.log("vm2");
    let steps: Vec<_> = steps
        .lines()
        .filter(|l| l.contains(" wrong answers to "))
        .collect();
    outcome.assert(steps.len() == 2, "each step was taken");
}

/// vm2 goes in every way while it owes OP-TEE a read.
fn owing(optee: &str) -> Outcome {
    let overlay = program();
    let outcome = machine(optee)
        .overlay("vm2", overlay.path())
        .exec("vm1", XTEST_UNTIL_TOLD)
        .exec(
            "vm2",
            &format!(
                "{WITHOUT_SUPPLICANT}; echo ready; read -r how; test $how = off || storage-faults owe Create $how"
            ),
        )
        .may_restart("vm2")
        .timeout(600);
    let (outcome, ()) = outcome.attend(|mut operator| {
        let live = |operator: &mut Operator, how: &str| {
            wait(operator, "vm2", "ready")?;
            operator.tell("vm2", format!("{how}\r").as_bytes())?;
            wait(operator, "vm2", "@@owes an answer to ReadIndex")
        };
        live(&mut operator, "reboot")?;
        live(&mut operator, "panic")?;
        live(&mut operator, "wait")?;
        operator.command("restart vm2")?;
        live(&mut operator, "wait")?;
        operator.command("destroy vm2")?;
        wait(&mut operator, "bulkhead", "vm2: off")?;
        operator.command("restart vm2")?;
        live(&mut operator, "poweroff")?;
        wait(&mut operator, "bulkhead", "vm2: off")?;
        operator.command("restart vm2")?;
        wait(&mut operator, "vm2", "ready")?;
        operator.tell("vm2", b"off\r")?;
        operator.tell("vm1", b"enough\r")
    });
    outcome.assert_passed();
    outcome.assert(!panics(&outcome), "OP-TEE goes on");
    outcome.assert(
        outcome.guest("vm2").resets == 3,
        "vm2 was reset three times",
    );
    outcome
}

#[test]
fn a_guest_that_goes_while_it_owes_a_read_harms_nobody_else() {
    let outcome = owing("source");
    let charges = charges(&outcome);
    outcome.assert(
        charges.is_empty(),
        &format!("OP-TEE has nothing left of vm2: {charges:?}"),
    );
}

/// OP-TEE 4.5 would not survive an error in the read's place, so the call stays in it, and vm2
/// pays.
#[test]
fn a_guest_that_goes_while_it_owes_op_tee_4_5_a_read_pays_alone() {
    let outcome = owing("debian");
    let charges = charges(&outcome);
    outcome.assert(
        charges.len() == OWING && charges.is_sorted_by(|a, b| a < b),
        &format!("each of vm2's ends is charged to it: {charges:?}"),
    );
}

/// What the warning says is true. When Debian mends its OP-TEE, neither is needed any more.
#[test]
fn an_older_optee_halts_and_the_machine_says_so_at_its_start() {
    let overlay = program();
    let outcome = machine("debian")
        .overlay("vm2", overlay.path())
        .exec("vm1", "sleep 1000")
        .exec(
            "vm2",
            &format!("{WITHOUT_SUPPLICANT}; storage-faults one Create 0; echo went on"),
        )
        .timeout(60)
        .run();
    outcome.assert(panics(&outcome), "one failed read halts OP-TEE 4.5");
    outcome.assert(!outcome.log("vm2").contains("went on"), "its guest waits");
    let warned = |text: &str| text.contains("OP-TEE 4.5 halts for all guests");
    outcome.assert(warned(&outcome.log("bulkhead")), "the hypervisor warns");
    outcome.assert(warned(&outcome.report.to_string()), "the host tool does");
}
