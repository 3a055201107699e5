//! What consoles show, and what it is worth.

use super::*;

const EXIT: &str = "seconds=1.00 kernel=6.12.1 optee=4.5";

/// Two guests; the second has an initramfs of its own.
fn trace(lines: &[(Source, &str)]) -> Trace {
    trace_with(&[], lines)
}

fn trace_with(may_restart: &[String], lines: &[(Source, &str)]) -> Trace {
    let guests = [
        ("vm1".to_owned(), Some("abc".to_owned())),
        ("vm2".to_owned(), None),
    ];
    let mut trace = Trace::new(guests, may_restart);
    for (seconds, (source, text)) in (1..).zip(lines) {
        trace.line(Duration::from_secs(seconds), *source, text);
    }
    trace
}

const HV: Source = Source::Hypervisor;
const VM1: Source = Source::Guest(0);

fn good(exit: &str) -> Trace {
    trace(&[
        (Source::Firmware, "NOTICE: BL31"),
        (HV, "vm1: started, 512 MiB, 2 vCPUs on CPUs 0,1, tee optee"),
        (HV, "vm2: started, 512 MiB, 1 vCPUs on CPUs 1, tee none"),
        (VM1, "@@abc start kernel=6.12.1 optee=4.5"),
        (VM1, &format!("@@abc exit={exit} {EXIT}")),
        (HV, "vm1: off"),
        (HV, "vm2: off"),
        (HV, "all guests are off"),
    ])
}

#[test]
fn a_warning_about_no_single_guest_is_told_and_kept() {
    let mut trace = trace(&[(HV, "vm1: started, 512 MiB, 1 vCPUs on CPUs 0, tee none")]);
    let at = Duration::from_secs(2);
    assert_eq!(trace.line(at, HV, "warning: vm1: refused 0x1"), None);
    assert_eq!(
        trace.line(at, HV, "warning: OP-TEE 4.5 is old"),
        Some(Event::Warning("OP-TEE 4.5 is old".to_owned()))
    );
    assert_eq!(trace.warnings, ["OP-TEE 4.5 is old"]);
}

fn verdict(lines: &[(Source, &str)]) -> Verdict {
    trace(lines).guests[0].verdict()
}

#[test]
fn a_run_in_which_all_is_well_passes() {
    let trace = good("0");
    assert_eq!(
        RunResult::of(&trace, End::Exited(Some(0))),
        RunResult::Passed
    );
    assert_eq!(trace.failure(), None);
    let guest = &trace.guests[0];
    assert_eq!(guest.seconds(), Some(1.0));
    assert_eq!(guest.guest_seconds, Some(1.0));
    assert_eq!(guest.exit_status, Some(0));
    assert_eq!(guest.sight.optee.as_deref(), Some("4.5"));
    let own = &trace.guests[1];
    assert_eq!(own.seconds(), Some(4.0));
    assert_eq!(own.exit_status, None);
}

#[test]
fn a_job_s_status_fails_the_run() {
    let trace = good("7");
    assert_eq!(trace.guests[0].verdict(), Verdict::JobFailed(7));
    assert_eq!(
        RunResult::of(&trace, End::Exited(Some(0))),
        RunResult::GuestFailed
    );
}

#[test]
fn a_job_that_could_not_be_run_fails_even_with_status_0() {
    let text = format!("@@abc exit=0 {EXIT} failed=tee: no /dev/tee0");
    assert_eq!(
        verdict(&[(VM1, &text), (HV, "vm1: off")]),
        Verdict::JobNotRun("tee: no /dev/tee0".to_owned())
    );
}

#[test]
fn a_guest_that_did_its_job_must_power_off() {
    let text = format!("@@abc exit=0 {EXIT}");
    assert_eq!(verdict(&[(VM1, &text)]), Verdict::NotOff);
}

#[test]
fn a_guest_that_powers_off_without_a_result_fails() {
    assert_eq!(
        verdict(&[
            (HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"),
            (HV, "vm1: off")
        ]),
        Verdict::NoResult
    );
}

#[test]
fn how_far_a_guest_came_is_told() {
    let start = (VM1, "@@abc start kernel=6.12.1 optee=4.5");
    let up = (HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none");
    assert_eq!(verdict(&[]), Verdict::NotStarted);
    assert_eq!(verdict(&[up]), Verdict::JobNotStarted);
    assert_eq!(verdict(&[up, start]), Verdict::Unfinished);
}

#[test]
fn a_guest_without_a_job_passes_when_it_powers_itself_off() {
    let own = |lines: &[(Source, &str)]| trace(lines).guests[1].verdict();
    assert_eq!(own(&[]), Verdict::NotStarted);
    assert_eq!(
        own(&[(HV, "vm2: started, 64 MiB, 1 vCPUs on CPUs 0, tee none")]),
        Verdict::Unfinished
    );
    assert_eq!(
        own(&[
            (HV, "vm2: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"),
            (HV, "vm2: reset")
        ]),
        Verdict::Resets(1)
    );
    assert_eq!(
        own(&[
            (HV, "vm2: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"),
            (HV, "vm2: reset"),
            (HV, "vm2: off")
        ]),
        Verdict::Passed
    );
}

#[test]
fn a_stopped_guest_ends_the_run() {
    let trace = trace(&[(HV, "error: vm2: stopped: data abort at 0x1000")]);
    assert_eq!(trace.failure(), Some(Failure::Guest));
    assert_eq!(
        trace.guests[1].verdict(),
        Verdict::Stopped("data abort at 0x1000".to_owned())
    );
    assert_eq!(
        RunResult::of(&trace, End::Failed(Failure::Guest)),
        RunResult::GuestFailed
    );
}

#[test]
fn the_level_of_a_line_does_not_hide_what_it_says() {
    let trace = trace(&[(HV, "error: vm2: stopped: data abort")]);
    assert_eq!(
        trace.guests[1].verdict(),
        Verdict::Stopped("data abort".to_owned())
    );
}

#[test]
fn a_reset_before_the_end_of_the_job_ends_the_run() {
    let start = (VM1, "@@abc start kernel=6.12.1 optee=4.5");
    let trace = trace(&[start, (HV, "vm1: reset")]);
    assert_eq!(trace.guests[0].verdict(), Verdict::Reset);
    assert_eq!(trace.failure(), Some(Failure::Guest));
}

#[test]
fn resets_that_have_no_line_each_count() {
    let vm1 = ["vm1".to_owned()];
    let lines = [
        (HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"),
        (HV, "vm1: reset 12 more times"),
        (HV, "vm1: reset"),
        (HV, "vm1: reset many more times"),
    ];
    assert_eq!(trace_with(&vm1, &lines).guests[0].resets, 13);
}

#[test]
fn the_last_life_counts_of_a_guest_that_may_restart() {
    let start = (VM1, "@@abc start kernel=6.12.1 optee=4.5");
    let bad = format!("@@abc exit=1 {EXIT}");
    let good = format!("@@abc exit=0 {EXIT}");
    let mut lines = vec![
        (HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"),
        start,
        (HV, "vm1: reset"),
        (HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"),
        start,
        (VM1, &bad),
        (HV, "error: vm1: stopped: destroyed at the console"),
        (HV, "vm1: off"),
    ];
    let vm1 = ["vm1".to_owned()];
    let judged = |lines: &[(Source, &str)]| {
        let trace = trace_with(&vm1, lines);
        assert_eq!(trace.failure(), None);
        trace.guests[0].verdict()
    };
    assert_eq!(
        judged(&lines),
        Verdict::Stopped("destroyed at the console".to_owned())
    );
    assert!(trace_with(&vm1, &lines).guests[0].passed());
    assert!(!trace(&lines).guests[0].passed());
    lines.push((HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none"));
    assert_eq!(judged(&lines), Verdict::JobNotStarted);
    lines.extend([start, (VM1, &good), (HV, "vm1: off")]);
    assert_eq!(judged(&lines), Verdict::Passed);
    assert_eq!(trace_with(&vm1, &lines).guests[0].resets, 1);
    assert_eq!(trace(&lines).failure(), Some(Failure::Guest));
}

#[test]
fn a_panic_of_the_hypervisor_outweighs_all_else() {
    let mut trace = good("0");
    let at = Duration::from_secs(9);
    let event = trace.line(at, HV, "panic: oops at src/main.rs:1");
    assert_eq!(
        event,
        Some(Event::Panic("oops at src/main.rs:1".to_owned()))
    );
    assert_eq!(trace.failure(), Some(Failure::Panic));
    let result = RunResult::of(&trace, End::Exited(Some(0)));
    assert_eq!(
        result,
        RunResult::MachineFailed("the hypervisor panicked: oops at src/main.rs:1".to_owned())
    );
}

#[test]
fn a_guest_cannot_speak_for_the_hypervisor() {
    let trace = trace(&[
        (VM1, "panic: oops"),
        (VM1, "vm2: stopped: x"),
        (VM1, "all guests are off"),
    ]);
    assert_eq!(trace.failure(), None);
    assert!(!trace.all_off);
}

#[test]
fn a_guest_cannot_end_the_job_of_another() {
    let text = format!("@@abc exit=0 {EXIT}");
    let trace = trace(&[(Source::Guest(1), &text)]);
    assert_eq!(trace.guests[0].exit_status, None);
}

#[test]
fn a_machine_that_ends_early_or_badly_failed() {
    let all_but_off = trace(&[(HV, "vm1: started, 64 MiB, 1 vCPUs on CPUs 0, tee none")]);
    for end in [
        End::Exited(Some(0)),
        End::Exited(Some(1)),
        End::Exited(None),
        End::NoHypervisor(Duration::from_secs(60)),
        End::StillOn(Duration::from_secs(20)),
    ] {
        let result = RunResult::of(&all_but_off, end);
        assert!(matches!(result, RunResult::MachineFailed(_)), "{end:?}");
    }
    let result = RunResult::of(&good("0"), End::Exited(Some(1)));
    assert!(matches!(result, RunResult::MachineFailed(_)));
}

#[test]
fn the_time_limit_and_an_interrupt_are_no_success() {
    let limit = Duration::from_secs(5);
    let trace = good("0");
    assert_eq!(
        RunResult::of(&trace, End::TimeLimit(limit)),
        RunResult::TimeLimit(limit)
    );
    assert_eq!(
        RunResult::of(&trace, End::Interrupted),
        RunResult::Interrupted
    );
}

#[test]
fn each_result_has_an_exit_status_of_its_own() {
    let results = [
        RunResult::Passed,
        RunResult::GuestFailed,
        RunResult::TimeLimit(Duration::ZERO),
        RunResult::MachineFailed(String::new()),
        RunResult::Interrupted,
    ];
    let statuses: Vec<u8> = results.iter().map(RunResult::exit_status).collect();
    assert_eq!(statuses, [0, 1, 3, 4, 130]);
}

#[test]
fn the_first_line_of_the_hypervisor_is_an_event() {
    let mut trace = trace(&[]);
    let at = Duration::from_secs(1);
    assert_eq!(trace.line(at, HV, "hello"), Some(Event::HypervisorUp));
    assert_eq!(trace.line(at, HV, "hello"), None);
    assert_eq!(trace.hypervisor_up, Some(at));
}

#[test]
fn the_last_line_of_a_guest_is_its_job_s() {
    let end = format!("@@abc exit=1 {EXIT}");
    let trace = trace(&[
        (VM1, "what went wrong"),
        (VM1, "  "),
        (VM1, &end),
        (VM1, "reboot: Power down"),
    ]);
    assert_eq!(trace.guests[0].last_line, "what went wrong");
}
