//! `docs/unsafe.md` lists all unsafe code, by file or folder, with the number of places.

use std::fs;
use std::path::{Path, PathBuf};

/// What is not written here.
const NOT_OURS: [&str; 3] = ["target", ".cache", ".git"];
/// How assembly begins that is no part of a function.
const ASSEMBLY: &str = "global_asm!(";
/// This file writes about it.
const THIS: &str = "tests/rooms/";

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The places in Rust code where `unsafe` begins a block, a function, an implementation, a foreign
/// module or an attribute, and those where assembly of its own stands.
fn places(source: &str) -> usize {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let begins = |rest: &str| {
        let rest = rest.trim_start();
        ["{", "fn ", "impl ", "impl<", "extern ", "(", "trait "]
            .into_iter()
            .any(|next| rest.starts_with(next))
    };
    let whole = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.map(|line| {
        let assembly = usize::from(line.contains(ASSEMBLY));
        let marked = line
            .match_indices("unsafe")
            .filter(|&(at, word)| {
                let (before, rest) = (line.get(..at), line.get(at + word.len()..));
                before.is_some_and(whole) && rest.is_some_and(begins)
            })
            .count();
        assembly + marked
    })
    .sum()
}

/// The files under `folder` with unsafe code, by their paths in the checkout, and its places.
fn files(folder: &Path, into: &mut Vec<(String, usize)>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !NOT_OURS.contains(&&*name) {
                files(&path, into);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let count = places(&fs::read_to_string(&path).expect("the source can be read"));
            let path = path
                .strip_prefix(checkout())
                .expect("it lies in the checkout");
            let path = path.to_string_lossy().into_owned();
            if count != 0 && !path.starts_with(THIS) {
                into.push((path, count));
            }
        }
    }
}

/// The rows of the page's tables: a path, which ends with `/` where it is a folder's, and the
/// number of places.
fn rows(page: &str) -> Vec<(String, usize)> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let path = cells.next()?.strip_suffix('`')?;
        Some((path.to_owned(), cells.next()?.trim().parse().ok()?))
    };
    page.lines().filter_map(row).collect()
}

/// What `rows` say otherwise than `files`, a line each.
fn wrong(rows: &[(String, usize)], files: &[(String, usize)]) -> Vec<String> {
    let covers = |row: &str, file: &str| row == file || row.ends_with('/') && file.starts_with(row);
    // The longest row that covers a file is the file's.
    let row_of = |file: &str| {
        let covering = rows.iter().filter(|(row, _)| covers(row, file));
        covering
            .max_by_key(|(row, _)| row.len())
            .map(|(row, _)| row)
    };
    let mut wrong: Vec<_> = files
        .iter()
        .filter(|(file, _)| row_of(file).is_none())
        .map(|(file, count)| format!("{file} is not listed, with {count} places"))
        .collect();
    for (row, listed) in rows {
        let own = files.iter().filter(|(file, _)| row_of(file) == Some(row));
        let count: usize = own.map(|(_, count)| count).sum();
        if count != *listed {
            wrong.push(format!("{row} has {count} places, not {listed}"));
        }
    }
    wrong
}

#[test]
fn all_unsafe_code_is_listed() {
    let page = fs::read_to_string(checkout().join("docs/unsafe.md"));
    let rows = rows(&page.expect("the page can be read"));
    let mut found = Vec::new();
    files(&checkout(), &mut found);
    assert!(found.len() > 10, "little is found: {found:?}");
    found.sort();
    let wrong = wrong(&rows, &found);
    assert!(wrong.is_empty(), "docs/unsafe.md:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_not_listed_is_found() {
    assert_eq!(
        places("// unsafe {\nunsafe { a() }; unsafe fn b() {}\nnot_unsafe {}"),
        2
    );
    let owned = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
        list.iter()
            .map(|&(path, count)| (path.to_owned(), count))
            .collect()
    };
    let rows = rows("| File | Places |\n|---|---|\n| `a/` | 3 | x |\n| `a/b.rs` | 1 | y |\n");
    assert_eq!(rows, owned(&[("a/", 3), ("a/b.rs", 1)]));
    assert!(wrong(&rows, &owned(&[("a/b.rs", 1), ("a/c.rs", 3)])).is_empty());
    assert_eq!(
        wrong(&rows, &owned(&[("a/b.rs", 2), ("a/c.rs", 3), ("d.rs", 1)])),
        [
            "d.rs is not listed, with 1 places",
            "a/b.rs has 2 places, not 1"
        ]
    );
}
