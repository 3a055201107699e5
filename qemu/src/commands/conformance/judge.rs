//! From what the guests said, and what became of them, to a list of cases. Some cases can be seen
//! from outside alone.

use std::collections::BTreeSet;

use super::console::{Ended, Life};
use super::machine_run::{GuestRun, MachineRun};
use super::report::ConformanceReport;

/// The guest on the machine without mediators that runs all cases.
pub(super) const BYSTANDER: &str = "bystander";

/// The least number of cases that a guest has to run; there are a few more.
const CASES_MIN: usize = 175;
/// The same for a guest that goes through OP-TEE's ABI.
const TEE_CASES_MIN: usize = 65;
/// The requirements, each of which has a case.
const REQUIREMENTS: std::ops::RangeInclusive<u8> = 0..=9;
/// Lines about refused calls that a guest may cause: it has thousands refused in seconds.
const REFUSAL_LINES_MAX: usize = 300;
/// Lives that a guest that restarts itself must have finished meanwhile.
const LIVES_MIN: usize = 3;

/// A check that is seen from outside.
fn ensure(holds: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn add_ended(report: &mut ConformanceReport, guest: &str, cases: &[Ended]) {
    for case in cases {
        let outcome = case.reason.clone().map_or(Ok(()), Err);
        report.add(case.requirement, guest, &case.name, outcome);
    }
}

/// All cases of a guest that runs through them once, and whether they are all.
fn add_guest(report: &mut ConformanceReport, guest: &GuestRun, least: usize) {
    let console = &guest.console;
    let whole = match console.lives.as_slice() {
        [] => Err("its payload did not start".to_owned()),
        [life] => {
            add_ended(report, &guest.name, &life.ended);
            if let Some((requirement, name)) = &life.running {
                let outcome = Err("it did not end".to_owned());
                report.add(*requirement, &guest.name, name, outcome);
            }
            life.complete().and_then(|()| {
                ensure(
                    life.plan >= least,
                    format!("there are {} cases, not {least} at least", life.plan),
                )
            })
        }
        lives => Err(format!("its payload started {} times", lives.len())),
    };
    let whole = match &console.panic {
        Some(message) => Err(message.clone()),
        None => whole,
    };
    report.add(0, &guest.name, "all_cases_ran", whole);
    report.add(
        3,
        &guest.name,
        "system_off_turns_the_guest_off",
        ensure(guest.passed, &guest.result),
    );
}

fn first_life(guest: &GuestRun) -> Option<&Life> {
    guest.console.lives.first()
}

/// Two guests that ran at the same time.
pub fn together(machine: &MachineRun, report: &mut ConformanceReport) {
    let first_case = report.cases.len();
    for guest in &machine.guests {
        add_guest(report, guest, CASES_MIN);
    }
    for guest in &machine.guests {
        let marker = format!("{}: refused", guest.name);
        let lines = machine.hypervisor.lines();
        let lines = lines.filter(|line| line.contains(&marker)).count();
        report.add(
            8,
            &guest.name,
            "refused_calls_are_logged_at_a_limited_rate",
            ensure(
                (1..=REFUSAL_LINES_MAX).contains(&lines),
                format!("there are {lines} lines about them"),
            ),
        );
    }
    let all = "all";
    let covered: BTreeSet<u8> = report.cases[first_case..]
        .iter()
        .map(|case| case.requirement)
        .collect();
    // What a call costs is measured on a machine of its own.
    let missing: Vec<u8> = REQUIREMENTS
        .filter(|requirement| *requirement != 6 && !covered.contains(requirement))
        .collect();
    report.add(
        7,
        all,
        "every_requirement_is_checked_in_the_guests",
        ensure(missing.is_empty(), format!("{missing:?} are not")),
    );
    report.add(7, all, "guests_run_the_same_cases", same_cases(machine));
    report.add(7, all, "guests_are_answered_alike", {
        let answers: BTreeSet<_> = machine.guests.iter().map(|g| &g.console.answers).collect();
        ensure(
            answers.len() == 1 && !answers.contains(&None),
            format!("their answers have the digests {answers:?}"),
        )
    });
    report.add(3, all, "guests_draw_different_random_numbers", {
        let draws: BTreeSet<_> = machine.guests.iter().map(|g| &g.console.draw).collect();
        ensure(
            draws.len() == machine.guests.len() && !draws.contains(&None),
            format!("they drew {draws:?}"),
        )
    });
    report.add(7, all, "guests_run_at_the_same_time", same_time(machine));
    report.add(
        9,
        all,
        "the_hypervisor_probes_the_tee",
        ensure(
            machine.hypervisor.contains("serves the guests"),
            "the hypervisor does not say that it found one",
        ),
    );
    report.add(
        9,
        all,
        "the_machine_powers_off_when_all_guests_are_off",
        ensure(machine.passed, &machine.summary),
    );
}

/// The same guests on CPUs of another model.
pub fn on_cpu(model: &str, machine: &MachineRun, report: &mut ConformanceReport) {
    for guest in &machine.guests {
        let guest = GuestRun {
            name: format!("{} ({model})", guest.name),
            ..guest.clone()
        };
        add_guest(report, &guest, CASES_MIN);
    }
    let outcome = ensure(machine.passed, &machine.summary);
    report.add(4, "all", "guests_are_apart_on_another_cpu_too", outcome);
}

/// Two guests that went through OP-TEE's ABI at the same time.
pub fn tee_abi(machine: &MachineRun, report: &mut ConformanceReport) {
    for guest in &machine.guests {
        add_guest(report, guest, TEE_CASES_MIN);
    }
    let together = same_time(machine)
        .and_then(|()| same_cases(machine))
        .and_then(|()| ensure(machine.passed, &machine.summary));
    let name = "guests_go_through_the_tee_s_abi_at_the_same_time";
    report.add(4, "all", name, together);
}

fn same_time(machine: &MachineRun) -> Result<(), String> {
    let spans: Option<Vec<_>> = machine.guests.iter().map(|guest| guest.span).collect();
    ensure(
        spans.is_some_and(|spans| overlap(&spans)),
        "one ended before another started",
    )
}

fn same_cases(machine: &MachineRun) -> Result<(), String> {
    let names = |guest: &GuestRun| -> BTreeSet<String> {
        first_life(guest)
            .map(|life| life.ended.iter().map(|case| case.name.clone()).collect())
            .unwrap_or_default()
    };
    let sets: BTreeSet<_> = machine.guests.iter().map(names).collect();
    ensure(sets.len() == 1, "they differ")
}

/// Whether there is a moment that is in all spans.
fn overlap(spans: &[(f64, f64)]) -> bool {
    let last_start = spans.iter().map(|span| span.0).fold(f64::MIN, f64::max);
    let first_end = spans.iter().map(|span| span.1).fold(f64::MAX, f64::min);
    last_start < first_end
}

/// A hypervisor without mediators, and a guest among others that restart and misbehave.
pub fn alone(machine: &MachineRun, report: &mut ConformanceReport) {
    let Some(bystander) = machine.guest(BYSTANDER) else {
        let outcome = Err("it is not there".to_owned());
        report.add(0, BYSTANDER, "all_cases_ran", outcome);
        return;
    };
    add_guest(report, bystander, CASES_MIN);
    let went_on = first_life(bystander)
        .ok_or_else(|| "it did not start".to_owned())
        .and_then(Life::complete);
    report.add(
        5,
        BYSTANDER,
        "the_hypervisor_runs_without_a_mediator",
        ensure(machine.passed, &machine.summary),
    );
    report.add(
        4,
        BYSTANDER,
        "a_guest_goes_on_when_others_are_stopped",
        went_on,
    );
    for guest in &machine.guests {
        if guest.name.starts_with("trespasser") {
            let console = &guest.console;
            let outcome = match &console.survived {
                Some(what) => Err(format!("it read {what}")),
                None => ensure(guest.result.starts_with("stopped: "), &guest.result),
            };
            report.add(
                4,
                &guest.name,
                "a_guest_that_leaves_its_memory_is_stopped",
                outcome,
            );
        } else if guest.name != BYSTANDER {
            add_lives(report, guest);
        }
    }
}

/// A guest that restarts itself: the life that the end of the run cut short does not count, nor
/// does the first one, before which there was none.
fn add_lives(report: &mut ConformanceReport, guest: &GuestRun) {
    let lives = &guest.console.lives;
    let finished = lives.len().saturating_sub(1);
    let later = lives.get(1..finished).unwrap_or_default();
    for (n, life) in later.iter().enumerate() {
        let failed = life.ended.iter().any(|case| case.reason.is_some());
        // Each case once, and every failure.
        if n == 0 || failed {
            add_ended(report, &guest.name, &life.ended);
        }
        if let Err(reason) = life.complete() {
            report.add(3, &guest.name, "all_cases_ran", Err(reason));
        }
    }
    report.add(
        3,
        &guest.name,
        "system_reset_restarts_the_guest",
        ensure(
            finished >= LIVES_MIN && guest.resets as usize >= finished,
            format!(
                "it finished {finished} lives and was reset {} times",
                guest.resets
            ),
        ),
    );
}

/// The machine that counts instructions.
pub fn cost(machine: &MachineRun, report: &mut ConformanceReport) {
    for guest in &machine.guests {
        add_guest(report, guest, 1);
        report.add_figures(&guest.console.figures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::conformance::console::Console;

    fn guest(name: &str, log: &str) -> GuestRun {
        GuestRun {
            name: name.to_owned(),
            console: Console::read(log),
            passed: true,
            result: "passed".to_owned(),
            resets: 0,
            span: Some((1.0, 2.0)),
        }
    }

    fn machine(guests: Vec<GuestRun>) -> MachineRun {
        MachineRun {
            guests,
            passed: true,
            summary: "passed".to_owned(),
            hypervisor: "OP-TEE 4.5 serves the guests\nvm1: refused smc 0x82000000\n\
                         vm2: refused smc 0x82000000\n"
                .to_owned(),
        }
    }

    /// The log of a guest that passes as many cases as it takes, for every requirement.
    fn good_log(draw: u32) -> String {
        let mut log = format!("@@answers aa\n@@draw {draw}\n@@plan {CASES_MIN}\n");
        for n in 0..CASES_MIN {
            log.push_str(&format!(
                "@@run {} c{n}\n@@case {} c{n} pass\n",
                n % 10,
                n % 10
            ));
        }
        log.push_str(&format!("@@done passed={CASES_MIN} failed=0\n"));
        log
    }

    fn good() -> MachineRun {
        machine(vec![guest("vm1", &good_log(1)), guest("vm2", &good_log(2))])
    }

    /// The names of what failed.
    fn failed(judge: fn(&MachineRun, &mut ConformanceReport), machine: &MachineRun) -> Vec<String> {
        let mut report = ConformanceReport::default();
        judge(machine, &mut report);
        let failed = report.cases.into_iter().filter(|case| !case.passed);
        failed.map(|case| case.name).collect()
    }

    #[test]
    fn two_good_guests_pass() {
        assert_eq!(failed(together, &good()), [""; 0]);
    }

    #[test]
    fn a_failed_case_of_either_guest_fails() {
        for n in 0..2 {
            let mut machine = good();
            let bad = good_log(n as u32 + 1)
                .replace("c5 pass", "c5 fail x")
                .replace(
                    &format!("passed={CASES_MIN} failed=0"),
                    &format!("passed={} failed=1", CASES_MIN - 1),
                );
            machine.guests[n].console = Console::read(&bad);
            assert_eq!(failed(together, &machine), ["c5"]);
        }
    }

    #[test]
    fn a_hung_case_fails_by_its_name() {
        let mut machine = good();
        let log = good_log(1);
        let cut = log.split("@@case 7 c7 pass").next().unwrap();
        machine.guests[0].console = Console::read(cut);
        let failed = failed(together, &machine);
        assert!(failed.contains(&"c7".to_owned()), "{failed:?}");
        assert!(failed.contains(&"all_cases_ran".to_owned()), "{failed:?}");
    }

    #[test]
    fn too_few_cases_fail() {
        let few = "@@answers aa\n@@draw 1\n@@plan 1\n@@case 3 a pass\n@@done passed=1 failed=0\n";
        let failed = failed(together, &machine(vec![guest("vm1", few)]));
        assert!(failed.contains(&"all_cases_ran".to_owned()), "{failed:?}");
        let coverage = "every_requirement_is_checked_in_the_guests".to_owned();
        assert!(failed.contains(&coverage), "{failed:?}");
    }

    #[test]
    fn what_is_seen_from_outside_can_fail() {
        type Spoil = fn(&mut MachineRun);
        let spoilt: [(&str, Spoil); 7] = [
            ("system_off_turns_the_guest_off", |m| {
                m.guests[0].passed = false;
            }),
            ("guests_are_answered_alike", |m| {
                m.guests[0].console.answers = Some("bb".to_owned());
            }),
            ("guests_draw_different_random_numbers", |m| {
                m.guests[0].console.draw = m.guests[1].console.draw.clone();
            }),
            ("guests_run_at_the_same_time", |m| {
                m.guests[0].span = Some((2.5, 3.0));
            }),
            ("the_hypervisor_probes_the_tee", |m| {
                m.hypervisor = m.hypervisor.replace("serves", "");
            }),
            ("the_machine_powers_off_when_all_guests_are_off", |m| {
                m.passed = false;
            }),
            ("refused_calls_are_logged_at_a_limited_rate", |m| {
                m.hypervisor.push_str(&"vm1: refused\n".repeat(301));
            }),
        ];
        for (name, spoil) in spoilt {
            let mut machine = good();
            spoil(&mut machine);
            assert_eq!(failed(together, &machine), [name]);
        }
    }

    #[test]
    fn guests_on_another_cpu_are_judged_alike() {
        let on_max =
            |machine: &MachineRun, report: &mut ConformanceReport| on_cpu("max", machine, report);
        assert_eq!(failed(on_max, &good()), [""; 0]);
        let mut machine = good();
        machine.passed = false;
        assert_eq!(
            failed(on_max, &machine),
            ["guests_are_apart_on_another_cpu_too"]
        );
        let mut machine = good();
        machine.guests[1].passed = false;
        assert_eq!(failed(on_max, &machine), ["system_off_turns_the_guest_off"]);
    }

    #[test]
    fn guests_go_through_the_tee_s_abi_together() {
        assert_eq!(failed(tee_abi, &good()), [""; 0]);
        type Spoil = fn(&mut MachineRun);
        let name = "guests_go_through_the_tee_s_abi_at_the_same_time";
        let spoilt: [(&str, Spoil); 4] = [
            (name, |m| m.guests[0].span = Some((2.5, 3.0))),
            (name, |m| m.passed = false),
            (name, |m| {
                let log = good_log(1).replace(" c7 ", " c_seven ");
                m.guests[0].console = Console::read(&log);
            }),
            ("c7", |m| {
                let log = good_log(1)
                    .replace("c7 pass", "c7 fail x")
                    .replace("failed=0", "failed=1");
                let passed = format!("passed={}", CASES_MIN - 1);
                let log = log.replace(&format!("passed={CASES_MIN}"), &passed);
                m.guests[1].console = Console::read(&log);
            }),
        ];
        for (name, spoil) in spoilt {
            let mut machine = good();
            spoil(&mut machine);
            assert_eq!(failed(tee_abi, &machine), [name]);
        }
    }

    const LIFE: &str = "@@plan 1\n@@case 3 clean pass\n@@done passed=1 failed=0\n";

    /// A machine with a bystander, a guest that restarts and one that is stopped.
    fn good_alone() -> MachineRun {
        let mut restarting = guest("restarter", &(LIFE.repeat(4) + "@@plan 1\n"));
        restarting.resets = 4;
        let mut stopped = guest("trespasser", "@@trespass 0x1\n");
        stopped.result = "stopped: vCPU 0: it read".to_owned();
        machine(vec![guest(BYSTANDER, &good_log(1)), restarting, stopped])
    }

    #[test]
    fn a_stopped_and_a_restarting_guest_pass() {
        assert_eq!(failed(alone, &good_alone()), [""; 0]);
    }

    #[test]
    fn a_trespasser_that_survives_fails() {
        let name = ["a_guest_that_leaves_its_memory_is_stopped"];
        let mut machine = good_alone();
        machine.guests[2].console = Console::read("@@survived 0x1, which holds 0x2\n");
        assert_eq!(failed(alone, &machine), name);
        let mut machine = good_alone();
        machine.guests[2].result = "did not end".to_owned();
        assert_eq!(failed(alone, &machine), name);
    }

    #[test]
    fn a_guest_that_does_not_restart_fails() {
        let mut machine = good_alone();
        machine.guests[1].console = Console::read(LIFE);
        assert_eq!(failed(alone, &machine), ["system_reset_restarts_the_guest"]);
    }

    #[test]
    fn a_later_life_that_finds_traces_fails() {
        let mut machine = good_alone();
        let traces = "@@plan 1\n@@case 3 clean fail x\n@@done passed=0 failed=1\n";
        let log = [LIFE, LIFE, traces, LIFE, "@@plan 1\n"].concat();
        machine.guests[1].console = Console::read(&log);
        assert_eq!(failed(alone, &machine), ["clean"]);
    }
}
