//! What xtest says on a guest's console (optee_test 4.5.0, `host/xtest/adbg/src/adbg_run.c` and
//! `adbg_case.c`).
//!
//! ```text
//! * regression_1001 Core self tests         a case begins
//! o regression_1001.1 Core self tests       a part of it
//!   regression_1001.1 OK
//!   regression_1001 OK                      it ends: OK or FAIL
//! Result of testsuite regression+pkcs11:
//! regression_1001 OK                        or: FAILED first error at FILE:LINE, also of a part; or: SKIPPED: "WHY"
//! 39355 subtests of which 0 failed
//! 139 test cases of which 0 failed
//! 0 test cases were skipped
//! ```

use std::time::Duration;

use crate::base::counted::counted;

/// What one guest's xtest has said so far.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// The cases that began, in their order.
    pub cases: Vec<Case>,
    /// What it counted, once it has come to its end.
    pub subtests: Option<Count>,
    /// Cases, likewise.
    pub counted: Option<Count>,
    /// Cases of the suite that it left out.
    pub left_out: Option<u64>,
    in_results: bool,
}

/// How many ran, and how many of these failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub all: u64,
    /// Those that failed.
    pub failed: u64,
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, such as `regression_1001`.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// What became of it.
    pub outcome: Outcome,
    began: Duration,
    ended: Option<Duration>,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Unfinished,
    /// All of it passed.
    Passed,
    /// Something in it failed: where, as far as xtest says.
    Failed(String),
    /// It did not run: why.
    Skipped(String),
}

impl Case {
    /// What it took by the host's clock.
    pub fn took(&self) -> Option<Duration> {
        self.ended?.checked_sub(self.began)
    }
}

impl Suite {
    /// Takes a line that came at `at`.
    pub fn line(&mut self, at: Duration, text: &str) {
        if text.starts_with("Result of testsuite ") {
            self.in_results = true;
        } else if self.in_results {
            self.result_line(text);
        } else if let Some((name, title)) = text.strip_prefix("* ").and_then(name_and_rest) {
            self.cases.push(Case {
                name: name.to_owned(),
                title: title.to_owned(),
                outcome: Outcome::Unfinished,
                began: at,
                ended: None,
            });
        } else if let Some((name, verdict)) = text.strip_prefix("  ").and_then(name_and_rest)
            && let Some(case) = self.cases.last_mut()
            && case.name == name
        {
            case.outcome = match verdict {
                "OK" => Outcome::Passed,
                "FAIL" => Outcome::Failed(String::new()),
                _ => return,
            };
            case.ended = Some(at);
        }
    }

    fn result_line(&mut self, text: &str) {
        if let Some(count) = count(text, "subtest") {
            self.subtests = Some(count);
        } else if let Some(count) = count(text, "test case") {
            self.counted = Some(count);
        } else if let Some(number) = left_out(text) {
            self.left_out = Some(number);
        } else if let Some((name, verdict)) = name_and_rest(text) {
            // A part of a case is named after it, as in regression_1001.2.
            let main = name.split('.').next().unwrap_or(name);
            let Some(case) = self.cases.iter_mut().find(|case| case.name == main) else {
                return;
            };
            if let Some(place) = verdict.strip_prefix("FAILED") {
                let place = place.trim_start().trim_start_matches("first error at ");
                // The first line is the case's own or that of its first part that failed; the
                // others say no more.
                if !matches!(&case.outcome, Outcome::Failed(known) if !known.is_empty()) {
                    case.outcome = Outcome::Failed(place.to_owned());
                }
            } else if let Some(why) = verdict.strip_prefix("SKIPPED: ") {
                case.outcome = Outcome::Skipped(why.trim_matches('"').to_owned());
            } else if verdict == "OK" && case.outcome == Outcome::Unfinished {
                // The line that ended it was mixed with another one, say of the kernel.
                case.outcome = Outcome::Passed;
            }
        }
    }

    /// Cases that said that they were skipped.
    pub fn skipped(&self) -> u64 {
        self.cases
            .iter()
            .map(|case| u64::from(matches!(case.outcome, Outcome::Skipped(_))))
            .sum()
    }

    /// How far it is, for a person to read.
    pub fn how_far(&self) -> String {
        match self.cases.last() {
            None => "has not begun".to_owned(),
            Some(_) if self.in_results => format!("{} done", counted(self.cases.len(), "case")),
            Some(case) => format!("{}, now {}", counted(self.cases.len(), "case"), case.name),
        }
    }
}

/// A case's name, as in `regression_1001` or `pkcs11_1001.2`, and what follows it.
fn name_and_rest(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(' ')?;
    let (suite, number) = name.rsplit_once('_')?;
    let named = suite.starts_with(|c: char| c.is_ascii_lowercase())
        && number.starts_with(|c: char| c.is_ascii_digit());
    named.then_some((name, rest))
}

/// `N WHATs of which M failed`
fn count(text: &str, what: &str) -> Option<Count> {
    let (all, rest) = text.split_once(' ')?;
    let rest = rest.strip_prefix(what)?;
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    let failed = rest.strip_prefix(" of which ")?.strip_suffix(" failed")?;
    Some(Count {
        all: all.parse().ok()?,
        failed: failed.parse().ok()?,
    })
}

/// `N test cases were skipped`, or `1 test case was skipped`
fn left_out(text: &str) -> Option<u64> {
    let (number, rest) = text.split_once(' ')?;
    let skipped = rest.starts_with("test case") && rest.ends_with("skipped");
    skipped.then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(text: &str) -> Suite {
        let mut suite = Suite::default();
        for (seconds, line) in (0..).zip(text.lines()) {
            suite.line(Duration::from_secs(seconds), line);
        }
        suite
    }

    const GOOD: &str = "\
Run test suite with level=0
# regression+pkcs11

* regression_1001 Core self tests
o regression_1001.1 Core self tests
  regression_1001.1 OK
  regression_1001 OK
[    9.123456] a line of the kernel's
* regression_1020 Test lockdep algorithm
 - 1020 -   skip test, feature not implemented
  regression_1020 OK
* pkcs11_1000 Initialize and close Cryptoki library
  pkcs11_1000 OK
+-----------------------------------------------------
Result of testsuite regression+pkcs11:
regression_1001 OK
regression_1020 OK
pkcs11_1000 OK
+-----------------------------------------------------
39355 subtests of which 0 failed
3 test cases of which 0 failed
0 test cases were skipped
TEE test application done!";

    #[test]
    fn a_good_run_is_read() {
        let suite = suite(GOOD);
        let names: Vec<_> = suite.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["regression_1001", "regression_1020", "pkcs11_1000"]);
        assert!(suite.cases.iter().all(|c| c.outcome == Outcome::Passed));
        assert_eq!(suite.cases[0].title, "Core self tests");
        assert_eq!(suite.cases[0].took(), Some(Duration::from_secs(3)));
        assert_eq!(
            (suite.subtests, suite.counted, suite.left_out),
            (
                Some(Count {
                    all: 39355,
                    failed: 0
                }),
                Some(Count { all: 3, failed: 0 }),
                Some(0)
            )
        );
        assert_eq!(suite.skipped(), 0);
        assert_eq!(suite.how_far(), "3 cases done");
    }

    #[test]
    fn a_failed_case_says_where() {
        let text = GOOD
            .replace("  regression_1001.1 OK", "  regression_1001.1 FAIL")
            .replace("  regression_1001 OK", "  regression_1001 FAIL")
            .replace(
                "\nregression_1001 OK",
                "\nregression_1001 FAILED\nregression_1001.1 FAILED first error at regression_1000.c:112",
            )
            .replace("3 test cases of which 0", "3 test cases of which 1");
        let suite = suite(&text);
        assert_eq!(
            suite.cases[0].outcome,
            Outcome::Failed("regression_1000.c:112".to_owned())
        );
        assert_eq!(suite.cases[1].outcome, Outcome::Passed);
        assert_eq!(suite.counted, Some(Count { all: 3, failed: 1 }));
    }

    #[test]
    fn skipped_cases_are_counted_whichever_way_they_are_told() {
        let text = GOOD
            .replace(
                "\nregression_1020 OK",
                "\nregression_1020 SKIPPED: \"no lockdep\"",
            )
            .replace("0 test cases were skipped", "1 test case was skipped");
        let suite = suite(&text);
        assert_eq!(
            suite.cases[1].outcome,
            Outcome::Skipped("no lockdep".to_owned())
        );
        assert_eq!((suite.skipped(), suite.left_out), (1, Some(1)));
    }

    #[test]
    fn a_run_that_stops_half_way_has_an_unfinished_case() {
        let text = GOOD.split("  regression_1020 OK").next().unwrap();
        let suite = suite(text);
        assert_eq!(suite.cases[1].outcome, Outcome::Unfinished);
        assert_eq!(suite.cases[1].took(), None);
        assert_eq!(suite.counted, None);
        assert_eq!(suite.how_far(), "2 cases, now regression_1020");
    }

    #[test]
    fn an_end_that_is_mixed_with_another_line_counts_by_the_results() {
        let text = GOOD.replace("  regression_1001 OK", "  regression_[ 1.0] x1001 OK");
        let suite = suite(&text);
        assert_eq!(suite.cases[0].outcome, Outcome::Passed);
        assert_eq!(suite.cases[0].took(), None);
    }
}
