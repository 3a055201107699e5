//! The cases, what they may cost, and what they cost under Xen.

use std::collections::HashMap;

use super::frames::Frames;
use super::report::{BenchReport, CaseReport, Judged, Unit};

/// What a machine measured, by case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures(HashMap<String, f64>);

impl Figures {
    /// Reads the lines of the programs of `workloads/` in a guest's console: `figure NAME VALUE`.
    pub(super) fn read(console: &str) -> Self {
        let figures = console.lines().filter_map(|line| {
            let mut words = line.strip_prefix("figure ")?.split_whitespace();
            let name = words.next()?.to_owned();
            let value: u64 = words.next()?.parse().ok()?;
            words.next().is_none().then_some((name, value as f64))
        });
        Self(figures.collect())
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// A figure divided by another one.
    fn ratio(&self, name: &str, by: &str) -> Option<f64> {
        Some(self.get(name)? / self.get(by)?)
    }
}

/// What a program measured on each machine. What is left out was not measured there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Measured {
    pub(super) bare: Figures,
    pub(super) floor: Figures,
    pub(super) ours: Figures,
}

impl Measured {
    fn each(&self, get: impl Fn(&Figures) -> Option<f64>) -> [Option<f64>; 3] {
        [&self.bare, &self.floor, &self.ours].map(get)
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Measurements {
    /// Calls, with Debian's OP-TEE.
    pub(super) calls: Measured,
    /// Calls, with an OP-TEE that uses the CPU's instructions for AES, and does not log.
    pub(super) calls_ce: Measured,
    /// Frames of video, with the same OP-TEE.
    pub(super) frames: Measured,
    /// Instructions from the hypervisor's first to that of the last of two guests.
    pub(super) boot: Option<u64>,
    /// The most instructions for which an interrupt waits in the hypervisor while a guest makes
    /// calls.
    pub(super) waiting_in_calls: u64,
    /// The same while another guest starts on the same CPU.
    pub(super) waiting_for_start: u64,
    /// Calls in time, on the floor and on the hypervisor, one guest on one CPU.
    pub(super) floor_time: Figures,
    pub(super) ours_time: Figures,
    /// Calls in time, on four CPUs: of one guest while the other is idle, and while it calls, too.
    pub(super) one_of_two_time: Figures,
    pub(super) two_time: Figures,
    /// Frames while another guest, on a CPU of its own, is idle, and while it registers large
    /// buffers without end.
    pub(super) frames_beside_idle: Option<Frames>,
    pub(super) frames_beside_registering: Option<Frames>,
}

/// What a case may cost.
#[derive(Clone, Copy, Debug)]
enum Allowance {
    /// Instructions above the floor.
    OverFloor(u32),
    /// Percent of the floor's own cost above the floor.
    PercentOverFloor(u32),
    /// It is measured and not judged.
    Any,
}

impl Allowance {
    fn judged(self, floor: Option<f64>) -> Option<(Judged, Option<f64>)> {
        let over_floor = |target| Some((Judged::OverFloor, target));
        match self {
            Self::OverFloor(count) => over_floor(Some(f64::from(count))),
            Self::PercentOverFloor(percent) => {
                over_floor(floor.map(|floor| (floor * f64::from(percent) / 100.0).floor()))
            }
            Self::Any => None,
        }
    }
}

/// A case: its name, what it may cost, and what Xen adds to its floor.
struct Case(&'static str, Allowance, Option<u32>);

/// In the order of the table. Xen is 4.23-dev with its mediator for OP-TEE and a floor of its own
/// kind, measured on the same QEMU, CPU model, kernel and OP-TEE package with a client of the same
/// kind in Dom0; it refuses buffers of more than 129 pages.
const CALLS: &[Case] = &[
    Case("invoke-value", Allowance::OverFloor(1_200), Some(7_479)),
    Case("invoke-value-user-ta", Allowance::OverFloor(1_200), None),
    Case(
        "invoke-registered-64k",
        Allowance::OverFloor(1_500),
        Some(2_928),
    ),
    Case(
        "invoke-registered-64k-user-ta",
        Allowance::OverFloor(1_500),
        None,
    ),
    Case("invoke-temporary-4k", Allowance::Any, Some(24_735)),
    Case("invoke-temporary-64k", Allowance::Any, Some(29_539)),
    Case("register-4k", Allowance::OverFloor(3_000), Some(17_885)),
    Case("register-64k", Allowance::Any, Some(26_915)),
    Case("register-508k", Allowance::OverFloor(6_000), Some(113_461)),
    Case("register-512k", Allowance::Any, None),
    Case("register-2m", Allowance::Any, None),
    Case("register-8m", Allowance::PercentOverFloor(10), None),
    Case(
        "open-close-pseudo-ta",
        Allowance::OverFloor(3_000),
        Some(14_888),
    ),
    Case(
        "open-close-user-ta",
        Allowance::OverFloor(50_000),
        Some(221_213),
    ),
    Case(
        "open-close-user-ta-libraries",
        Allowance::OverFloor(50_000),
        None,
    ),
];

/// With an OP-TEE that uses the CPU's instructions for AES. Xen adds about as much to a frame of
/// any size, as far as it takes it: measured with xtest's AES benchmark, which calls once for a
/// frame on one buffer.
const FRAMES: &[Case] = &[
    Case("frame-4k-reused", Allowance::Any, Some(8_448)),
    Case("frame-70000-reused", Allowance::Any, Some(8_448)),
    Case(
        "frame-208k-reused",
        Allowance::OverFloor(1_500),
        Some(7_000),
    ),
    Case("frame-208k-registered", Allowance::OverFloor(8_000), None),
    Case("frame-1m-reused", Allowance::OverFloor(2_000), None),
    Case("frame-4m-reused", Allowance::OverFloor(2_000), None),
];

/// Instructions from the hypervisor's first to that of the last of two guests of 512 MiB.
const BOOT_MAX: f64 = 60e6;
/// Instructions that an interrupt may wait in the hypervisor.
const WAITING_MAX: f64 = 20_000.0;
/// The 99th percentile of a frame's cost beside a guest that registers large buffers, divided by
/// the same beside one that is idle.
const DISTURBED_MAX: f64 = 1.2;

/// Calls whose cost must not grow with the number of buffers that are registered.
const GROWING: &[&str] = &["invoke-value", "invoke-registered", "register-4k"];
/// What the cost with 1,000 may be, divided by the cost with 1.
const GROWTH_MAX: f64 = 1.02;

/// Judges everything.
pub(super) fn judge(measurements: &Measurements) -> BenchReport {
    let mut cases = Vec::new();
    cases.extend(CALLS.iter().map(|case| case.judge(&measurements.calls, "")));
    cases.extend(
        CALLS
            .iter()
            .map(|case| case.judge(&measurements.calls_ce, "ce-")),
    );
    cases.extend(
        FRAMES
            .iter()
            .map(|case| case.judge(&measurements.frames, "ce-")),
    );
    let own = |name, unit, value, target: Option<f64>| {
        let judged = target.map(|target| (Judged::Ours, Some(target)));
        CaseReport::new(name, unit, [None, None, value], judged, None)
    };
    let instructions = |name, value: Option<u64>, target| {
        let value = value.map(|value| value as f64);
        own(name, Unit::Instructions, value, Some(target))
    };
    cases.extend([
        instructions("boot-two-guests", measurements.boot, BOOT_MAX),
        instructions(
            "interrupt-waits-in-calls",
            Some(measurements.waiting_in_calls),
            WAITING_MAX,
        ),
        instructions(
            "interrupt-waits-for-vm-start",
            Some(measurements.waiting_for_start),
            WAITING_MAX,
        ),
    ]);
    let beside = [
        (
            "frame-208k-p99-beside-idle",
            measurements.frames_beside_idle,
        ),
        (
            "frame-208k-p99-beside-registering",
            measurements.frames_beside_registering,
        ),
    ];
    cases.extend(beside.map(|(name, frames)| {
        let p99 = frames.map(|frames| frames.p99 as f64);
        own(name, Unit::Instructions, p99, None)
    }));
    cases.extend(GROWING.iter().map(|name| {
        let (one, many) = (format!("{name}-with-1"), format!("{name}-with-1000"));
        let ratios = measurements
            .calls
            .each(|figures| figures.ratio(&many, &one));
        let judged = Some((Judged::Ours, Some(GROWTH_MAX)));
        let name = format!("{name}-growth-1000");
        CaseReport::new(&name, Unit::Ratio, ratios, judged, None)
    }));
    let registering_over_idle = |cost: fn(Frames) -> u64| {
        let beside = measurements.frames_beside_registering.map(cost);
        Some(beside? as f64 / measurements.frames_beside_idle.map(cost)? as f64)
    };
    cases.extend([
        own(
            "frame-208k-p50-registering-over-idle",
            Unit::Ratio,
            registering_over_idle(|frames| frames.p50),
            None,
        ),
        own(
            "frame-208k-p99-registering-over-idle",
            Unit::Ratio,
            registering_over_idle(|frames| frames.p99),
            Some(DISTURBED_MAX),
        ),
    ]);
    let over_floor = mean_ratio(&measurements.ours_time, &measurements.floor_time);
    let beside_another = mean_ratio(&measurements.two_time, &measurements.one_of_two_time);
    cases.extend([
        own("calls-over-floor", Unit::TimeRatio, over_floor, None),
        own(
            "calls-beside-a-calling-guest",
            Unit::TimeRatio,
            beside_another,
            None,
        ),
    ]);
    BenchReport { cases }
}

impl Case {
    fn judge(&self, measured: &Measured, prefix: &str) -> CaseReport {
        let Self(name, allowance, xen) = self;
        let figures = measured.each(|figures| figures.get(name));
        CaseReport::new(
            &format!("{prefix}{name}"),
            Unit::Instructions,
            figures,
            allowance.judged(figures[1]),
            xen.map(f64::from),
        )
    }
}

/// The geometric mean of what the calls take, divided by what they take elsewhere. Sessions are
/// left out, of which one takes as long as thousands of calls.
fn mean_ratio(figures: &Figures, by: &Figures) -> Option<f64> {
    let ratios: Vec<f64> = CALLS
        .iter()
        .filter(|Case(name, ..)| !name.starts_with("open-close"))
        .filter_map(|Case(name, ..)| Some(figures.get(name)? / by.get(name)?))
        .collect();
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (sum / ratios.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lines: &[(&str, u32)]) -> Figures {
        let lines = lines.iter();
        Figures(
            lines
                .map(|(name, value)| ((*name).to_owned(), f64::from(*value)))
                .collect(),
        )
    }

    fn named(report: &BenchReport, name: &str) -> CaseReport {
        let mut cases = report.cases.iter();
        cases.find(|case| case.name == name).unwrap().clone()
    }

    fn case(floor: &Figures, ours: &[(&str, u32)], name: &str) -> CaseReport {
        let calls = Measured {
            floor: floor.clone(),
            ours: figures(ours),
            ..Measured::default()
        };
        let measurements = Measurements {
            calls,
            ..Measurements::default()
        };
        named(&judge(&measurements), name)
    }

    #[test]
    fn figures_are_whole_lines() {
        let console = "[ 1.0] boot\nfigure a 12\nfigure b\nfigure c x\nfigure d 1 2\n figure e 1\n";
        assert_eq!(Figures::read(console), figures(&[("a", 12)]));
    }

    #[test]
    fn a_case_meets_its_target_up_to_the_last_instruction() {
        let floor = figures(&[("invoke-value", 20_000), ("register-8m", 1_009)]);
        for (ours, met) in [(21_200, true), (21_201, false), (19_000, true)] {
            let case = case(&floor, &[("invoke-value", ours)], "invoke-value");
            assert_eq!(case.met, Some(met), "{ours}");
            assert_eq!(case.over_floor, Some(f64::from(ours) - 20_000.0));
            assert_eq!(case.target, Some(1_200.0));
        }
        let case = case(&floor, &[("register-8m", 1_110)], "register-8m");
        assert_eq!((case.target, case.met), (Some(100.0), Some(false)));
    }

    #[test]
    fn what_was_not_measured_has_not_met_its_target() {
        let report = judge(&Measurements::default());
        for case in report.cases {
            let judged = case.judged.is_some() && !case.name.starts_with("interrupt-");
            assert_eq!(case.met == Some(false), judged, "{}", case.name);
        }
    }

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let report = judge(&Measurements::default());
        let mut names: Vec<_> = report.cases.iter().map(|case| &case.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), report.cases.len());
    }

    #[test]
    fn boot_and_waiting_are_judged_by_themselves() {
        let report = judge(&Measurements {
            boot: Some(60_000_000),
            waiting_in_calls: 20_000,
            waiting_for_start: 20_001,
            ..Measurements::default()
        });
        assert_eq!(named(&report, "boot-two-guests").met, Some(true));
        assert_eq!(named(&report, "interrupt-waits-in-calls").met, Some(true));
        let start = named(&report, "interrupt-waits-for-vm-start");
        assert_eq!((start.ours, start.met), (Some(20_001.0), Some(false)));
    }

    #[test]
    fn a_disturbance_is_the_ratio_of_two_p99s() {
        let frames = |p50, p99| {
            Some(Frames {
                p50,
                p99,
                elsewhere: 1.0,
            })
        };
        let report = |idle, registering| {
            judge(&Measurements {
                frames_beside_idle: idle,
                frames_beside_registering: registering,
                ..Measurements::default()
            })
        };
        let ratio = |report: &BenchReport| named(report, "frame-208k-p99-registering-over-idle");
        let met = report(frames(80, 100), frames(100, 120));
        assert_eq!((ratio(&met).ours, ratio(&met).met), (Some(1.2), Some(true)));
        let p50 = named(&met, "frame-208k-p50-registering-over-idle");
        assert_eq!((p50.ours, p50.met), (Some(1.25), None));
        let p99 = named(&met, "frame-208k-p99-beside-registering");
        assert_eq!((p99.ours, p99.met), (Some(120.0), None));
        let missed = report(frames(100, 100), frames(100, 121));
        assert_eq!(ratio(&missed).met, Some(false));
        assert_eq!(ratio(&report(None, frames(1, 1))).met, Some(false));
    }

    #[test]
    fn time_is_compared_call_by_call() {
        let report = judge(&Measurements {
            floor_time: figures(&[("invoke-value", 100), ("register-4k", 1_000_000)]),
            ours_time: figures(&[("invoke-value", 400), ("register-4k", 1_000_000)]),
            ..Measurements::default()
        });
        let case = named(&report, "calls-over-floor");
        assert!((case.ours.unwrap() - 2.0).abs() < 1e-9, "{case:?}");
        assert_eq!(case.met, None);
    }

    #[test]
    fn growth_is_the_ratio_of_two_costs() {
        for (many, met) in [(51_000, true), (51_001, false)] {
            let ours = [
                ("register-4k-with-1", 50_000),
                ("register-4k-with-1000", many),
            ];
            let case = case(&Figures::default(), &ours, "register-4k-growth-1000");
            assert_eq!(case.met, Some(met), "{many}");
            assert_eq!(case.unit, Unit::Ratio);
        }
    }
}
