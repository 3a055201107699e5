//! `docs/threat-model.md` names, for each promise, the code that keeps it and the tests that would
//! fail without it, and tests for mistakes of other mediators. All of them are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where tests and cases of the conformance kit live.
const SOURCES: [&str; 10] = [
    "addresses",
    "guest-shim/src",
    "host-abi/src",
    "hypervisor",
    "mediator/src",
    "optee-abi/src",
    "qemu/src",
    "smccc/src",
    "tests",
    "verify",
];
const KEPT_BY: &str = "- Kept by: ";
const SHOWN_BY: &str = "- Shown by: ";

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A promise, with what the page names for it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Promise {
    title: String,
    kept_by: Vec<String>,
    shown_by: Vec<String>,
}

/// The promises of a page: each has a heading of the third level.
fn promises(page: &str) -> Vec<Promise> {
    let promised = page
        .split("\n## ")
        .find(|part| part.starts_with("What is promised"));
    let sections = promised.unwrap_or_default().split("\n### ").skip(1);
    sections.map(promise).collect()
}

fn promise(section: &str) -> Promise {
    let item = |begin: &str| {
        let rest = section.split_once(begin).map_or("", |(_, rest)| rest);
        let item = rest.split("\n- ").next().unwrap_or_default();
        let spans = item.split('`').skip(1).step_by(2);
        spans.map(str::to_owned).collect()
    };
    Promise {
        title: section.lines().next().unwrap_or_default().to_owned(),
        kept_by: item(KEPT_BY),
        shown_by: item(SHOWN_BY),
    }
}

/// The tests that the page names for mistakes of other mediators, with the mistake.
fn mistakes(page: &str) -> Vec<(String, String)> {
    let section = page
        .split("\n## ")
        .find(|part| part.starts_with("Mistakes"));
    let rows = section.unwrap_or_default().lines();
    rows.filter_map(|row| row.strip_prefix("| ")?.split_once(" | "))
        .flat_map(|(mistake, tests)| {
            let tests = tests.split('`').skip(1).step_by(2);
            tests.map(|test| (mistake.to_owned(), test.to_owned()))
        })
        .collect()
}

/// The functions of `source` that run as tests, and its cases of the conformance kit.
fn tests(source: &str, into: &mut BTreeSet<String>) {
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text.get(..end.unwrap_or(text.len()))
            .unwrap_or_default()
            .to_owned()
    };
    for after in source.split("#[test]").skip(1) {
        let function = after.split_once("fn ").map(|(_, rest)| name(rest));
        into.extend(function);
    }
    for after in source.split("case!(").skip(1) {
        let case = after
            .split_once(',')
            .map(|(_, rest)| name(rest.trim_start()));
        into.extend(case);
    }
}

fn all_tests(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            all_tests(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            tests(
                &fs::read_to_string(&path).expect("the source can be read"),
                into,
            );
        }
    }
}

/// What is wrong with `promises`, a line each.
fn wrong(
    promises: &[Promise],
    exists: impl Fn(&str) -> bool,
    tests: &BTreeSet<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for Promise {
        title,
        kept_by,
        shown_by,
    } in promises
    {
        if kept_by.is_empty() || shown_by.is_empty() {
            wrong.push(format!("{title}: nothing keeps it, or nothing shows it"));
        }
        let paths = kept_by.iter().filter(|path| !exists(path));
        wrong.extend(paths.map(|path| format!("{title}: there is no {path}")));
        let missing = shown_by.iter().filter(|test| !tests.contains(*test));
        wrong.extend(missing.map(|test| format!("{title}: there is no test {test}")));
    }
    wrong
}

#[test]
fn what_keeps_and_what_shows_a_promise_exists() {
    let page = fs::read_to_string(checkout().join("docs/threat-model.md"));
    let page = page.expect("the page can be read");
    let promises = promises(&page);
    assert!(promises.len() >= 10, "few promises are found: {promises:?}");
    let mut tests = BTreeSet::new();
    for folder in SOURCES {
        all_tests(&checkout().join(folder), &mut tests);
    }
    let exists = |path: &str| checkout().join(path).exists();
    let wrong = wrong(&promises, exists, &tests);
    assert!(
        wrong.is_empty(),
        "docs/threat-model.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn what_is_not_there_is_found() {
    let page = "# A page\n\n## What is promised\n\n### Peace\n\nA sentence.\n\n- Kept by: `here.rs`,\n  `gone.rs`\n- Shown by: `it_holds`,\n  `it_held`\n\n### Quiet\n\n- Kept by: `here.rs`\n\n## What is not promised\n\n### Rain\n";
    assert_eq!(
        mistakes(
            "## Page\n\n## Mistakes\n\n| Mistake | Tests |\n|---|---|\n| haste | `a`, `b` |\n"
        ),
        [
            ("haste".to_owned(), "a".to_owned()),
            ("haste".to_owned(), "b".to_owned())
        ]
    );
    let promises = promises(page);
    assert_eq!(promises.len(), 2);
    let mut found = BTreeSet::new();
    tests(
        "#[test]\nfn it_holds() {}\nfn it_held() {}\ncase!(4, a_case);",
        &mut found,
    );
    assert_eq!(
        found,
        BTreeSet::from(["it_holds".to_owned(), "a_case".to_owned()])
    );
    assert_eq!(
        wrong(&promises, |path| path == "here.rs", &found),
        [
            "Peace: there is no gone.rs",
            "Peace: there is no test it_held",
            "Quiet: nothing keeps it, or nothing shows it",
        ]
    );
}
