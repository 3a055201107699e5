//! What an entry must hold, written next to it when it was made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::hash::{Sha256Hex, sha256_of_file};

const NAME: &str = "entry.json";

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    files: Vec<FileRecord>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    /// Relative to the entry's folder.
    path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970. A file with another time is hashed again; one with the same time is
    /// trusted, since hashing a kernel at each start would cost more than the rest of the start.
    modified: u64,
    sha256: Sha256Hex,
}

/// Records the files of a finished entry.
pub(super) fn write(entry: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(entry, Path::new(""), &mut files)?;
    ensure!(!files.is_empty(), "a cache entry without files");
    let path = entry.join(NAME);
    let text = serde_json::to_string_pretty(&Record { files })?;
    fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
}

fn collect(entry: &Path, folder: &Path, files: &mut Vec<FileRecord>) -> Result<()> {
    let absolute = entry.join(folder);
    let mut names = fs::read_dir(&absolute)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("{} can't be read", absolute.display()))?;
    names.sort();
    for name in names {
        let path = folder.join(name);
        let absolute = entry.join(&path);
        if absolute.is_dir() {
            collect(entry, &path, files)?;
        } else {
            let (size, modified) = size_and_time(&absolute)?;
            files.push(FileRecord {
                size,
                modified,
                sha256: sha256_of_file(&absolute)?,
                path,
            });
        }
    }
    Ok(())
}

/// Says what is wrong with an entry, if anything is.
pub(super) fn check(entry: &Path) -> Result<()> {
    let text =
        fs::read_to_string(entry.join(NAME)).with_context(|| format!("{NAME} can't be read"))?;
    let record: Record =
        serde_json::from_str(&text).with_context(|| format!("{NAME} is damaged"))?;
    ensure!(!record.files.is_empty(), "{NAME} lists no files");
    for file in record.files {
        let path = entry.join(&file.path);
        let (size, modified) = size_and_time(&path)?;
        if size != file.size {
            bail!(
                "{} has {size} bytes and should have {}",
                file.path.display(),
                file.size
            );
        }
        if modified != file.modified && sha256_of_file(&path)? != file.sha256 {
            bail!("{} was changed", file.path.display());
        }
    }
    Ok(())
}

fn size_and_time(path: &Path) -> Result<(u64, u64)> {
    let context = || format!("{} can't be read", path.display());
    let metadata = fs::metadata(path).with_context(context)?;
    ensure!(metadata.is_file(), "{} is no file", path.display());
    let modified = metadata.modified().with_context(context)?;
    let nanoseconds = modified
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos());
    // Enough until the year 2554.
    Ok((
        metadata.len(),
        u64::try_from(nanoseconds).unwrap_or(u64::MAX),
    ))
}
