//! The cases, what they may cost, and what they cost under Xen.

use std::collections::HashMap;

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

/// What each machine measured. What is left out was not measured there.
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

/// In the order of the table. Xen is 4.23-dev with its mediator for OP-TEE and a floor of its own kind, measured on the same
/// QEMU, CPU model, kernel and OP-TEE package with a client of the same kind in Dom0; it refuses buffers of more than 129 pages.
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

/// Calls whose cost must not grow with the number of buffers that are registered.
const GROWING: &[&str] = &["invoke-value", "invoke-registered", "register-4k"];
/// What the cost with 1,000 may be, divided by the cost with 1.
const GROWTH_MAX: f64 = 1.02;

/// Judges what the machines with Debian's OP-TEE measured.
pub(super) fn judge(measured: &Measured) -> BenchReport {
    let calls = CALLS.iter().map(|Case(name, allowance, xen)| {
        let figures = measured.each(|figures| figures.get(name));
        CaseReport::new(
            name,
            Unit::Instructions,
            figures,
            allowance.judged(figures[1]),
            xen.map(f64::from),
        )
    });
    let growth = GROWING.iter().map(|name| {
        let (one, many) = (format!("{name}-with-1"), format!("{name}-with-1000"));
        let ratios = measured.each(|figures| figures.ratio(&many, &one));
        let judged = Some((Judged::Ours, Some(GROWTH_MAX)));
        CaseReport::new(
            &format!("{name}-growth-1000"),
            Unit::Ratio,
            ratios,
            judged,
            None,
        )
    });
    BenchReport {
        cases: calls.chain(growth).collect(),
    }
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

    fn case(floor: &Figures, ours: &[(&str, u32)], name: &str) -> CaseReport {
        let measured = Measured {
            floor: floor.clone(),
            ours: figures(ours),
            ..Measured::default()
        };
        let mut cases = judge(&measured).cases.into_iter();
        cases.find(|case| case.name == name).unwrap()
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
        let report = judge(&Measured::default());
        for case in report.cases {
            let judged = case.judged.is_some();
            assert_eq!(case.met, judged.then_some(false), "{}", case.name);
        }
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
