//! What was measured, for people and for programs.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// All cases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BenchReport {
    /// In the order of the table.
    pub cases: Vec<CaseReport>,
}

/// A case. All figures are instructions a round; null is what was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// What is done in a round.
    pub name: String,
    /// Without a hypervisor, on an OP-TEE without virtualization.
    pub bare: Option<u64>,
    /// On the floor.
    pub floor: Option<u64>,
    /// On the hypervisor.
    pub ours: Option<u64>,
    /// What the hypervisor adds to the floor.
    pub over_floor: Option<i64>,
    /// What it may add; null if the case is not judged.
    pub target: Option<u64>,
    /// Whether it adds no more than that; null if the case is not judged.
    pub met: Option<bool>,
    /// What Xen adds to the floor: not measured in this run.
    pub xen_over_floor: Option<u64>,
}

impl CaseReport {
    /// Of figures without a hypervisor, on the floor and on the hypervisor.
    pub(super) fn new(
        name: &str,
        [bare, floor, ours]: [Option<u64>; 3],
        target: Option<u64>,
        xen_over_floor: Option<u64>,
        judged: bool,
    ) -> Self {
        let over_floor = ours
            .zip(floor)
            .and_then(|(ours, floor)| ours.checked_signed_diff(floor));
        let met = over_floor
            .zip(target)
            .is_some_and(|(over, target)| i128::from(over) <= i128::from(target));
        Self {
            name: name.to_owned(),
            bare,
            floor,
            ours,
            over_floor,
            target,
            met: judged.then_some(met),
            xen_over_floor,
        }
    }
}

impl BenchReport {
    /// Whether no case misses its target.
    pub fn met(&self) -> bool {
        self.cases.iter().all(|case| case.met != Some(false))
    }

    /// Writes it as JSON.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text)?;
        Ok(())
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<30}{:>12}{:>12}{:>12}{:>12}{:>12}  {:<6}{:>12}",
            "instructions", "bare", "floor", "ours", "over floor", "target", "", "Xen, over"
        )?;
        for case in &self.cases {
            let verdict = match case.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let over = case.over_floor.map_or_else(|| "-".to_owned(), signed);
            writeln!(
                formatter,
                "{:<30}{:>12}{:>12}{:>12}{over:>12}{:>12}  {verdict:<6}{:>12}",
                case.name,
                shown(case.bare),
                shown(case.floor),
                shown(case.ours),
                shown(case.target),
                shown(case.xen_over_floor),
            )?;
        }
        let missed = self
            .cases
            .iter()
            .filter(|case| case.met == Some(false))
            .count();
        let judged = self.cases.iter().filter(|case| case.met.is_some()).count();
        writeln!(
            formatter,
            "{judged} targets, {} met, {missed} missed. Xen's figures are constants, measured before on the same parts.",
            judged - missed
        )
    }
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), grouped)
}

fn signed(value: i64) -> String {
    let sign = if value < 0 { '-' } else { '+' };
    format!("{sign}{}", grouped(value.unsigned_abs()))
}

/// With a comma after each three digits.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
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

    #[test]
    fn digits_are_grouped_from_the_right() {
        for (value, text) in [
            (7, "7"),
            (999, "999"),
            (1_000, "1,000"),
            (46_218_596, "46,218,596"),
        ] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!(signed(-1_234), "-1,234");
    }

    #[test]
    fn the_table_has_target_and_measured_side_by_side() {
        let met = CaseReport::new("one", [None, Some(10), Some(15)], Some(5), Some(77), true);
        let missed = CaseReport::new("two", [Some(1), Some(10), Some(16)], Some(5), None, true);
        let text = BenchReport {
            cases: vec![met, missed],
        }
        .to_string();
        let words = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(
            words("one"),
            ["one", "-", "10", "15", "+5", "5", "met", "77"]
        );
        assert_eq!(
            words("two"),
            ["two", "1", "10", "16", "+6", "5", "MISSED", "-"]
        );
        assert!(text.contains("2 targets, 1 met, 1 missed"), "{text}");
    }
}
