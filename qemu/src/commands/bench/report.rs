//! What was measured, for people and for programs.

use std::fmt;

use anyhow::Result;
use serde::{Serialize, Serializer};

/// All cases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BenchReport {
    /// In the order of the table.
    pub cases: Vec<CaseReport>,
}

/// What a case's figures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Instructions, a round: of the whole machine, or of a guest's CPU where other CPUs work at
    /// the same time.
    Instructions,
    /// The same work's cost in two situations, one divided by the other.
    Ratio,
    /// The same of time instead of instructions, which what else the host does changes.
    TimeRatio,
}

/// What is compared with a case's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// What the hypervisor adds to the floor.
    OverFloor,
    /// The hypervisor's own figure.
    Ours,
}

/// A case. A figure that was not measured is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReport {
    /// What is done in a round.
    pub name: String,
    /// What the figures count.
    pub unit: Unit,
    /// Without a hypervisor, on an OP-TEE without virtualization.
    #[serde(serialize_with = "figure")]
    pub bare: Option<f64>,
    /// On the floor.
    #[serde(serialize_with = "figure")]
    pub floor: Option<f64>,
    /// On the hypervisor.
    #[serde(serialize_with = "figure")]
    pub ours: Option<f64>,
    /// What the hypervisor adds to the floor.
    #[serde(serialize_with = "figure")]
    pub over_floor: Option<f64>,
    /// What has a target; null if the case is not judged.
    pub judged: Option<Judged>,
    /// The most that it may be.
    #[serde(serialize_with = "figure")]
    pub target: Option<f64>,
    /// Whether it is no more than that; null if the case is not judged.
    pub met: Option<bool>,
    /// What Xen adds to the floor: not measured in this run.
    #[serde(serialize_with = "figure")]
    pub xen_over_floor: Option<f64>,
}

/// Counts as JSON's whole numbers.
fn figure<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        Some(value) if value.fract() == 0.0 => serializer.serialize_i64(value as i64),
        value => value.serialize(serializer),
    }
}

impl CaseReport {
    /// Of figures without a hypervisor, on the floor and on the hypervisor.
    pub(super) fn new(
        name: &str,
        unit: Unit,
        [bare, floor, ours]: [Option<f64>; 3],
        judged: Option<(Judged, Option<f64>)>,
        xen_over_floor: Option<f64>,
    ) -> Self {
        let over_floor = ours.zip(floor).map(|(ours, floor)| ours - floor);
        let (judged, target) = judged.unzip();
        let target = target.flatten();
        let mut case = Self {
            name: name.to_owned(),
            unit,
            bare,
            floor,
            ours,
            over_floor,
            judged,
            target,
            met: None,
            xen_over_floor,
        };
        case.met = judged.map(|_| {
            case.measured()
                .zip(target)
                .is_some_and(|(measured, target)| measured <= target)
        });
        case
    }

    /// The figure that has the target.
    #[must_use]
    pub fn measured(&self) -> Option<f64> {
        match self.judged? {
            Judged::OverFloor => self.over_floor,
            Judged::Ours => self.ours,
        }
    }
}

impl BenchReport {
    /// Whether no case misses its target.
    #[must_use]
    pub fn met(&self) -> bool {
        self.cases.iter().all(|case| case.met != Some(false))
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, title) in [
            (Unit::Instructions, "instructions"),
            (Unit::Ratio, "ratios"),
            (Unit::TimeRatio, "ratios of time on this host"),
        ] {
            let cases = || self.cases.iter().filter(move |case| case.unit == unit);
            if cases().next().is_none() {
                continue;
            }
            writeln!(
                formatter,
                "{title:<38}{:>12}{:>12}{:>12}{:>12}{:>13}  {:<6}{:>12}",
                "bare", "floor", "ours", "over floor", "target", "", "Xen, over"
            )?;
            cases().try_for_each(|case| case.row(formatter))?;
            writeln!(formatter)?;
        }
        let missed = self
            .cases
            .iter()
            .filter(|case| case.met == Some(false))
            .count();
        let judged = self.cases.iter().filter(|case| case.met.is_some()).count();
        writeln!(
            formatter,
            "{judged} targets, {} met, {missed} missed. A target without a sign is for the column \"ours\". Xen's figures are \
             constants, measured before on the same parts.",
            judged - missed
        )
    }
}

impl CaseReport {
    fn row(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let plain = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| self.shown(v));
        let signed = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| self.signed(v));
        let target = match self.judged {
            Some(Judged::OverFloor) => signed(self.target),
            _ => plain(self.target),
        };
        writeln!(
            formatter,
            "{:<38}{:>12}{:>12}{:>12}{:>12}{target:>13}  {verdict:<6}{:>12}",
            self.name,
            plain(self.bare),
            plain(self.floor),
            plain(self.ours),
            signed(self.over_floor),
            signed(self.xen_over_floor),
        )
    }

    /// A figure of this case, as people read it.
    pub(super) fn shown(&self, value: f64) -> String {
        match self.unit {
            Unit::Instructions => grouped(value.round() as i64),
            Unit::Ratio | Unit::TimeRatio => format!("{value:.3}"),
        }
    }

    /// A difference of figures of this case.
    pub(super) fn signed(&self, value: f64) -> String {
        let sign = if value < 0.0 { "" } else { "+" };
        format!("{sign}{}", self.shown(value))
    }
}

/// With a comma after each three digits.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-" } else { "" }.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, figures: [Option<f64>; 3], target: f64) -> CaseReport {
        CaseReport::new(
            name,
            Unit::Instructions,
            figures,
            Some((Judged::OverFloor, Some(target))),
            Some(77.0),
        )
    }

    fn ratio(ours: Option<f64>) -> CaseReport {
        let judged = Some((Judged::Ours, Some(1.02)));
        CaseReport::new("ratio", Unit::Ratio, [None, None, ours], judged, None)
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        for (value, text) in [
            (7, "7"),
            (999, "999"),
            (1_000, "1,000"),
            (-46_218_596, "-46,218,596"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn the_table_has_target_and_measured_side_by_side() {
        let cases = vec![
            case("one", [None, Some(10.0), Some(15.0)], 5.0),
            case("two", [Some(1.0), Some(10.0), Some(1_016.0)], 5.0),
            ratio(Some(1.0204)),
        ];
        let text = BenchReport { cases }.to_string();
        let words = |name: &str| -> Vec<String> {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let words = line.unwrap().split_whitespace();
            words.map(str::to_owned).collect()
        };
        assert_eq!(
            words("one"),
            ["one", "-", "10", "15", "+5", "+5", "met", "+77"]
        );
        assert_eq!(
            words("two"),
            ["two", "1", "10", "1,016", "+1,006", "+5", "MISSED", "+77"]
        );
        assert_eq!(
            words("ratio"),
            ["ratio", "-", "-", "1.020", "-", "1.020", "MISSED", "-"]
        );
        assert!(text.contains("3 targets, 1 met, 2 missed"), "{text}");
    }

    #[test]
    fn what_was_not_measured_has_not_met_its_target() {
        assert_eq!(ratio(None).met, Some(false));
        assert_eq!(ratio(Some(1.02)).met, Some(true));
        let unjudged = CaseReport::new("x", Unit::TimeRatio, [None; 3], None, None);
        assert_eq!(unjudged.met, None);
        let all = |cases: &[&CaseReport]| BenchReport {
            cases: cases.iter().copied().cloned().collect(),
        };
        assert!(all(&[&unjudged, &ratio(Some(1.0))]).met());
        assert!(!all(&[&unjudged, &ratio(None)]).met());
    }

    #[test]
    fn json_has_whole_numbers_where_something_is_counted() {
        let case = case("one", [None, Some(10.0), Some(15.0)], 5.0);
        let json = serde_json::to_value(&case).unwrap();
        assert_eq!(json["over_floor"], 5);
        assert_eq!(json["bare"], serde_json::Value::Null);
        assert_eq!(json["judged"], "over-floor");
        assert_eq!(serde_json::to_value(ratio(Some(1.5))).unwrap()["ours"], 1.5);
    }
}
