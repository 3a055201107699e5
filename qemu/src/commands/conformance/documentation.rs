//! Whether `docs/smc-calls.md` names a case or a test for each row of its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::base::checkout::checkout;

/// The title of the table that names them.
const SHOWN_BY: &str = "# Shown by";

/// Where cases and tests are.
const SOURCES: [&str; 3] = ["mediator/src", "guest-shim/src/bin", "tests"];

/// The rows of all tables, without their headings: the cells of each.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let follows = |line: usize, what: &str| lines.get(line).is_some_and(|l| l.starts_with(what));
    let numbered = lines.iter().enumerate();
    let rows = numbered.filter(|(n, line)| {
        line.starts_with("| ") && !follows(n + 1, "|---") && !line.starts_with("|---")
    });
    rows.map(|(_, line)| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The text of all Rust files below `folder`, without white space, one after the other.
fn sources(folder: &Path, text: &mut String) {
    let entries = fs::read_dir(folder).expect("the checkout can be read");
    for entry in entries {
        let path = entry.expect("the checkout can be read").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("the checkout can be read");
            text.extend(source.chars().filter(|c| !c.is_whitespace()));
        }
    }
}

/// Whether `sources` have a case or a test of this name.
fn is_there(sources: &str, name: &str) -> bool {
    let case =
        (0..=9).any(|requirement| sources.contains(&format!("case!({requirement},{name});")));
    // Attributes stand between the end of what comes before and the function.
    let test = sources.match_indices(&format!("fn{name}(")).any(|(at, _)| {
        let before = &sources[..at];
        let start = before.rfind(['}', ';', '{']).unwrap_or(0);
        before[start..].contains("#[test]")
    });
    case || test
}

#[test]
fn every_row_about_smc_calls_is_shown_by_a_case_or_a_test() {
    let checkout = checkout();
    let text = fs::read_to_string(checkout.join("docs/smc-calls.md")).unwrap();
    let (tables, shown) = text.split_once(SHOWN_BY).unwrap();
    let expected: Vec<&str> = rows(tables).iter().map(|cells| cells[0]).collect();
    let unique: BTreeSet<&str> = expected.iter().copied().collect();
    assert_eq!(unique.len(), expected.len(), "two rows have the same name");
    assert!(unique.len() > 30, "{unique:?}");

    let shown: BTreeMap<&str, Vec<&str>> = rows(shown)
        .iter()
        .map(|cells| {
            assert_eq!(cells.len(), 3, "{cells:?}");
            (
                cells[0],
                cells[1..].iter().flat_map(|cell| names(cell)).collect(),
            )
        })
        .collect();
    let there: BTreeSet<&str> = shown.keys().copied().collect();
    assert_eq!(there, unique);

    let mut text = String::new();
    for folder in SOURCES {
        sources(&checkout.join(folder), &mut text);
    }
    for (row, names) in shown {
        assert!(!names.is_empty(), "nothing shows {row}");
        for name in names {
            assert!(
                is_there(&text, name),
                "there is no case and no test {name}, which is to show {row}"
            );
        }
    }
}

#[test]
fn only_cases_and_tests_count() {
    let sources =
        "case!(4,one);fnone(){}#[test]fntwo(){}#[test]#[ignore=\"slow\"]fnthree(){}fnfour(){}";
    for (name, there) in [
        ("one", true),
        ("two", true),
        ("three", true),
        ("four", false),
        ("on", false),
    ] {
        assert_eq!(is_there(sources, name), there, "{name}");
    }
}

#[test]
fn rows_and_names_are_found() {
    let table = "text\n\n| Head | Other |\n|---|---|\n| a, b | `c`, `d` |\n| e | f |\n";
    assert_eq!(rows(table), [["a, b", "`c`, `d`"], ["e", "f"]]);
    assert_eq!(names("`c`, `d` and e"), ["c", "d"]);
}
