//! What is wrong, in sentences that say where and what to do.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::arrows::{Arrow, arrows};
use crate::circles::{Circle, circles};
use crate::manifests::{Package, packages};
use crate::order::{Order, Wrong, room};
use crate::source::Sources;
use crate::table::{Rooms, Table};

/// Everything that is wrong in the workspaces below `base`.
///
/// # Errors
///
/// What is to be checked can't be read, or the table contradicts itself.
pub fn findings(base: &Path, table: &Table) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for workspace in &table.workspaces {
        all.extend(packages(base, workspace)?);
    }
    let names: BTreeSet<&str> = all.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &all {
        findings.extend(wrong_dependencies(package, &names, table));
        let rooms = table.rooms.get(&package.name);
        findings.extend(in_package(
            base,
            package,
            rooms.unwrap_or(&Rooms::default()),
        )?);
    }
    for name in table.rooms.keys() {
        if !names.contains(name.as_str()) {
            findings.push(format!(
                "rooms.toml has rooms of `{name}`, which is no crate. Take them out."
            ));
        }
    }
    Ok(findings)
}

fn wrong_dependencies(package: &Package, names: &BTreeSet<&str>, table: &Table) -> Vec<String> {
    let manifest = package.folder.join("Cargo.toml");
    let Some(allowed) = table.may_use.get(&package.name) else {
        return vec![format!(
            "{}: `{}` has no line in [may-use] of rooms.toml. Say which crates of the workspace it may use.",
            manifest.display(),
            package.name
        )];
    };
    package
        .dependencies
        .iter()
        .filter(|(name, _)| names.contains(name.as_str()) && !allowed.contains(name))
        .map(|(name, line)| {
            format!(
                "{}:{line}: `{}` may not use `{name}`. Move what both need to a crate below both, or, if the order of crates \
                 is to change, add it to [may-use] in rooms.toml and say why in docs/decisions.",
                manifest.display(),
                package.name
            )
        })
        .collect()
}

/// What is wrong within a package.
///
/// # Errors
///
/// Its sources can't be read, or its part of the table contradicts itself.
pub fn in_package(base: &Path, package: &Package, rooms: &Rooms) -> Result<Vec<String>> {
    let sources = Sources::read(&base.join(&package.folder), &package.library)?;
    let arrows = arrows(&sources);
    let report = PackageReport {
        base,
        package,
        rooms,
        sources: &sources,
    };
    let mut findings = Vec::new();
    if let Some(order) = &rooms.order {
        let order = Order::parse(order, &rooms.beside)
            .with_context(|| format!("rooms.toml: {}", package.name))?;
        findings.extend(report.unknown_rooms(&order));
        findings.extend(report.against_order(&order, &arrows));
    }
    let built: Vec<Arrow> = arrows.into_iter().filter(|arrow| !arrow.test).collect();
    findings.extend(report.unknown_circles(&circles(&built)));
    Ok(findings)
}

struct PackageReport<'a> {
    base: &'a Path,
    package: &'a Package,
    rooms: &'a Rooms,
    sources: &'a Sources,
}

impl PackageReport<'_> {
    fn file(&self, id: usize) -> &Path {
        &self.sources.files[id]
    }

    /// A file's path and a line, as editors and terminals take it.
    fn place(&self, id: usize, line: usize) -> String {
        let path = self.package.folder.join(self.file(id));
        format!("{}:{line}", path.display())
    }

    fn unknown_rooms(&self, order: &Order) -> Vec<String> {
        let present: BTreeSet<String> = self.sources.files.iter().map(|file| room(file)).collect();
        let name = &self.package.name;
        let mut findings: Vec<String> = present
            .iter()
            .filter(|room| !order.knows(room))
            .map(|room| {
                format!("{name}: `{room}` has no place in the order of rooms. Give it one in rooms.toml, or move it into a room.")
            })
            .collect();
        findings.extend(
            order
                .rooms()
                .filter(|room| !present.contains(*room))
                .map(|room| {
                    format!("rooms.toml: {name} has no room `{room}`. Take it out of the order.")
                }),
        );
        findings
    }

    fn against_order(&self, order: &Order, arrows: &[Arrow]) -> Vec<String> {
        let mut findings = Vec::new();
        let mut used = BTreeSet::new();
        for arrow in arrows {
            let [from, to] = [arrow.from, arrow.to].map(|id| room(self.file(id)));
            let what = match order.wrong(&from, &to) {
                None | Some(Wrong::Unknown) => continue,
                Some(Wrong::Up) => "above it",
                Some(Wrong::Sideways) => "beside it",
            };
            let pending = self.rooms.pending.iter().position(|pending| {
                pending.from == self.file(arrow.from) && pending.to == self.file(arrow.to)
            });
            if let Some(index) = pending {
                used.insert(index);
                continue;
            }
            findings.push(format!(
                "{}: `{from}` uses `{}` of `{to}`, which is {what} ({order}). Move what both need to a room below both, have it \
                 passed in, or move this to where it may use it.",
                self.place(arrow.from, arrow.line),
                arrow.path,
            ));
        }
        for (index, pending) in self.rooms.pending.iter().enumerate() {
            if !used.contains(&index) {
                findings.push(format!(
                    "rooms.toml: {} does not use {} against the order any more. Take the exception out.",
                    pending.from.display(),
                    pending.to.display()
                ));
            }
        }
        findings
    }

    fn unknown_circles(&self, circles: &[Circle]) -> Vec<String> {
        let mut findings = Vec::new();
        let mut used = BTreeSet::new();
        for circle in circles {
            let files: BTreeSet<&Path> = circle.files.iter().map(|id| self.file(*id)).collect();
            let known = self.rooms.circle.iter().position(|known| {
                let known: BTreeSet<&Path> = known.files.iter().map(PathBuf::as_path).collect();
                known == files
            });
            match known {
                Some(index) => {
                    used.insert(index);
                }
                None => findings.push(self.circle(circle, &files)),
            }
        }
        for (index, known) in self.rooms.circle.iter().enumerate() {
            let name = &self.package.name;
            if !used.contains(&index) {
                let files: Vec<String> = known
                    .files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect();
                findings.push(format!(
                    "rooms.toml: {name}: {} are no circle any more, or it has other files. Take it out, or correct it.",
                    files.join(", ")
                ));
            }
            match (&known.record, &known.pending) {
                (Some(record), None) if !self.base.join(record).is_file() => findings.push(format!(
                    "rooms.toml: {name}: there is no {}, which is to say why there is a circle.",
                    record.display()
                )),
                (Some(_), None) | (None, Some(_)) => {}
                _ => findings.push(format!(
                    "rooms.toml: {name}: say of a circle either which record says why there is one, or what is to be done."
                )),
            }
        }
        findings
    }

    fn circle(&self, circle: &Circle, files: &BTreeSet<&Path>) -> String {
        let mut text = format!(
            "{}: {} files use each other. Move what one needs of another to a file below both, have it passed in, or put them \
             into one. A shortest way around:",
            self.package.name,
            files.len()
        );
        for arrow in &circle.way {
            let _ = write!(
                text,
                "\n    {}: `{}`, which is in {}",
                self.place(arrow.from, arrow.line),
                arrow.path,
                self.file(arrow.to).display()
            );
        }
        if files.len() > circle.way.len() {
            let names: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let _ = write!(text, "\n    all of them: {}", names.join(", "));
        }
        text
    }
}
