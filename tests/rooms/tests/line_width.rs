//! Comments and pages are wrapped at 100 columns, so that two of them fit side by side. Code is
//! rustfmt's affair; tables, drawings and what can't be broken stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 100;
/// What is not written here: built, downloaded, or of version control.
const NOT_OURS: [&str; 3] = ["target", ".cache", ".git"];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !NOT_OURS.contains(&&*name) {
                files(&path, into);
            }
        } else if path
            .extension()
            .is_some_and(|end| end == "rs" || end == "md")
        {
            into.push(path);
        }
    }
}

/// The lines of prose that are longer than [`WIDTH`] though they have a place to break, counted
/// from 1. In Rust, prose is what stands in comments.
fn too_long(text: &str, rust: bool) -> Vec<usize> {
    let mut drawing = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let indented = line.trim_start();
        let prose = if rust {
            let Some(comment) = indented.strip_prefix("//") else {
                drawing = false;
                continue;
            };
            comment.trim_start_matches(['/', '!']).trim_start()
        } else {
            indented
        };
        if prose.starts_with("```") {
            drawing = !drawing;
        } else if !drawing
            && line.chars().count() > WIDTH
            && !prose.starts_with(['|', '#', '<'])
            && line.chars().take(WIDTH).skip(WIDTH / 2).any(|c| c == ' ')
        {
            found.push(number);
        }
    }
    found
}

#[test]
fn comments_and_pages_are_wrapped() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    files(&top, &mut paths);
    assert!(paths.len() > 100, "the sources are found: {}", paths.len());
    let found: Vec<_> = paths
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).expect("a source is text");
            let rust = path.extension().is_some_and(|end| end == "rs");
            let path = path
                .strip_prefix(&top)
                .unwrap_or(path)
                .display()
                .to_string();
            too_long(&text, rust)
                .into_iter()
                .map(move |line| format!("{path}:{line}"))
        })
        .collect();
    assert!(
        found.is_empty(),
        "wrap these at {WIDTH} columns: {found:#?}"
    );
}

#[test]
fn what_is_too_long_is_found() {
    let long = "word ".repeat(30);
    assert_eq!(too_long(&format!("short\n{long}\n"), false), [2]);
    assert_eq!(too_long(&format!("    /// {long}\n"), true), [1]);
    assert!(too_long(&format!("let code = \"{long}\";\n"), true).is_empty());
    assert!(too_long(&format!("| {long} |\n"), false).is_empty());
    assert!(too_long(&format!("```\n{long}\n```\n"), false).is_empty());
    assert!(too_long(&"x".repeat(150), false).is_empty());
}
