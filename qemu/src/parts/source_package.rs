//! Debian source packages: unpacking them, and building what is in them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::base::process;

/// The `.dsc` file of the source package in a folder.
pub(crate) fn description(package: &Path) -> Result<PathBuf> {
    fs::read_dir(package)
        .with_context(|| format!("{} can't be read", package.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension() == Some(OsStr::new("dsc")))
        .with_context(|| format!("{} holds no Debian source package", package.display()))
}

/// Unpacks the source package in the folder `package`, with Debian's patches applied, into a new
/// folder in `workshop`.
pub(crate) fn unpack(package: &Path, workshop: &Path) -> Result<PathBuf> {
    ensure!(
        !workshop.to_string_lossy().contains(char::is_whitespace),
        "make can't work in {}, which has a space in its name. Set BULKHEAD_CACHE to another folder",
        workshop.display()
    );
    // apt has checked the files against the signed list; the developer's own signature needs a
    // further keyring.
    process::run(
        tool("dpkg-source", workshop)
            .args(["--no-check", "--extract"])
            .arg(description(package)?)
            .arg("source"),
        |_| {},
    )?;
    Ok(workshop.join("source"))
}

/// make in a folder, with as many jobs as there are CPUs.
pub(crate) fn make(folder: &Path) -> Command {
    let mut make = tool("make", folder);
    make.arg(format!(
        "--jobs={}",
        thread::available_parallelism().map_or(1, usize::from)
    ));
    make
}

/// A program in a clean environment: a make that started this process passes its variables on, and
/// the makefiles of others would take them for their own.
fn tool(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env_clear()
        .env("LC_ALL", "C.UTF-8");
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn folder_without_source_package_is_named() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("tf_1.orig.tar.gz"), "").unwrap();
        let error = description(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no Debian source package"), "{error}");
    }

    #[test]
    fn workshop_with_a_space_in_its_name_is_refused() {
        let folder = TempDir::new().unwrap();
        let error = unpack(folder.path(), &folder.path().join("my cache"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("BULKHEAD_CACHE"), "{error}");
    }

    #[test]
    fn variables_of_an_outer_make_do_not_get_through() {
        let folder = TempDir::new().unwrap();
        let names: Vec<_> = process::output(&mut tool("env", folder.path()))
            .unwrap()
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
            .collect();
        assert!(
            names
                .iter()
                .all(|name| ["PATH", "HOME", "TMPDIR", "LC_ALL"].contains(&name.as_str())),
            "{names:?}"
        );
    }
}
