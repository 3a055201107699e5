//! What came of xtest in all guests: a table, JSON and JUnit XML (docs/testing.md).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use super::console::{Case, Outcome, Suite};
use crate::base::json::write_json;
use crate::base::table::{Last, table};
use crate::run::report::{GuestReport, Report};

/// The cases that xtest of Debian's `optee-test-qemu` 4.5.0 has in its default suite.
pub const CASES: u64 = 139;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct XtestReport {
    /// The guests that ran xtest.
    pub guests: Vec<GuestResult>,
    /// Whether each of them ran all cases, with none failed and none skipped, and the machine did
    /// as it should.
    pub passed: bool,
    /// What came of the machine.
    #[serde(skip)]
    pub machine: String,
    /// The tool's exit status.
    #[serde(skip)]
    pub exit_status: u8,
}

/// What came of it in one guest.
#[derive(Clone, Debug, Serialize)]
pub struct GuestResult {
    /// Its name.
    pub name: String,
    /// `passed`, or what went wrong.
    pub result: String,
    /// Cases that ran.
    pub cases: u64,
    /// Cases that failed, or did not end.
    pub cases_failed: u64,
    /// Cases that were skipped.
    pub cases_skipped: u64,
    /// Subtests that ran; 0 if xtest did not come to its end.
    pub subtests: u64,
    /// Subtests that failed.
    pub subtests_failed: u64,
    /// What xtest took by the host's clock; null if it did not end.
    pub seconds: Option<f64>,
    /// OP-TEE's revision.
    pub optee: Option<String>,
    #[serde(skip)]
    cases_seen: Vec<Case>,
}

impl GuestResult {
    fn new(guest: &GuestReport, suite: Suite) -> Self {
        let count = |wanted: fn(&Outcome) -> bool| {
            let cases = suite.cases.iter();
            cases
                .map(|case| u64::from(wanted(&case.outcome)))
                .sum::<u64>()
        };
        let seen_failed =
            count(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::Unfinished));
        let (cases, cases_failed) = match suite.counted {
            Some(count) => (count.all, count.failed.max(seen_failed)),
            None => (suite.cases.len() as u64, seen_failed),
        };
        let (subtests, subtests_failed) = suite
            .subtests
            .map_or((0, 0), |count| (count.all, count.failed));
        let cases_skipped = suite.skipped() + suite.left_out.unwrap_or(0);
        let result = if !guest.passed {
            guest.result.clone()
        } else if suite.counted.is_none() {
            "xtest did not say what came of it".to_owned()
        } else if cases_failed > 0 || subtests_failed > 0 {
            "failed".to_owned()
        } else if cases_skipped > 0 {
            "cases were skipped".to_owned()
        } else if cases != CASES {
            format!("not all {CASES} cases ran")
        } else {
            "passed".to_owned()
        };
        Self {
            name: guest.name.clone(),
            result,
            cases,
            cases_failed,
            cases_skipped,
            subtests,
            subtests_failed,
            seconds: guest.seconds,
            optee: guest.optee.clone(),
            cases_seen: suite.cases,
        }
    }

    /// Whether all cases ran, and passed.
    pub fn passed(&self) -> bool {
        self.result == "passed"
    }

    fn test_suite(&self) -> TestSuite {
        let mut suite = TestSuite::new(self.name.as_str());
        for case in &self.cases_seen {
            let status = match &case.outcome {
                Outcome::Passed => TestCaseStatus::success(),
                Outcome::Failed(place) => failure(NonSuccessKind::Failure, place),
                Outcome::Unfinished => failure(NonSuccessKind::Error, "it did not end"),
                Outcome::Skipped(why) => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(why.as_str());
                    status
                }
            };
            let mut test = TestCase::new(case.name.as_str(), status);
            test.set_classname(self.name.as_str());
            if let Some(took) = case.took() {
                test.set_time(took);
            }
            suite.add_test_case(test);
        }
        // What is wrong with the guest as a whole must fail in the file, too.
        let status = if self.passed() {
            TestCaseStatus::success()
        } else {
            failure(NonSuccessKind::Failure, &self.result)
        };
        let mut whole = TestCase::new("all_cases_pass", status);
        whole.set_classname(self.name.as_str());
        suite.add_test_case(whole);
        if let Some(seconds) = self.seconds.map(Duration::try_from_secs_f64)
            && let Ok(seconds) = seconds
        {
            suite.set_time(seconds);
        }
        suite
    }
}

fn failure(kind: NonSuccessKind, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message);
    status
}

impl XtestReport {
    /// From the machine's report and what each guest's xtest said.
    pub(super) fn new(report: &Report, suites: BTreeMap<String, Suite>) -> Self {
        let guests: Vec<GuestResult> = suites
            .into_iter()
            .filter_map(|(name, suite)| Some(GuestResult::new(report.guest(&name)?, suite)))
            .collect();
        let passed = report.result.exit_status() == 0 && guests.iter().all(GuestResult::passed);
        let exit_status = match report.result.exit_status() {
            0 => u8::from(!passed),
            status => status,
        };
        Self {
            guests,
            passed,
            machine: format!(
                "{} ({:.1} s; logs in {})",
                report.summary,
                report.seconds,
                report.logs.display()
            ),
            exit_status,
        }
    }

    /// Writes `xtest.json` and `xtest.xml` into a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut junit = quick_junit::Report::new("xtest");
        for guest in &self.guests {
            junit.add_test_suite(guest.test_suite());
        }
        write_json(self, &folder.join("xtest.json"))?;
        let path = folder.join("xtest.xml");
        fs::write(&path, junit.to_string()?)
            .with_context(|| format!("the report {} can't be written", path.display()))
    }
}

impl fmt::Display for XtestReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for guest in &self.guests {
            for case in &guest.cases_seen {
                let what = match &case.outcome {
                    Outcome::Passed => continue,
                    Outcome::Failed(place) => format!("failed, {place}"),
                    Outcome::Unfinished => "did not end".to_owned(),
                    Outcome::Skipped(why) => format!("was skipped: {why}"),
                };
                let Case { name, title, .. } = case;
                writeln!(formatter, "{}: {name} ({title}) {what}", guest.name)?;
            }
        }
        let head = [
            "guest", "OP-TEE", "cases", "failed", "skipped", "subtests", "failed", "result",
            "seconds",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        for guest in &self.guests {
            rows.push([
                guest.name.clone(),
                guest.optee.clone().unwrap_or_else(|| "none".to_owned()),
                guest.cases.to_string(),
                guest.cases_failed.to_string(),
                guest.cases_skipped.to_string(),
                guest.subtests.to_string(),
                guest.subtests_failed.to_string(),
                guest.result.clone(),
                guest
                    .seconds
                    .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
            ]);
        }
        table(formatter, &rows, Last::Number)?;
        writeln!(formatter, "\n{}", self.machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A suite of this many cases, of which the first ends as told.
    fn suite(cases: u64, first: &str) -> Suite {
        let mut suite = Suite::default();
        let mut lines = Vec::new();
        for n in 0..cases {
            lines.push(format!("* regression_{n} A <case>"));
            lines.push(format!(
                "  regression_{n} {}",
                if n == 0 { first } else { "OK" }
            ));
        }
        let failed = u64::from(first != "OK");
        lines.extend([
            "Result of testsuite regression+pkcs11:".to_owned(),
            format!("500 subtests of which {failed} failed"),
            format!("{cases} test cases of which {failed} failed"),
            "0 test cases were skipped".to_owned(),
        ]);
        for (seconds, line) in (0..).zip(&lines) {
            suite.line(Duration::from_secs(seconds), line);
        }
        suite
    }

    fn guest(name: &str, passed: bool) -> GuestReport {
        GuestReport::of_test(name, passed)
    }

    fn result(suite: Suite) -> String {
        GuestResult::new(&guest("vm1", true), suite).result
    }

    #[test]
    fn only_all_cases_passed_is_passed() {
        assert_eq!(result(suite(CASES, "OK")), "passed");
        assert_eq!(result(suite(CASES, "FAIL")), "failed");
        assert_eq!(result(suite(CASES - 1, "OK")), "not all 139 cases ran");
        assert_eq!(
            result(Suite::default()),
            "xtest did not say what came of it"
        );
        let mut skipped = suite(CASES, "OK");
        skipped.line(Duration::ZERO, "1 test case was skipped");
        assert_eq!(result(skipped), "cases were skipped");
        let failed = GuestResult::new(&guest("vm1", false), suite(CASES, "OK"));
        assert_eq!(failed.result, "exit status 7");
    }

    fn report(guests: Vec<GuestResult>) -> XtestReport {
        XtestReport {
            passed: guests.iter().all(GuestResult::passed),
            guests,
            machine: "passed".to_owned(),
            exit_status: 0,
        }
    }

    #[test]
    fn the_files_say_what_came_of_each_guest() {
        let folder = tempfile::tempdir().unwrap();
        let reports = folder.path().join("a/b");
        report(vec![
            GuestResult::new(&guest("vm1", true), suite(CASES, "OK")),
            GuestResult::new(&guest("vm2", true), suite(CASES, "FAIL")),
        ])
        .write(&reports)
        .unwrap();
        let json = fs::read_to_string(reports.join("xtest.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["passed"], false);
        let [vm1, vm2] = [&json["guests"][0], &json["guests"][1]];
        assert_eq!((&vm1["name"], &vm2["name"]), (&"vm1".into(), &"vm2".into()));
        assert_eq!(
            (&vm1["cases"], &vm1["cases_failed"]),
            (&CASES.into(), &0.into())
        );
        assert_eq!(
            (&vm1["subtests"], &vm1["cases_skipped"]),
            (&500.into(), &0.into())
        );
        assert_eq!(
            (&vm2["cases_failed"], &vm2["subtests_failed"]),
            (&1.into(), &1.into())
        );
        assert_eq!(vm1["seconds"], 12.5);
        let junit = fs::read_to_string(reports.join("xtest.xml")).unwrap();
        let cases = usize::try_from(CASES).unwrap();
        assert_eq!(junit.matches("<testcase ").count(), 2 * (cases + 1));
        // The case, and the guest as a whole.
        assert_eq!(junit.matches("<failure").count(), 2);
        assert_eq!(
            junit.matches("time=\"1.000\"").count(),
            2 * cases,
            "{junit}"
        );
    }

    #[test]
    fn the_table_names_what_failed() {
        let text = report(vec![
            GuestResult::new(&guest("vm1", true), suite(CASES, "OK")),
            GuestResult::new(&guest("vm2", true), suite(CASES, "FAIL")),
        ])
        .to_string();
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row("vm1 ").contains("passed"), "{text}");
        assert!(row("vm2 ").contains("failed"), "{text}");
        assert!(
            row("vm2: ").contains("regression_0 (A <case>) failed"),
            "{text}"
        );
    }
}
