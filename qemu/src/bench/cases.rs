//! The cases, what they may cost, and what they cost under Xen.

use std::collections::HashMap;

use super::report::{BenchReport, CaseReport};

/// What a machine measured, by case: instructions a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures(HashMap<String, u64>);

impl Figures {
    /// Reads the lines of `workloads/call-costs` in a guest's console: `figure NAME VALUE`.
    pub(super) fn read(console: &str) -> Self {
        let figures = console.lines().filter_map(|line| {
            let mut words = line.strip_prefix("figure ")?.split_whitespace();
            let name = words.next()?.to_owned();
            let value = words.next()?.parse().ok()?;
            words.next().is_none().then_some((name, value))
        });
        Self(figures.collect())
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}

/// What a case may cost above the floor.
#[derive(Clone, Copy, Debug)]
enum Allowance {
    /// Instructions.
    Instructions(u64),
    /// Percent of the floor's own cost.
    Percent(u64),
    /// It is measured and not judged.
    Any,
}

impl Allowance {
    fn instructions(self, floor: u64) -> Option<u64> {
        match self {
            Self::Instructions(count) => Some(count),
            Self::Percent(percent) => Some(floor.saturating_mul(percent) / 100),
            Self::Any => None,
        }
    }
}

/// A case: its name, what it may cost above the floor, and what it costs above the floor under Xen.
struct Case(&'static str, Allowance, Option<u64>);

/// In the order of the table. Xen is 4.23-dev with its mediator for OP-TEE and a floor of its own kind, measured on the same
/// QEMU, CPU model, kernel and OP-TEE package with a client of the same kind in Dom0; it refuses buffers of more than 129 pages.
const CASES: &[Case] = &[
    Case("invoke-value", Allowance::Instructions(1_200), Some(7_479)),
    Case(
        "invoke-registered-64k",
        Allowance::Instructions(1_500),
        Some(2_928),
    ),
    Case("invoke-temporary-4k", Allowance::Any, Some(24_735)),
    Case("invoke-temporary-64k", Allowance::Any, Some(29_539)),
    Case("register-4k", Allowance::Instructions(3_000), Some(17_885)),
    Case("register-64k", Allowance::Any, Some(26_915)),
    Case(
        "register-508k",
        Allowance::Instructions(6_000),
        Some(113_461),
    ),
    Case("register-512k", Allowance::Any, None),
    Case("register-2m", Allowance::Any, None),
    Case("register-8m", Allowance::Percent(10), None),
    Case(
        "open-close-pseudo-ta",
        Allowance::Instructions(3_000),
        Some(14_888),
    ),
    Case(
        "open-close-user-ta",
        Allowance::Instructions(50_000),
        Some(221_213),
    ),
];

/// Calls whose cost must not grow with the number of buffers that are registered.
const GROWING: &[&str] = &["invoke-registered", "register-4k"];
/// What it may grow by with 1,000 instead of 1, in percent of the cost with 1.
const GROWTH_MAX: u64 = 2;

/// Compares what the machines measured.
pub(super) fn judge(bare: &Figures, floor: &Figures, ours: &Figures) -> BenchReport {
    let calls = CASES.iter().map(|Case(name, allowance, xen)| {
        let figures = [bare, floor, ours].map(|figures| figures.get(name));
        let target = figures[1].and_then(|floor| allowance.instructions(floor));
        CaseReport::new(
            name,
            figures,
            target,
            *xen,
            !matches!(allowance, Allowance::Any),
        )
    });
    // What the call costs more with many buffers is judged against the floor as well: OP-TEE's own search takes longer, too.
    let growth = GROWING.iter().map(|name| {
        let growth = |figures: &Figures| {
            let one = figures.get(&format!("{name}-with-1"))?;
            let many = figures.get(&format!("{name}-with-1000"))?;
            Some(many.saturating_sub(one))
        };
        let target = ours
            .get(&format!("{name}-with-1"))
            .map(|one| one * GROWTH_MAX / 100);
        let figures = [growth(bare), growth(floor), growth(ours)];
        CaseReport::new(&format!("{name}-growth-1000"), figures, target, None, true)
    });
    BenchReport {
        cases: calls.chain(growth).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lines: &[(&str, u64)]) -> Figures {
        Figures(
            lines
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        )
    }

    fn case(report: &BenchReport, name: &str) -> CaseReport {
        report
            .cases
            .iter()
            .find(|case| case.name == name)
            .unwrap()
            .clone()
    }

    #[test]
    fn figures_are_whole_lines() {
        let console = "[ 1.0] boot\nfigure a 12\nfigure b\nfigure c x\nfigure d 1 2\n figure e 1\n";
        assert_eq!(Figures::read(console), figures(&[("a", 12)]));
    }

    #[test]
    fn a_case_meets_its_target_up_to_the_last_instruction() {
        let floor = figures(&[("invoke-value", 20_000), ("register-8m", 1_000)]);
        for (ours, met) in [(21_200, true), (21_201, false), (19_000, true)] {
            let report = judge(
                &Figures::default(),
                &floor,
                &figures(&[("invoke-value", ours)]),
            );
            let case = case(&report, "invoke-value");
            assert_eq!(case.met, Some(met), "{ours}");
            assert_eq!(case.over_floor, Some(ours as i64 - 20_000));
            assert_eq!(case.target, Some(1_200));
        }
        let ours = figures(&[("register-8m", 1_101)]);
        let report = judge(&Figures::default(), &floor, &ours);
        assert_eq!(case(&report, "register-8m").met, Some(false));
        assert_eq!(case(&report, "register-8m").target, Some(100));
    }

    #[test]
    fn what_was_not_measured_has_not_met_its_target() {
        let report = judge(
            &Figures::default(),
            &Figures::default(),
            &Figures::default(),
        );
        assert_eq!(case(&report, "invoke-value").met, Some(false));
        assert_eq!(case(&report, "invoke-temporary-4k").met, None);
        assert!(!report.met());
    }

    #[test]
    fn growth_is_judged_against_that_of_the_floor() {
        let floor = figures(&[
            ("register-4k-with-1", 50_000),
            ("register-4k-with-1000", 53_000),
        ]);
        for (many, met) in [(54_000, true), (54_001 + 100, false)] {
            let ours = figures(&[
                ("register-4k-with-1", 50_000),
                ("register-4k-with-1000", many),
            ]);
            let report = judge(&Figures::default(), &floor, &ours);
            assert_eq!(case(&report, "register-4k-growth-1000").met, Some(met));
        }
    }
}
