//! What is declared: `rooms.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Table {
    /// Folders with a workspace each.
    pub workspaces: Vec<PathBuf>,
    /// For each crate the crates of these workspaces that it may name.
    pub may_use: BTreeMap<String, Vec<String>>,
    /// The rooms of crates that have some.
    #[serde(default)]
    pub rooms: BTreeMap<String, Rooms>,
}

/// What is said of a crate's rooms.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rooms {
    /// Their order: `top > middle, beside > bottom`. Rooms between commas do not use each other.
    pub order: Option<String>,
    /// What they may, all the same: `from > to`.
    #[serde(default)]
    pub beside: Vec<String>,
    /// Circles that are known.
    #[serde(default)]
    pub circle: Vec<KnownCircle>,
    /// Arrows up that are to go.
    #[serde(default)]
    pub pending: Vec<Pending>,
}

/// A circle of files that is known: meant, or to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownCircle {
    /// The files that hang together, relative to the package.
    pub files: Vec<PathBuf>,
    /// The record in docs/decisions that says why they do.
    pub record: Option<PathBuf>,
    /// For a circle that is to go, what is to be done.
    pub pending: Option<String>,
}

/// An arrow against the order that is to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The file that it comes from, relative to the package.
    pub from: PathBuf,
    /// The file that it goes to.
    pub to: PathBuf,
    /// What is to be done.
    pub why: String,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// It can't be read, or says what no table says.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} can't be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is refused", path.display()))
    }
}
