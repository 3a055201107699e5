//! Reports for programs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Writes a report as JSON, whole or not at all, into a folder that is made where there is none.
///
/// # Errors
///
/// The file can't be written.
pub fn write_json(report: &impl Serialize, path: &Path) -> Result<()> {
    let write = || -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        fs::write(&temporary, text)?;
        fs::rename(&temporary, path)?;
        Ok(())
    };
    write().with_context(|| format!("the report {} can't be written", path.display()))
}
