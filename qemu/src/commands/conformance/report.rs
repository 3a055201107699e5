//! What all cases found.

use std::fmt;

use serde::Serialize;

use super::console::Figure;

/// What a case found in a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// The requirement that it checks, 0 to 9.
    pub requirement: u8,
    /// The guest that it ran in, or that it is about.
    pub guest: String,
    /// Whether it passed.
    #[serde(serialize_with = "verdict")]
    #[serde(rename = "result")]
    pub passed: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn verdict<S: serde::Serializer>(passed: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *passed { "pass" } else { "fail" })
}

/// A figure that a payload measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureReport {
    /// What was measured.
    pub name: String,
    /// The value with its unit.
    pub value: String,
}

/// What all cases found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConformanceReport {
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseReport>,
    /// What was measured.
    pub figures: Vec<FigureReport>,
}

impl ConformanceReport {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.passed)
    }

    pub(super) fn add(
        &mut self,
        requirement: u8,
        guest: &str,
        name: &str,
        outcome: Result<(), String>,
    ) {
        self.cases.push(CaseReport {
            name: name.to_owned(),
            requirement,
            guest: guest.to_owned(),
            passed: outcome.is_ok(),
            reason: outcome.err(),
        });
    }

    pub(super) fn add_figures(&mut self, figures: &[Figure]) {
        self.figures
            .extend(figures.iter().map(|figure| FigureReport {
                name: figure.name.clone(),
                value: figure.value.clone(),
            }));
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            let CaseReport {
                name,
                requirement,
                guest,
                ..
            } = case;
            let verdict = if case.passed { "pass" } else { "FAIL" };
            write!(formatter, "{verdict}  {requirement}  {guest:<12}  {name}")?;
            match &case.reason {
                Some(reason) => writeln!(formatter, ": {reason}")?,
                None => writeln!(formatter)?,
            }
        }
        for FigureReport { name, value } in &self.figures {
            writeln!(formatter, "{name}: {value}")?;
        }
        let failed = self.cases.iter().filter(|case| !case.passed).count();
        let total = self.cases.len();
        writeln!(
            formatter,
            "{total} cases, {} passed, {failed} failed",
            total - failed
        )
    }
}
