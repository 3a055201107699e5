//! The packages of a workspace, and what each names of the others.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use toml::{Table, Value};

/// A package.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The name of its library in paths.
    pub library: String,
    /// Its folder, relative to where the table's paths start.
    pub folder: PathBuf,
    /// The names of all packages that it depends on, for tests and builds, too, with the line of
    /// its manifest.
    pub dependencies: Vec<(String, usize)>,
}

/// The packages of the workspace in `base.join(workspace)`.
///
/// # Errors
///
/// A manifest can't be read, or lacks what makes it one.
pub fn packages(base: &Path, workspace: &Path) -> Result<Vec<Package>> {
    let root = manifest(&base.join(workspace))?.1;
    let members = root
        .get("workspace")
        .and_then(|workspace| workspace.get("members")?.as_array())
        .with_context(|| format!("{} has no workspace", workspace.display()))?;
    members
        .iter()
        .filter_map(Value::as_str)
        .map(|member| package(base, &workspace.join(member)))
        .collect()
}

fn package(base: &Path, folder: &Path) -> Result<Package> {
    let (text, table) = manifest(&base.join(folder))?;
    let name = |table: Option<&Value>| Some(table?.get("name")?.as_str()?.to_owned());
    let package = name(table.get("package"))
        .with_context(|| format!("{} has no package", folder.display()))?;
    Ok(Package {
        library: name(table.get("lib")).unwrap_or_else(|| package.replace('-', "_")),
        name: package,
        folder: folder.strip_prefix(".").unwrap_or(folder).to_owned(),
        dependencies: dependencies(&table)
            .into_iter()
            .map(|name| (line_of(&text, &name), name))
            .map(|(line, name)| (name, line))
            .collect(),
    })
}

fn manifest(folder: &Path) -> Result<(String, Table)> {
    let path = folder.join("Cargo.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let table = text
        .parse()
        .with_context(|| format!("{} can't be understood", path.display()))?;
    Ok((text, table))
}

/// The names in all tables of dependencies, those for some targets among them.
fn dependencies(table: &Table) -> Vec<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let own = kinds.iter().filter_map(|kind| table.get(*kind)?.as_table());
    let mut names: Vec<String> = own.flat_map(|table| table.keys().cloned()).collect();
    let targets = table.get("target").and_then(Value::as_table);
    for target in targets.into_iter().flat_map(Table::values) {
        names.extend(target.as_table().into_iter().flat_map(dependencies));
    }
    names
}

/// The first line, from 1, that begins with a name and goes on as a key.
fn line_of(text: &str, name: &str) -> usize {
    let is_key = |line: &str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(['.', '=']))
    };
    text.lines().position(is_key).map_or(1, |index| index + 1)
}
