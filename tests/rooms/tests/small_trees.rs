//! What is found in small trees, and what is not.

use std::fs;
use std::path::{Path, PathBuf};

use rooms::manifests::Package;
use rooms::report::{findings, in_package};
use rooms::table::{KnownCircle, Pending, Rooms, Table};
use tempfile::TempDir;

/// A package of these files below `src`.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, text) in files {
        write(&folder.path().join("house/src").join(name), text);
    }
    folder
}

fn write(path: &Path, text: &str) {
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

fn ordered(order: &str) -> Rooms {
    Rooms {
        order: Some(order.to_owned()),
        ..Rooms::default()
    }
}

/// What is found in these files.
fn found(files: &[(&str, &str)], rooms: &Rooms) -> Vec<String> {
    let folder = tree(files);
    let package = Package {
        name: "house".to_owned(),
        library: "house".to_owned(),
        folder: PathBuf::from("house"),
        dependencies: Vec::new(),
    };
    in_package(folder.path(), &package, rooms).expect("the tree can be read")
}

#[track_caller]
fn one(findings: Vec<String>, parts: &[&str]) {
    let [finding] = findings.as_slice() else {
        panic!("not one finding: {findings:#?}");
    };
    for part in parts {
        assert!(finding.contains(part), "no `{part}` in: {finding}");
    }
}

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{findings:#?}");
}

const ROOT: (&str, &str) = ("lib.rs", "mod attic;\nmod cellar;\n");
const CELLAR: (&str, &str) = ("cellar.rs", "pub struct Coal;\npub fn heat() {}\n");
const ATTIC: (&str, &str) = ("attic.rs", "pub struct Trunk;\npub const STEPS: u32 = 3;\n");

#[test]
fn an_import_from_above_is_found_with_its_line_and_what_to_do() {
    let cellar = ("cellar.rs", "//! Coal.\n\nuse crate::attic::Trunk;\n");
    let findings = found(&[ROOT, ATTIC, cellar], &ordered("attic > cellar"));
    one(
        findings,
        &[
            "house/src/cellar.rs:3: ",
            "`cellar` uses `crate::attic::Trunk` of `attic`, which is above it (attic > cellar)",
            "Move what both need",
        ],
    );
}

#[test]
fn an_import_from_below_is_fine() {
    let attic = ("attic.rs", "use crate::cellar::Coal;\n");
    none(&found(&[ROOT, attic, CELLAR], &ordered("attic > cellar")));
}

#[test]
fn a_path_in_code_counts_as_an_import_does() {
    for code in [
        "pub fn f() -> u32 { crate::attic::STEPS }",
        "pub fn f(_: &super::attic::Trunk) {}",
        "pub fn f() { assert_eq!(3, crate::attic::STEPS, \"steps\"); }",
        "pub fn f() { use crate::attic as above; let _ = above::STEPS; }",
        "impl From<crate::attic::Trunk> for u8 { fn from(_: crate::attic::Trunk) -> u8 { 0 } }",
    ] {
        let cellar = format!("pub struct Coal;\n\n{code}\n");
        let findings = found(
            &[ROOT, ATTIC, ("cellar.rs", &cellar)],
            &ordered("attic > cellar"),
        );
        one(findings, &["house/src/cellar.rs:3: ", "above it"]);
    }
}

#[test]
fn a_file_of_a_room_is_in_that_room() {
    let findings = found(
        &[
            ROOT,
            ATTIC,
            ("cellar.rs", "mod stove;\n"),
            (
                "cellar/stove.rs",
                "\nuse crate::attic::{\n    Trunk,\n    STEPS,\n};\n",
            ),
        ],
        &ordered("attic > cellar"),
    );
    one(
        findings,
        &["house/src/cellar/stove.rs:3: ", "`cellar` uses"],
    );
}

#[test]
fn rooms_beside_each_other_use_each_other_where_the_table_says_so_alone() {
    let attic = ("attic.rs", "use crate::cellar::Coal;\n");
    let mut rooms = ordered("attic, cellar");
    let findings = found(&[ROOT, attic, CELLAR], &rooms);
    one(findings, &["house/src/attic.rs:1: ", "beside it"]);
    rooms.beside = vec!["attic > cellar".to_owned()];
    none(&found(&[ROOT, attic, CELLAR], &rooms));
}

#[test]
fn a_room_without_a_place_is_found_and_a_place_without_a_room() {
    let findings = found(&[ROOT, ATTIC, CELLAR], &ordered("attic"));
    one(findings, &["`cellar` has no place"]);
    let findings = found(&[ROOT, ATTIC, CELLAR], &ordered("attic > hall > cellar"));
    one(findings, &["no room `hall`"]);
}

#[test]
fn a_circle_is_found_with_all_its_lines() {
    let root = ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n");
    let findings = found(
        &[
            root,
            ("a.rs", "use crate::b::B;\npub struct A;\n"),
            (
                "b.rs",
                "\nuse crate::c;\npub struct B;\nfn f() { c::g(); }\n",
            ),
            ("c.rs", "\n\npub fn g() -> crate::a::A { crate::a::A }\n"),
            ("d.rs", "use crate::a::A;\n"),
        ],
        &Rooms::default(),
    );
    one(
        findings,
        &[
            "3 files use each other",
            "house/src/a.rs:1: `crate::b::B`",
            "house/src/b.rs:2: `crate::c`",
            "house/src/c.rs:3: `crate::a::A`",
        ],
    );
}

#[test]
fn a_module_and_one_that_it_declares_are_a_circle_when_they_use_each_other() {
    let child = (
        "cellar/stove.rs",
        "use super::Coal;\npub struct Stove(Coal);\n",
    );
    let root = ("lib.rs", "mod cellar;\n");
    let parent = "pub mod stove;\npub struct Coal;\n";
    none(&found(
        &[root, ("cellar.rs", parent), child],
        &Rooms::default(),
    ));
    let using = "pub mod stove;\npub struct Coal;\npub fn f(_: stove::Stove) {}\n";
    let findings = found(&[root, ("cellar.rs", using), child], &Rooms::default());
    one(
        findings,
        &["2 files use each other", "cellar.rs:3: ", "stove.rs:1: "],
    );
}

#[test]
fn a_re_export_leads_to_where_a_thing_is_defined() {
    let root = ("lib.rs", "mod cellar;\n");
    let files = [
        root,
        (
            "cellar.rs",
            "mod coal;\nmod stove;\npub use coal::Coal;\npub use stove::Stove;\n",
        ),
        ("cellar/coal.rs", "pub struct Coal;\n"),
        (
            "cellar/stove.rs",
            "use super::Coal;\npub struct Stove(Coal);\n",
        ),
    ];
    none(&found(&files, &Rooms::default()));
    // The file that hands a thing on uses it, too, as soon as it does more.
    let mut using = files;
    using[1].1 =
        "mod coal;\nmod stove;\npub use stove::Stove;\npub struct Coal;\npub fn f(_: Stove) {}\n";
    let findings = found(&using, &Rooms::default());
    one(
        findings,
        &[
            "cellar.rs:5: `Stove`, which is in src/cellar/stove.rs",
            "stove.rs:1: ",
        ],
    );
}

#[test]
fn globs_and_exported_macros_lead_to_where_a_thing_is_defined() {
    let findings = found(
        &[
            ("lib.rs", "mod attic;\nmod cellar;\n"),
            (
                "attic.rs",
                "mod trunk;\npub use trunk::*;\n#[macro_export]\nmacro_rules! open { () => {} }\n",
            ),
            ("attic/trunk.rs", "pub struct Trunk;\n"),
            (
                "cellar.rs",
                "\nuse crate::attic::Trunk;\nfn f() { crate::open!(); }\n",
            ),
        ],
        &ordered("attic > cellar"),
    );
    let [first, second] = findings.as_slice() else {
        panic!("{findings:#?}");
    };
    assert!(
        first.contains("cellar.rs:3: `cellar` uses `crate::open`"),
        "{first}"
    );
    assert!(
        second.contains("cellar.rs:2: `cellar` uses `crate::attic::Trunk`"),
        "{second}"
    );
}

#[test]
fn a_program_may_use_the_library_and_not_the_other_way_round() {
    let library = (
        "lib.rs",
        "pub mod attic;\npub const NAME: &str = \"house\";\n",
    );
    let program = ("bin/walk.rs", "use house::attic::Trunk;\nfn main() {}\n");
    none(&found(&[library, ATTIC, program], &ordered("attic")));
    let attic = ("attic.rs", "use crate::NAME;\n");
    let findings = found(&[library, attic], &ordered("attic"));
    one(findings, &["attic.rs:1: ", "above it"]);
    // Unless the order has a place for the root: then what it defines is for those above.
    none(&found(&[library, attic], &ordered("attic > lib")));
}

#[test]
fn tests_keep_the_order_and_may_be_part_of_a_circle() {
    let test = "#[cfg(test)]\nmod tests {\n    use crate::attic::Trunk;\n}\n";
    let cellar = format!("pub struct Coal;\n{test}");
    let attic = ("attic.rs", "use crate::cellar::Coal;\npub struct Trunk;\n");
    let files = [ROOT, attic, ("cellar.rs", cellar.as_str())];
    none(&found(&files, &Rooms::default()));
    let findings = found(&files, &ordered("attic > cellar"));
    one(findings, &["house/src/cellar.rs:4: ", "above it"]);
}

#[test]
fn what_is_declared_as_an_exception_is_one_until_it_is_gone() {
    let a_circle = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::B;\npub struct A;\n"),
        ("b.rs", "use crate::a::A;\npub struct B;\n"),
    ];
    let mut rooms = Rooms::default();
    rooms.circle.push(KnownCircle {
        files: vec![PathBuf::from("src/a.rs"), PathBuf::from("src/b.rs")],
        record: Some(PathBuf::from("house/src/lib.rs")),
        pending: None,
    });
    none(&found(&a_circle, &rooms));
    rooms.circle[0].record = Some(PathBuf::from("docs/decisions/none.md"));
    one(
        found(&a_circle, &rooms),
        &["there is no docs/decisions/none.md"],
    );
    rooms.circle[0].record = None;
    one(found(&a_circle, &rooms), &["either which record"]);
    rooms.circle[0].pending = Some("a house has two ends".to_owned());
    none(&found(&a_circle, &rooms));
    let gone = [a_circle[0], a_circle[1], ("b.rs", "pub struct B;\n")];
    one(
        found(&gone, &rooms),
        &["src/a.rs, src/b.rs are no circle any more"],
    );

    let mut rooms = ordered("attic > cellar");
    rooms.pending.push(Pending {
        from: PathBuf::from("src/cellar.rs"),
        to: PathBuf::from("src/attic.rs"),
        why: "steps go down".to_owned(),
    });
    let cellar = ("cellar.rs", "use crate::attic::Trunk;\n");
    none(&found(&[ROOT, ATTIC, cellar], &rooms));
    one(
        found(&[ROOT, ATTIC, CELLAR], &rooms),
        &["Take the exception out"],
    );
}

#[test]
fn a_crate_that_names_one_it_may_not_is_found_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = "[workspace]\nmembers = [\"roof\", \"ground\"]\n";
    write(&folder.path().join("Cargo.toml"), workspace);
    for (name, dependencies) in [
        ("roof", "[dependencies]\nground.workspace = true\n"),
        (
            "ground",
            "[dependencies]\nserde = \"1\"\n\n[target.'cfg(unix)'.dev-dependencies]\nroof = { path = \"../roof\" }\n",
        ),
    ] {
        let manifest = format!("[package]\nname = \"{name}\"\n\n{dependencies}");
        write(&folder.path().join(name).join("Cargo.toml"), &manifest);
        write(&folder.path().join(name).join("src/lib.rs"), "");
    }
    let table: Table =
        toml::from_str("workspaces = [\".\"]\n[may-use]\nroof = [\"ground\"]\nground = []\n")
            .unwrap();
    let found = findings(folder.path(), &table).unwrap();
    one(found, &["ground/Cargo.toml:8: `ground` may not use `roof`"]);
}
